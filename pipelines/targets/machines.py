"""The accelerators that a competition file may name, with their machine types, topologies and chips
on Vertex AI and on GKE.

No other module has such a table. `pages` lists the sources of the figures, as read in 2026. None of
these machines has been started for real (docs/accelerators.md). TPU slices have one host: in a
larger slice, each host is a pod or a replica of its own.
"""

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
# Limits of a plain step: cloud.google.com/vertex-ai/docs/pipelines/machine-types.
MOST_CPUS, MOST_MEMORY_GIB = 96, 624
# Default (vCPUs, GiB) of a training job without an accelerator.
CPU = (4, 16)


@dataclass(frozen=True)
class VertexMachine:
    """A machine of a Vertex AI custom job.

    Attributes:
        machine_type: its machine type, such as n1-standard-8.
        accelerator_type: the accelerator's name in Vertex AI's API; "" if the machine type implies
            it or there is none.
        accelerator_count: how many of them; 0 if `accelerator_type` is "".
        topology: the topology of a TPU slice, such as 2x2; "" if not needed.
    """

    machine_type: str
    accelerator_type: str = ""
    accelerator_count: int = 0
    topology: str = ""


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


@dataclass(frozen=True)
class Slice:
    """A TPU slice of one host.

    Attributes:
        chips: how many chips it has.
        vertex: its machine on Vertex AI.
        gke_accelerator: its accelerator label on GKE; "" if GKE does not offer it.
        gke_topology: its topology label on GKE; "" if GKE does not offer it.
        pages: the sources of these figures.
    """

    chips: int
    vertex: VertexMachine
    gke_accelerator: str
    gke_topology: str
    pages: tuple[str, ...]


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        vertex_type: its name in Vertex AI's API.
        machines: (machine type, vCPUs, GiB) by number of GPUs.
        gke_accelerator: its accelerator label on GKE.
        pages: the sources of these figures.
    """

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
# The number in a name counts TensorCores for v2 and v3 (two per chip), chips for v5e and v6e.
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

    TensorCores of a TPU v2 or v3, chips of a later TPU, or GPUs; 1 for a CPU.
    """
    if machine.tpu:
        return int(machine.tpu.rpartition("-")[2])
    return machine.gpus if machine.gpu else 1


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
        f"machine.spot = true: no spot machine has {cpus} vCPUs and {memory} GiB"
    )


def paid_cpus(machine: Machine, target: str) -> float:
    """The vCPUs that a training job without an accelerator is billed for, each with 4 GiB.

    A spot job on Vertex AI is billed for the complete machine. If the job has more than 4 GiB per
    vCPU, its memory decides the price.
    """
    cpus, memory = _spot(machine)[:2] if target == "vertex" and machine.spot else cpu_needs(machine)
    return max(cpus, memory / 4)


def on_gke(machine: Machine) -> Node:
    """What the pod of a training job requests.

    Raises:
        CompetitionError: the machine is not in the tables, or GKE does not offer it.
    """
    check(machine)
    spot = {"cloud.google.com/gke-spot": "true"} if machine.spot else {}
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
        return Node(0, 0, "google.com/tpu", tpu.chips, labels | spot, {"google.com/tpu": ""} | spot)
    if machine.gpu:
        kind = GPUS[machine.gpu]
        _, cpus, memory = kind.machines[machine.gpus]
        # Three quarters: the node reserves some of both for itself.
        requests = machine.cpus or cpus * 3 // 4, machine.memory_gib or memory * 3 // 4
        labels = {"cloud.google.com/gke-accelerator": kind.gke_accelerator}
        return Node(
            *requests, "nvidia.com/gpu", machine.gpus, labels | spot, {"nvidia.com/gpu": ""} | spot
        )
    return Node(*cpu_needs(machine), selectors=spot, tolerations=spot)
