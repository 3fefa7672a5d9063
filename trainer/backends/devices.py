"""Finds the devices that a training job runs on, and sets up Keras for them.

`prepare` must run before the first import of Keras, TensorFlow or JAX.
"""

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
        """Return the versions of the libraries that training uses, by name."""
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

    A launcher that runs several jobs in parallel sets FOLDLINE_THREADS, so that the jobs share the
    cores: on two cores, two jobs with one thread each are faster than two with two. The number of
    threads changes the last bits of the results, because it changes the order of sums.

    Args:
        backend: `tensorflow`, `jax`, or `auto`: JAX on a TPU or on several devices, else
            TensorFlow.
        compiled: folder in which JAX keeps compiled networks for the next process; None for none.

    Raises:
        CompetitionError: there is no such backend, or Keras already runs on another.
        TrainingError: the libraries for the devices are not installed.
    """
    if backend not in ("auto", "tensorflow", "jax"):
        raise CompetitionError(
            f"train.backend = {backend!r}: must be 'auto', 'tensorflow' or 'jax'"
        )
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
            " already; start a new process"
        )
    return _tensorflow(host_threads()) if chosen == "tensorflow" else _jax(host_threads(), compiled)


def host_threads() -> int:
    """Return how many threads a training job uses: FOLDLINE_THREADS, or one per core."""
    return int(os.environ.get(runtime.THREADS, "0")) or os.cpu_count() or 1


def this_process() -> int:
    """Return the number of this process, from 0, among those that train together."""
    return int(os.environ.get(runtime.PROCESS, "0"))


def all_gather(device: Device) -> Callable[[int], list[int]]:
    """Return a function that gathers a number from every process.

    All processes must call it at the same place; it returns the numbers in process order.
    """
    if device.processes == 1:
        return lambda value: [value]
    from jax.experimental import multihost_utils

    return lambda value: [
        int(found) for found in multihost_utils.process_allgather(np.array(value)).ravel()
    ]


def tpus() -> bool:
    """Return whether this host has TPU chips.

    Raises:
        TrainingError: it has chips, but libtpu is not installed.
    """
    chips = list(_DEVICES.glob("accel*")) or (
        list(_DEVICES.glob("vfio/[0-9]*")) if "TPU_WORKER_ID" in os.environ else []
    )
    if not chips:
        return False
    if importlib.util.find_spec("libtpu") is None:
        raise TrainingError(
            "this host has TPU chips, but libtpu is not installed: install jax[tpu], or use a"
            " container image that has it"
        )
    return True


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use."""
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
    # On a GPU, augmentation on the device needs a quarter of the transfers. On a CPU, our threads
    # augment ten times faster than a graph of operations.
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
        # Without arguments: the hosts of a TPU slice find each other.
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
