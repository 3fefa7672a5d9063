"""How training is split into jobs, and where a job runs if it does not run on this machine."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from trainer.config.data import BUCKET
from trainer.config.schema import Flag, Number, Problem, Section, Text, Whole, Within

# Retries of a job on machines that may be taken away at any time.
SPOT_RETRIES = 5
_PROJECT = r"projects/[a-z0-9.:-]+"
_NAME = r"[A-Za-z0-9_-]+"


@dataclass(frozen=True, kw_only=True)
class Machine(Section):
    """`[machine]`: the machine of a training job when the pipeline is compiled for Vertex AI or a
    cluster; a run on this machine ignores it.

    pipelines/targets/machines.py lists the TPU slices and GPUs. With neither tpu nor gpu, a job
    runs on a CPU.

    ```toml
    [machine]
    gpu = "L4"
    when = "spot"
    hours = 6
    ```
    """

    tpu: Text = ""
    """TPU slice, such as "v5e-8"; cannot be combined with `gpu`."""
    gpu: Text = ""
    """Kind of GPU, such as "L4"; cannot be combined with `tpu`."""
    gpus: Annotated[Whole, Within(1, 16, "GPUs")] = 1
    """Number of GPUs; requires `gpu`."""
    cpus: Annotated[Whole, Within(0, 208, "vCPUs")] = 0
    """Size of a machine without an accelerator, or of a pod with GPUs on a cluster; 0 for the
    default of pipelines/targets/machines.py."""
    memory_gib: Annotated[Whole, Within(0, 3000, "GiB")] = 0
    """Memory of a machine without an accelerator, or of a pod with GPUs on a cluster; 0 for the
    default of pipelines/targets/machines.py."""
    disk_gb: Annotated[Whole, Within(100, 64_000, "GB")] = 200
    """Size of the machine's boot disk."""
    when: Literal["now", "spot", "flex"] = "now"
    """When a job gets its machine: `now`; `spot` for cheaper machines that may be taken away at any
    time, after which the job resumes from its last checkpoint; `flex` to wait for an accelerator
    until one is free (Dynamic Workload Scheduler), for at most 7 days of work."""
    spot: Flag = False
    """The same as `when = "spot"`."""
    wait_hours: Annotated[Number, Within(0.1, 168, "hours")] = 24.0
    """How long a job waits for its machine: with `when = "flex"` on Vertex AI, on a TPU on GKE."""
    reservation: Text = ""
    """Reservation that the machines are taken from, projects/PROJECT/zones/ZONE/reservations/NAME;
    cannot be combined with `when`."""
    queue: Text = ""
    """Local queue of Kueue in which TPU training jobs wait on a cluster; "" for none."""
    at_once: Annotated[Whole, Within(0, 100, "training jobs")] = 0
    """How many training jobs run at the same time; 0 for all of them. Bounds the quota that a run
    needs: jobs times chips or GPUs."""
    hours: Annotated[Number, Within(0.1, 168, "hours")] = 24.0
    """Time after which a training job is stopped; a job on a plain CPU on Vertex AI has no such
    limit."""
    retries: Annotated[Whole, Within(0, 10)] = 1
    """How many times a training job that failed is started again. The default of 1 means 5 on spot
    machines, because a machine that is taken away counts as a failure."""

    @property
    def preemptible(self) -> bool:
        """Whether the machines are spot machines."""
        return self.spot or self.when == "spot"

    @property
    def flexible(self) -> bool:
        """Whether a job waits until its machine is free."""
        return self.when == "flex"

    @property
    def restarts(self) -> int:
        """How many times a job that failed is started again."""
        return SPOT_RETRIES if self.preemptible and self.retries == 1 else self.retries

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.tpu and self.gpu:
            yield Problem("gpu", f"= {self.gpu!r}: cannot be combined with tpu")
        if self.gpus > 1 and not self.gpu:
            yield Problem("gpus", f"= {self.gpus}: requires gpu")
        if self.tpu and (self.cpus or self.memory_gib):
            yield Problem("cpus", "and memory_gib cannot be combined with tpu: a slice has its own")
        if self.spot and self.flexible:
            yield Problem("spot", "= true: cannot be combined with when = 'flex'")
        if self.flexible and not (self.tpu or self.gpu):
            yield Problem("when", "= 'flex': requires tpu or gpu: CPUs are free at once")
        if self.queue and not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", self.queue):
            yield Problem("queue", f"= {self.queue!r}: must be the name of a local queue")
        if self.reservation:
            if not re.fullmatch(f"{_PROJECT}/zones/{_NAME}/reservations/{_NAME}", self.reservation):
                yield Problem(
                    "reservation",
                    f"= {self.reservation!r}: must be"
                    " projects/PROJECT/zones/ZONE/reservations/NAME",
                )
            if self.preemptible or self.flexible:
                yield Problem("reservation", "cannot be combined with when: it holds machines now")
            if not (self.tpu or self.gpu):
                yield Problem("reservation", "requires tpu or gpu")


