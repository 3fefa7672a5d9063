"""The devices that a task trains on, in one place. Called before anything of Keras, TensorFlow or
JAX is imported."""

import contextlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trainer import runtime
from trainer.errors import CompetitionError, TrainingError

# Set by whoever starts several processes that train together, where they do not find each other by
# themselves as on a TPU.

_DEVICES = Path("/dev")
Backend = Literal["tensorflow", "jax"]


@dataclass(frozen=True)
class Device:
    """The devices that a job trains on.

    Attributes:
        name: for messages, such as `4 × TPU v5e`.
        backend: the framework that computes.
        devices: the number of devices, in all processes, that share each batch.
        process: the number of this process, from 0.
        processes: the number of processes.
        threads: the number of threads on the host that prepare images.
        augments: whether the device augments the images.
    """

    name: str
    backend: Backend
    devices: int
    process: int
    processes: int
    threads: int
    augments: bool

    def libraries(self) -> dict[str, str]:
        """The versions of what trains, by name."""
        backend = ("jax",) if self.backend == "jax" else ("tensorflow", "tensorflow-cpu")
        found = {}
        for name in ("keras", *backend, "opencv-python-headless"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
        return found

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        hosts = f", process {self.process + 1} of {self.processes}" if self.processes > 1 else ""
        backend = {"tensorflow": "TensorFlow", "jax": "JAX"}[self.backend]
        return (
            f"{self.name} ({backend}{hosts}, {threads}, images augmented by the"
            f" {'device' if self.augments else 'host'})"
        )


def prepare(backend: str = "auto", *, compiled: Path | None = None) -> Device:
    """Find the devices and set up Keras for this process.

    A launcher that runs several tasks side by side sets FOLDLINE_THREADS, so that they share the
    cores instead of fighting for them: two tasks of one thread each do more on two cores than two
    of two. The number decides the last bits of the results, as sums are cut differently.

    Args:
        backend: `auto`: TensorFlow on a CPU or a single GPU, JAX on a TPU or several devices.
        compiled: a folder to keep compiled networks in, for the next process.

    Raises:
        CompetitionError: no such backend, or the process has begun with another.
        TrainingError: the libraries of the devices found are not installed.
    """
    if backend not in ("auto", "tensorflow", "jax"):
        raise CompetitionError(
            f"train.backend = {backend!r}: must be 'auto', 'tensorflow' or 'jax'"
        )
    threads = int(os.environ.get(runtime.THREADS, "0")) or os.cpu_count() or 1
    together = runtime.COORDINATOR in os.environ
    if together and backend == "tensorflow":
        raise CompetitionError(
            "train.backend = 'tensorflow': several processes train together on JAX only"
        )
    chosen = (
        backend
        if backend != "auto"
        else ("jax" if together or tpus() or gpus() > 1 else "tensorflow")
    )
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    if keras.config.backend() != chosen:
        raise CompetitionError(
            f"train.backend = {chosen!r}: Keras runs on {keras.config.backend()} in this process"
            " already; start another"
        )
    return _tensorflow(threads) if chosen == "tensorflow" else _jax(threads, compiled)


def all_gather(device: Device) -> Callable[[int], list[int]]:
    """A function that says what a number is in each process, called by all of them at the same
    place."""
    if device.processes == 1:
        return lambda value: [value]
    from jax.experimental import multihost_utils

    return lambda value: [
        int(found) for found in multihost_utils.process_allgather(np.array(value)).ravel()
    ]


def tpus() -> bool:
    """Whether this host has TPU chips and the library that drives them."""
    chips = list(_DEVICES.glob("accel*")) or (
        list(_DEVICES.glob("vfio/[0-9]*")) if "TPU_WORKER_ID" in os.environ else []
    )
    if not chips:
        return False
    if importlib.util.find_spec("libtpu") is None:
        raise TrainingError(
            "this host has TPU chips and no libtpu: install jax[tpu], or take an image that has it"
        )
    return True


def gpus() -> int:
    """How many NVIDIA GPUs this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = len(list(_DEVICES.glob("nvidia[0-9]*")))
    if visible is None:
        return found
    return min(
        found,
        sum(bool(name.strip()) and not name.strip().startswith("-") for name in visible.split(",")),
    )


def _tensorflow(threads: int) -> Device:
    # TensorFlow reads these when its first operation runs.
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[variable] = str(threads)
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    name = (
        f"GPU ({tf.config.experimental.get_device_details(found[0])['device_name']})"
        if found
        else "CPU"
    )
    # A GPU has time to spare and takes a fourth of the bytes so; a CPU's own threads paint ten
    # times faster than its graph.
    return Device(
        name, "tensorflow", devices=1, process=0, processes=1, threads=threads, augments=bool(found)
    )


def _jax(threads: int, compiled: Path | None) -> Device:
    import jax
    import keras

    if compiled is not None:
        jax.config.update("jax_compilation_cache_dir", str(compiled))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if runtime.COORDINATOR in os.environ:
        jax.distributed.initialize(
            os.environ[runtime.COORDINATOR],
            num_processes=int(os.environ[runtime.PROCESSES]),
            process_id=int(os.environ[runtime.PROCESS]),
        )
    elif tpus() and len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        # The hosts of a slice find each other.
        jax.distributed.initialize()
    devices = jax.devices()
    if len(devices) > 1:
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(auto_shard_dataset=False)
        )
    kind = devices[0].device_kind if devices[0].platform != "cpu" else "CPU"
    return Device(
        f"{len(devices)} × {kind}" if len(devices) > 1 else kind,
        "jax",
        devices=len(devices),
        process=jax.process_index(),
        processes=jax.process_count(),
        threads=threads,
        augments=True,
    )
