"""The accelerators that a competition file may name: machine types, topologies and chips, on Vertex
AI and on GKE.

The one table of them; `pages` are those that the figures are from, as read in 2026. Nothing here
has been started on the real thing (docs/accelerators.md). Slices of one host only: of several, each
host is a pod or a replica of its own."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trainer.config.machine import Machine
from trainer.errors import CompetitionError

_SAMPLES = "github.com/GoogleCloudPlatform/vertex-ai-samples notebooks/official/training"
_TPU_PAGES = (
    "cloud.google.com/vertex-ai/docs/training/training-with-tpu-vm",
    "cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus",
)
_GPU_PAGES = (
    "cloud.google.com/vertex-ai/docs/training/configure-compute",
    "cloud.google.com/kubernetes-engine/docs/how-to/gpus",
)
# Of a plain task of Vertex AI Pipelines: cloud.google.com/vertex-ai/docs/pipelines/machine-types.
MOST_CPUS, MOST_MEMORY_GIB = 96, 624
# vCPUs and GiB of a training task without an accelerator, where the file says nothing.
CPU = (4, 16)


@dataclass(frozen=True)
class VertexMachine:
    """A machine of a Vertex AI custom job: `accelerator_type` is one of its API's names, `topology`
    of a TPU slice."""

    machine_type: str
    accelerator_type: str = ""
    accelerator_count: int = 0
    topology: str = ""


@dataclass(frozen=True)
class Node:
    """What a pod asks of a GKE cluster: vCPUs and GiB (0: as the node has), `count` of a resource,
    labels, taints it bears."""

    cpus: int = 0
    memory_gib: int = 0
    resource: str = ""
    count: int = 0
    selectors: Mapping[str, str] = field(default_factory=dict)
    tolerations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """A TPU slice of one host: its chips, its machine on Vertex, its names on GKE ("": not there),
    and pages."""

    chips: int
    vertex: VertexMachine
    gke_accelerator: str
    gke_topology: str
    pages: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU: the machine of Vertex AI for each number of them, its vCPUs and GiB, its name
    on GKE, and pages."""

    vertex_type: str
    machines: Mapping[int, tuple[str, int, int]]
    gke_accelerator: str
    pages: tuple[str, ...] = _GPU_PAGES


_V5E = (
    *_TPU_PAGES,
    "docs.cloud.google.com/tpu/docs/v5e",
    f"{_SAMPLES}/tpuv5e_llama2_pytorch_finetuning_and_serving.ipynb",
)
_V6E = (*_TPU_PAGES, "docs.cloud.google.com/tpu/docs/v6e")
# The number in a name counts TensorCores of v2 and v3, two a chip, and chips of v5e and v6e.
TPUS: Mapping[str, Slice] = {
    "v2-8": Slice(4, VertexMachine("cloud-tpu", "TPU_V2", 8), "", "", _TPU_PAGES),
    "v3-8": Slice(4, VertexMachine("cloud-tpu", "TPU_V3", 8), "tpu-v3-device", "2x2", _TPU_PAGES),
    "v5e-1": Slice(
        1, VertexMachine("ct5lp-hightpu-1t", topology="1x1"), "tpu-v5-lite-podslice", "1x1", _V5E
    ),
    "v5e-4": Slice(
        4, VertexMachine("ct5lp-hightpu-4t", topology="2x2"), "tpu-v5-lite-podslice", "2x2", _V5E
    ),
    "v5e-8": Slice(
        8, VertexMachine("ct5lp-hightpu-8t", topology="2x4"), "tpu-v5-lite-podslice", "2x4", _V5E
    ),
    "v6e-1": Slice(
        1, VertexMachine("ct6e-standard-1t", topology="1x1"), "tpu-v6e-slice", "1x1", _V6E
    ),
    "v6e-4": Slice(
        4, VertexMachine("ct6e-standard-4t", topology="2x2"), "tpu-v6e-slice", "2x2", _V6E
    ),
    "v6e-8": Slice(
        8, VertexMachine("ct6e-standard-8t", topology="2x4"), "tpu-v6e-slice", "2x4", _V6E
    ),
}
GPUS: Mapping[str, Gpu] = {
    "T4": Gpu(
        "NVIDIA_TESLA_T4",
        {
            1: ("n1-standard-8", 8, 30),
            2: ("n1-standard-16", 16, 60),
            4: ("n1-standard-32", 32, 120),
        },
        "nvidia-tesla-t4",
    ),
    "V100": Gpu(
        "NVIDIA_TESLA_V100",
        {
            1: ("n1-standard-8", 8, 30),
            2: ("n1-standard-16", 16, 60),
            4: ("n1-standard-32", 32, 120),
        },
        "nvidia-tesla-v100",
    ),
    "L4": Gpu(
        "NVIDIA_L4",
        {
            1: ("g2-standard-8", 8, 32),
            2: ("g2-standard-24", 24, 96),
            4: ("g2-standard-48", 48, 192),
            8: ("g2-standard-96", 96, 384),
        },
        "nvidia-l4",
    ),
    "A100": Gpu(
        "NVIDIA_TESLA_A100",
        {
            1: ("a2-highgpu-1g", 12, 85),
            2: ("a2-highgpu-2g", 24, 170),
            4: ("a2-highgpu-4g", 48, 340),
            8: ("a2-highgpu-8g", 96, 680),
            16: ("a2-megagpu-16g", 96, 1360),
        },
        "nvidia-tesla-a100",
    ),
    "A100-80GB": Gpu(
        "NVIDIA_A100_80GB",
        {
            1: ("a2-ultragpu-1g", 12, 170),
            2: ("a2-ultragpu-2g", 24, 340),
            4: ("a2-ultragpu-4g", 48, 680),
            8: ("a2-ultragpu-8g", 96, 1360),
        },
        "nvidia-a100-80gb",
    ),
    "H100": Gpu("NVIDIA_H100_80GB", {8: ("a3-highgpu-8g", 208, 1872)}, "nvidia-h100-80gb"),
}
# Machines of a spot CPU task, by vCPUs and GiB; n1 takes any region.
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
    """Is there such an accelerator?

    Raises:
        CompetitionError: no, with those there are.
    """
    if machine.tpu:
        _known("tpu", machine.tpu, TPUS)
    elif machine.gpu:
        kind = GPUS[_known("gpu", machine.gpu, GPUS)]
        if machine.gpus not in kind.machines:
            raise CompetitionError(
                f"machine.gpus = {machine.gpus}: of {machine.gpu} a machine has"
                f" {_listed(kind.machines)}"
            )
        name, cpus, memory = kind.machines[machine.gpus]
        if machine.cpus > cpus or machine.memory_gib > memory:
            raise CompetitionError(
                f"machine.cpus = {machine.cpus}, memory_gib = {machine.memory_gib}: {name} has"
                f" {cpus} and {memory}"
            )
    elif machine.cpus > MOST_CPUS or machine.memory_gib > MOST_MEMORY_GIB:
        raise CompetitionError(
            f"machine.cpus = {machine.cpus}, memory_gib = {machine.memory_gib}: "
            f"a task has at most {MOST_CPUS} and {MOST_MEMORY_GIB}"
        )