@dataclass(frozen=True, kw_only=True)
class Vertex(Section):
    """`[vertex]`: resources of your project that a run on Vertex AI uses; all are optional.

    ```toml
    [vertex]
    network = "projects/123456789/global/networks/training"
    encryption_key = "projects/p/locations/us-central1/keyRings/ring/cryptoKeys/key"
    ```
    """

    network: Text = ""
    """VPC network that the run's machines are peered with, projects/NUMBER/global/networks/NAME."""
    network_attachment: Text = ""
    """Network attachment for Private Service Connect,
    projects/PROJECT/regions/REGION/networkAttachments/NAME; cannot be combined with `network`."""
    encryption_key: Text = ""
    """Cloud KMS key in the run's region that encrypts what the service stores,
    projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY."""
    tensorboard: Text = ""
    """TensorBoard instance that training jobs on accelerators or spot machines write to,
    projects/PROJECT/locations/REGION/tensorboards/ID."""
    persistent_resource: Text = ""
    """Id of a persistent resource, whose machines are already started, for training jobs on
    accelerators."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        key = "keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+"
        for name, form, words in (
            (
                "network",
                r"projects/\d+/global/networks/[a-z0-9-]+",
                "projects/NUMBER/global/networks/NAME, with the project's number",
            ),
            (
                "network_attachment",
                f"{_PROJECT}/regions/[a-z0-9-]+/networkAttachments/{_NAME}",
                "projects/PROJECT/regions/REGION/networkAttachments/NAME",
            ),
            (
                "encryption_key",
                f"{_PROJECT}/locations/[a-z0-9-]+/{key}",
                "projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY",
            ),
            (
                "tensorboard",
                rf"{_PROJECT}/locations/[a-z0-9-]+/tensorboards/\d+",
                "projects/PROJECT/locations/REGION/tensorboards/ID",
            ),
            (
                "persistent_resource",
                "[a-z]([a-z0-9-]{0,62}[a-z0-9])?",
                "lower-case letters, digits and -, such as my-gpus",
            ),
        ):
            value = getattr(self, name)
            if value and not re.fullmatch(form, value):
                yield Problem(name, f"= {value!r}: must be {words}")
        if self.network and self.network_attachment:
            yield Problem("network_attachment", "cannot be combined with network")


@dataclass(frozen=True, kw_only=True)
class Train(Section):
    """`[train]`: how training is split into jobs, and which backend runs it.

    ```toml
    [train]
    folds_per_task = 5
    checkpoint_seconds = 120
    ```
    """

    folds_per_task: Annotated[Whole, Within(1, 50, "folds")] = 1
    """Folds that one training job trains, at most `folds.count`. The job imports its libraries and
    compiles its network once for all of them; more jobs run in parallel on more machines."""
    backend: Literal["auto", "tensorflow", "jax"] = "auto"
    """What computes: `auto` uses JAX on GPUs and TPUs, and TensorFlow on a CPU; `jax` is for tests
    on a CPU, and `tensorflow` trains on the CPU even where there is a GPU."""
    checkpoint_seconds: Annotated[Number, Within(0, 86_400, "seconds")] = 300.0
    """Time between two checkpoints of a training job; a job that is killed loses at most that much
    work."""
    checkpoints: Text = ""
    """`gs://bucket/prefix` that checkpoints are copied to, for machines that may be taken away; ""
    uses the run's own bucket if it has one."""
    hourly_price: Annotated[Number, Within(0, 1e6, "per hour")] = 0.0
    """Price of a training machine in any currency, for the cost in the report; 0 if it is
    unknown."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.checkpoints and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.checkpoints):
            yield Problem("checkpoints", f"= {self.checkpoints!r}: must be gs://bucket/prefix")
