"""Where a training job runs if it does not run on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from trainer.config.schema import Flag, Number, Problem, Section, Text, Whole, Within


@dataclass(frozen=True, kw_only=True)
class Machine(Section):
    """`[machine]`: the machine of a training job when the pipeline is compiled for Vertex AI or a
    cluster; a run on this machine ignores it.

    pipelines/targets/machines.py lists the TPU slices and GPUs. With neither tpu nor gpu, a job
    runs on a CPU.

    ```toml
    [machine]
    gpu = "L4"
    spot = true
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
    spot: Flag = False
    """Use cheaper machines that may be taken away at any time; the job then resumes from its last
    checkpoint."""
    hours: Annotated[Number, Within(0.1, 168, "hours")] = 24.0
    """Time after which a training job is stopped; a job on a plain CPU on Vertex AI has no such
    limit."""
    retries: Annotated[Whole, Within(0, 10)] = 1
    """How many times a training job that failed is started again."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.tpu and self.gpu:
            yield Problem("gpu", f"= {self.gpu!r}: cannot be combined with tpu")
        if self.gpus > 1 and not self.gpu:
            yield Problem("gpus", f"= {self.gpus}: requires gpu")
        if self.tpu and (self.cpus or self.memory_gib):
            yield Problem("cpus", "and memory_gib cannot be combined with tpu: a slice has its own")