def _known(key: str, name: str, table: Mapping[str, object]) -> str:
    if name not in table:
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise CompetitionError(f"machine.{key} = {name!r}: {hint}There are {_listed(table)}")
    return name


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


def devices(machine: Machine) -> int:
    """How many devices share each batch: TensorCores of v2 and v3, chips of later ones, GPUs; 1 of
    a CPU."""
    if machine.tpu:
        return int(machine.tpu.rpartition("-")[2])
    return machine.gpus if machine.gpu else 1


def cpu_needs(machine: Machine) -> tuple[int, int]:
    """vCPUs and GiB of a training task without an accelerator."""
    return machine.cpus or CPU[0], machine.memory_gib or CPU[1]


def on_vertex(machine: Machine) -> VertexMachine:
    """The machine of a custom job.

    Raises:
        CompetitionError: as `check`, or no spot machine is as large.
    """
    check(machine)
    if machine.tpu:
        return TPUS[machine.tpu].vertex
    if machine.gpu:
        kind = GPUS[machine.gpu]
        return VertexMachine(kind.machines[machine.gpus][0], kind.vertex_type, machine.gpus)
    return VertexMachine(_spot(machine)[2])


def _spot(machine: Machine) -> tuple[int, int, str]:
    """vCPUs, GiB and name of the smallest that has as many vCPUs, and nearly the memory: n1 counts
    15 where others count 16."""
    cpus, memory = cpu_needs(machine)
    for (has, gib), name in _SPOT.items():
        if has >= cpus and gib >= memory * 15 // 16:
            return has, gib, name
    raise CompetitionError(
        f"machine.spot = true: no spot machine has {cpus} vCPUs and {memory} GiB"
    )


def paid_cpus(machine: Machine, target: str) -> float:
    """vCPUs that a training task without an accelerator is paid for, each with 4 GiB: on Vertex a
    spot task has a whole machine, and where the memory is more than that, the memory counts."""
    cpus, memory = _spot(machine)[:2] if target == "vertex" and machine.spot else cpu_needs(machine)
    return max(cpus, memory / 4)


def on_gke(machine: Machine) -> Node:
    """What the pod asks for.

    Raises:
        CompetitionError: as `check`, or the accelerator is not on GKE.
    """
    check(machine)
    spot = {"cloud.google.com/gke-spot": "true"} if machine.spot else {}
    if machine.tpu:
        of = TPUS[machine.tpu]
        if not of.gke_accelerator:
            there = [name for name, one in TPUS.items() if one.gke_accelerator]
            raise CompetitionError(
                f"machine.tpu = {machine.tpu!r}: is not on GKE; there are {_listed(there)}"
            )
        labels = {
            "cloud.google.com/gke-tpu-accelerator": of.gke_accelerator,
            "cloud.google.com/gke-tpu-topology": of.gke_topology,
        }
        # All chips of a node go to one pod, so the node's vCPUs and memory are its own.
        return Node(0, 0, "google.com/tpu", of.chips, labels | spot, {"google.com/tpu": ""} | spot)
    if machine.gpu:
        kind = GPUS[machine.gpu]
        _, cpus, memory = kind.machines[machine.gpus]
        # A node keeps some of both for itself.
        asked = machine.cpus or cpus * 3 // 4, machine.memory_gib or memory * 3 // 4
        labels = {"cloud.google.com/gke-accelerator": kind.gke_accelerator}
        return Node(
            *asked, "nvidia.com/gpu", machine.gpus, labels | spot, {"nvidia.com/gpu": ""} | spot
        )
    return Node(*cpu_needs(machine), selectors=spot, tolerations=spot)
