"""The machine that a training job gets on Vertex AI or on GKE, and what it must find there."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipelines.targets.accelerators import GPUS, ONLY_LATER, TPUS, VertexMachine
from trainer.config.machine import Machine
from trainer.errors import CompetitionError

# The steps that run on the training machine.
TRAINING = ("train", "train-gan", "doctor")

# Limits of a plain step: cloud.google.com/vertex-ai/docs/pipelines/machine-types.
MOST_CPUS, MOST_MEMORY_GIB = 96, 624
# Default (vCPUs, GiB) of a training job without an accelerator.
CPU = (4, 16)


@dataclass(frozen=True)
class Node:
    """What a pod requests of a GKE cluster.

    Attributes:
        cpus: vCPUs; 0 to request none and use all of the node's.
        memory_gib: memory in GiB; 0 to request none and use all of the node's.
        resource: the accelerator's resource name; "" for none.
        count: how many of that resource.
        selectors: labels that the node must have.
        tolerations: taints of the node that the pod tolerates, value by key; "" for any value.
    """

    cpus: int = 0
    memory_gib: int = 0
    resource: str = ""
    count: int = 0
    selectors: Mapping[str, str] = field(default_factory=dict)
    tolerations: Mapping[str, str] = field(default_factory=dict)


# Machine types of a spot training job without an accelerator, by (vCPUs, GiB); every region has n1.
_SPOT = {
    (4, 15): "n1-standard-4",
    (4, 26): "n1-highmem-4",
    (8, 30): "n1-standard-8",
    (16, 60): "n1-standard-16",
} | {
    (32, 120): "n1-standard-32",
    (64, 240): "n1-standard-64",
    (96, 360): "n1-standard-96",
}


def check(machine: Machine) -> None:
    """Check that a machine exists: its accelerator and their number, its vCPUs and memory.

    Raises:
        CompetitionError: it does not; the message has the possible values.
    """
    if machine.tpu:
        _known("tpu", machine.tpu, TPUS)
    elif machine.gpu:
        kind = GPUS[_known("gpu", machine.gpu, GPUS)]
        if machine.gpus not in kind.machines:
            raise CompetitionError(
                f"machine.gpus = {machine.gpus}: must be one of {_listed(kind.machines)} for"
                f" {machine.gpu}"
            )
        name, cpus, memory = kind.machines[machine.gpus]
        if name in ONLY_LATER and not (machine.preemptible or machine.flexible):
            raise CompetitionError(
                f"machine.gpus = {machine.gpus}: {name} is offered only with when = 'spot' or"
                " when = 'flex'"
            )
        if machine.cpus > cpus or machine.memory_gib > memory:
            raise CompetitionError(
                f"machine.cpus = {machine.cpus}, memory_gib = {machine.memory_gib}: {name} has"
                f" only {cpus} vCPUs and {memory} GiB"
            )
    elif machine.cpus > MOST_CPUS or machine.memory_gib > MOST_MEMORY_GIB:
        raise CompetitionError(
            f"machine.cpus = {machine.cpus}, memory_gib = {machine.memory_gib}: "
            f"must be at most {MOST_CPUS} vCPUs and {MOST_MEMORY_GIB} GiB"
        )


def _known(key: str, name: str, table: Mapping[str, object]) -> str:
    if name not in table:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise CompetitionError(
            f"machine.{key} = {name!r}: unknown accelerator{hint} Supported: {_listed(table)}"
        )
    return name


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def devices(machine: Machine) -> int:
    """How many devices share each batch.

    TensorCores of a TPU v3, chips of a later TPU, or GPUs; 1 for a CPU.
    """
    if machine.tpu:
        return int(machine.tpu.rpartition("-")[2])
    return machine.gpus if machine.gpu else 1


def expected(machine: Machine) -> str:
    """What a training job must find on its machine, as FOLDLINE_EXPECTS has it."""
    if machine.tpu:
        return f"tpu:{devices(machine)}"
    return f"gpu:{machine.gpus}" if machine.gpu else "cpu"


def is_custom_job(machine: Machine) -> bool:
    """Whether training on Vertex AI is a custom job: a plain step has no such machine."""
    return bool(machine.tpu or machine.gpu or machine.preemptible)


def hosts(machine: Machine) -> int:
    """How many machines train together."""
    return TPUS[machine.tpu].hosts if machine.tpu else 1


def chips(machine: Machine) -> int:
    """How many chips or GPUs a training job takes from the quota; 0 without an accelerator."""
    return TPUS[machine.tpu].chips if machine.tpu else machine.gpus if machine.gpu else 0


def cpu_needs(machine: Machine) -> tuple[int, int]:
    """(vCPUs, GiB) of a training job without an accelerator."""
    return machine.cpus or CPU[0], machine.memory_gib or CPU[1]


def on_vertex(machine: Machine) -> VertexMachine:
    """The machine of a training job that is a Vertex AI custom job.

    Raises:
        CompetitionError: the machine is not in the tables, or no spot machine is large enough.
    """
    check(machine)
    if machine.tpu:
        return TPUS[machine.tpu].vertex
    if machine.gpu:
        kind = GPUS[machine.gpu]
        return VertexMachine(kind.machines[machine.gpus][0], kind.vertex_type, machine.gpus)
    return VertexMachine(_spot(machine)[2])


def _spot(machine: Machine) -> tuple[int, int, str]:
    """(vCPUs, GiB, machine type) of the smallest spot machine that is large enough.

    15/16 of the memory is enough: n1 machines have 15 GiB where others have 16.
    """
    cpus, memory = cpu_needs(machine)
    for (vcpus, gib), name in _SPOT.items():
        if vcpus >= cpus and gib >= memory * 15 // 16:
            return vcpus, gib, name
    raise CompetitionError(
        f"machine.when = 'spot': no spot machine has {cpus} vCPUs and {memory} GiB"
    )


def paid_cpus(machine: Machine, target: str) -> float:
    """The vCPUs that a training job without an accelerator is billed for, each with 4 GiB.

    A spot job on Vertex AI is billed for the complete machine. If the job has more than 4 GiB per
    vCPU, its memory decides the price.
    """
    cpus, memory = (
        _spot(machine)[:2] if target == "vertex" and machine.preemptible else cpu_needs(machine)
    )
    return max(cpus, memory / 4)


def on_gke(machine: Machine) -> Node:
    """What the pod of a training job requests.

    Raises:
        CompetitionError: the machine is not in the tables, or GKE does not offer it.
    """
    check(machine)
    spot = {"cloud.google.com/gke-spot": "true"} if machine.preemptible else {}
    wanted = {**spot, **_capacity(machine)}
    if machine.tpu:
        tpu = TPUS[machine.tpu]
        if not tpu.gke_accelerator:
            available = [name for name, entry in TPUS.items() if entry.gke_accelerator]
            raise CompetitionError(
                f"machine.tpu = {machine.tpu!r}: not available on GKE; GKE has {_listed(available)}"
            )
        labels = {
            "cloud.google.com/gke-tpu-accelerator": tpu.gke_accelerator,
            "cloud.google.com/gke-tpu-topology": tpu.gke_topology,
        }
        # One pod gets all chips of its node, and so all of the node's vCPUs and memory.
        return Node(
            0,
            0,
            "google.com/tpu",
            tpu.chips // tpu.hosts,
            labels | wanted,
            {"google.com/tpu": ""} | spot,
        )
    if machine.gpu:
        kind = GPUS[machine.gpu]
        _, cpus, memory = kind.machines[machine.gpus]
        # Three quarters: the node reserves some of both for itself.
        requests = machine.cpus or cpus * 3 // 4, machine.memory_gib or memory * 3 // 4
        labels = {"cloud.google.com/gke-accelerator": kind.gke_accelerator}
        return Node(
            *requests,
            "nvidia.com/gpu",
            machine.gpus,
            labels | wanted,
            {"nvidia.com/gpu": ""} | spot,
        )
    return Node(*cpu_needs(machine), selectors=spot, tolerations=spot)


def _capacity(machine: Machine) -> dict[str, str]:
    """The labels of nodes from a reservation or a flexible start."""
    if machine.flexible:
        return {"cloud.google.com/gke-flex-start": "true"}
    if not machine.reservation:
        return {}
    _, project, _, _, _, name = machine.reservation.split("/")
    return {
        "cloud.google.com/reservation-name": name,
        "cloud.google.com/reservation-project": project,
        "cloud.google.com/reservation-affinity": "specific",
    }


def quota(machine: Machine, target: str, jobs: int) -> str:
    """How many chips or GPUs the run takes at the same time.

    Args:
        machine: what training runs on.
        target: vertex or kfp.
        jobs: how many training jobs there are.
    """
    at_once = min(jobs, machine.at_once or jobs)
    name = machine.gpu or machine.tpu.partition("-")[0]
    kind = f"{name} GPUs" if machine.gpu else f"TPU {name} chips"
    # cloud.google.com/vertex-ai/docs/quotas names them so.
    metric = name.lower().replace("-", "_")
    metric = f"nvidia_{metric}_gpus" if machine.gpu else f"tpu_{metric}"
    spot = "preemptible_" * machine.preemptible
    where = f" (custom_model_training_{spot}{metric})" if target == "vertex" else ""
    return (
        f"Quota{where}: {at_once * chips(machine)} {kind} for {at_once} training jobs at"
        " the same time; machine.at_once bounds them."
    )
