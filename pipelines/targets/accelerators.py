"""The accelerators that a competition file may name, with their machine types, topologies and chips
on Vertex AI and on GKE.

No other module has such a table. `pages` lists the sources of the figures, as read in 2026. None of
these machines has been started for real (docs/accelerators.md). On Vertex AI, a TPU slice of
several hosts is one replica; on GKE, each of its hosts is a pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_SAMPLES = "github.com/GoogleCloudPlatform/vertex-ai-samples notebooks/official/training"
_TPU_PAGES = (
    "cloud.google.com/vertex-ai/docs/training/training-with-tpu-vm",
    "cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus",
)
_GPU_PAGES = (
    "cloud.google.com/vertex-ai/docs/training/configure-compute",
    "cloud.google.com/kubernetes-engine/docs/how-to/gpus",
)


@dataclass(frozen=True)
class VertexMachine:
    """A machine of a Vertex AI custom job.

    Attributes:
        machine_type: its machine type, such as n1-standard-8.
        accelerator_type: the accelerator's name in Vertex AI's API; "" if the machine type implies
            it or there is none.
        accelerator_count: how many of them; 0 if `accelerator_type` is "".
        topology: the topology of a TPU slice, such as 2x2; "" if not needed.
        disk_type: the type of the boot disk.
    """

    machine_type: str
    accelerator_type: str = ""
    accelerator_count: int = 0
    topology: str = ""
    disk_type: str = "pd-ssd"


@dataclass(frozen=True)
class Slice:
    """A TPU slice.

    Attributes:
        chips: how many chips it has, on all hosts.
        hosts: how many machines hold them.
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
    hosts: int = 1


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
# (chips, hosts, topology) of the slices of v5e and v6e. Hosts of larger slices have four chips.
_SHAPES = (
    (1, 1, "1x1"),
    (4, 1, "2x2"),
    (8, 1, "2x4"),
    (16, 4, "4x4"),
    (32, 8, "4x8"),
    (64, 16, "8x8"),
)


def _slices(
    name: str, machine: str, label: str, pages: tuple[str, ...], disk_type: str
) -> dict[str, Slice]:
    return {
        f"{name}-{chips}": Slice(
            chips,
            VertexMachine(f"{machine}-{chips // hosts}t", topology=topology, disk_type=disk_type),
            label,
            topology,
            pages,
            hosts,
        )
        for chips, hosts, topology in _SHAPES
    }


# The number in a name counts TensorCores for v3 (two per chip), chips for v5e and v6e. JAX 0.10
# does not know the chips of a v2. A v6e boots from Hyperdisks only
# (docs.cloud.google.com/tpu/docs/setup-persistent-disk).
TPUS: Mapping[str, Slice] = {
    "v3-8": Slice(4, VertexMachine("cloud-tpu", "TPU_V3", 8), "tpu-v3-device", "2x2", _TPU_PAGES),
    **_slices("v5e", "ct5lp-hightpu", "tpu-v5-lite-podslice", _V5E, "pd-ssd"),
    **_slices("v6e", "ct6e-standard", "tpu-v6e-slice", _V6E, "hyperdisk-balanced"),
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
    "H100": Gpu(
        "NVIDIA_H100_80GB",
        {
            1: ("a3-highgpu-1g", 26, 234),
            2: ("a3-highgpu-2g", 52, 468),
            4: ("a3-highgpu-4g", 104, 936),
            8: ("a3-highgpu-8g", 208, 1872),
        },
        "nvidia-h100-80gb",
    ),
}
# Machines that are offered as spot or with a flexible start only
# (docs.cloud.google.com/compute/docs/accelerator-optimized-machines#a3-high-vms).
ONLY_LATER = ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")
