"""Finds the devices that a training job runs on, and sets up Keras for them.

`prepare` must run before the first import of Keras, TensorFlow or JAX.
"""

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trainer import runtime
from trainer.backends.hardware import (
    Expected,
    Hardware,
    checked,
    expected,
    is_usable,
    missing,
)
from trainer.errors import CompetitionError, TrainingError

Backend = Literal["tensorflow", "jax"]
# What Keras and TensorFlow import if it is installed, and use only where they are asked to plot, to
# edit files in a notebook, to be a model of scikit-learn, or to convert a function of JAX. The
# backend that computes is never among them.
_FOR_USERS = ("IPython", "matplotlib", "sklearn")


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
        advice: what would make training faster here; "" for nothing.
    """

    name: str
    backend: Backend
    devices: int
    process: int
    processes: int
    threads: int
    augments: bool
    advice: str = ""

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


def prepare(
    backend: str = "auto",
    *,
    hardware: Hardware | None = None,
    compiled: Path | None = None,
    own_process: bool = False,
) -> Device:
    """Find the devices and set up Keras for this process.

    A launcher that runs several jobs in parallel sets FOLDLINE_THREADS, so that the jobs share the
    cores: on two cores, two jobs with one thread each are faster than two with two. The number of
    threads changes the last bits of the results, because it changes the order of sums.

    Args:
        backend: `tensorflow`, `jax`, or `auto`: JAX on GPUs and TPUs, TensorFlow on a CPU.
        hardware: the accelerators to use; None for all that are found.
        compiled: folder in which JAX keeps compiled networks for the next process; None for none.
        own_process: whether this process does nothing but train; it then starts in 60 % of the
            time, because Keras and TensorFlow import nothing for their users' plots and wrappers.

    Raises:
        CompetitionError: there is no such backend, it does not train on these accelerators, or
            Keras already runs on another.
        TrainingError: JAX cannot use the accelerators, or they are not those that the job was
            promised.
    """
    if backend not in ("auto", "tensorflow", "jax"):
        raise CompetitionError(
            f"train.backend = {backend!r}: must be 'auto', 'tensorflow' or 'jax'"
        )
    promised = expected()
    accelerated = promised is not None and promised.kind != "cpu"
    together = runtime.COORDINATOR in os.environ
    if backend == "tensorflow" and (together or accelerated):
        raise CompetitionError(
            "train.backend = 'tensorflow': trains in one process on a CPU; JAX trains on GPUs, on"
            " TPUs and in several processes: remove the key"
        )
    hardware = checked() if hardware is None else hardware
    advice = ""
    if hardware.kind != "cpu" and backend != "tensorflow" and not is_usable(hardware):
        advice = (
            f"this machine has {hardware}, but the library with which JAX uses it is not installed:"
            f" make install TRAINING={hardware.kind}, or pip install 'foldline[{hardware.kind}]';"
            " JAX_PLATFORMS=cpu trains on the CPU without this message"
        )
        if accelerated or hardware.kind == "tpu":
            raise TrainingError(advice)
        hardware = Hardware()
    chosen = backend
    if backend == "auto":
        chosen = "jax" if together or hardware.kind != "cpu" else "tensorflow"
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    unused = (*_FOR_USERS, *(("jax",) if chosen == "tensorflow" else ()))
    with _without(unused if own_process else ()):
        import keras

    if keras.config.backend() != chosen:
        raise CompetitionError(
            f"train.backend = {chosen!r}: Keras runs on {keras.config.backend()} in this process"
            " already; start a new process"
        )
    if chosen == "tensorflow":
        return _tensorflow(host_threads(), advice)
    return _jax(host_threads(), compiled, hardware, promised, advice)


@contextlib.contextmanager
def _without(packages: Iterable[str]) -> Iterator[None]:
    """Let the packages that are not imported yet seem not to be installed inside the block."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        # None makes an import of it fail.
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


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


def _tensorflow(threads: int, advice: str) -> Device:
    # TensorFlow reads these when its first operation runs.
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[variable] = str(threads)
    import tensorflow as tf

    # JAX trains on GPUs. A TensorFlow of the user's that finds one must not take its memory.
    tf.config.set_visible_devices([], "GPU")
    # Our threads augment ten times faster than a graph of operations on a CPU.
    return Device(
        "CPU",
        "tensorflow",
        devices=1,
        process=0,
        processes=1,
        threads=threads,
        augments=False,
        advice=advice,
    )


def _jax(
    threads: int,
    compiled: Path | None,
    hardware: Hardware,
    promised: Expected | None,
    advice: str,
) -> Device:
    if promised is not None and promised.kind == "cpu":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
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
    elif hardware.kind == "tpu" and len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        # Without arguments: the hosts of a TPU slice find each other.
        jax.distributed.initialize()
    reason = "it falls back to the CPU"
    try:
        devices = jax.devices()
    except RuntimeError as error:
        devices, reason = [], str(error)
    # A fall back to the CPU would take days, at the price of the accelerator.
    if not devices or (hardware.kind != "cpu" and devices[0].platform == "cpu"):
        raise TrainingError(
            f"this machine has {hardware}, but JAX cannot use it ({reason}): is the driver"
            " installed, and its folder in LD_LIBRARY_PATH? JAX_PLATFORMS=cpu trains on the CPU"
        )
    if promised is not None and (
        devices[0].platform != promised.kind
        or (promised.kind != "cpu" and len(devices) != promised.devices)
    ):
        raise TrainingError(missing(promised, f"{len(devices)} × {devices[0].device_kind} by JAX"))
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
        advice=advice,
    )
