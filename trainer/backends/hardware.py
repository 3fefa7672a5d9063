"""The accelerators of this machine, by the files that their drivers make: imports no framework."""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from trainer import runtime
from trainer.errors import CompetitionError, TrainingError

Kind = Literal["cpu", "gpu", "tpu"]
# Google's PCI vendor and the devices of it that are TPU chips: v3, v4, v5p, v5e, v6e and 7x, as in
# jax/_src/hardware_utils.py of JAX 0.10. Other devices of the vendor are network cards.
_GOOGLE = "0x1ae0"
_CHIPS = {"0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076"}
# What lets JAX use a GPU, by the CUDA version that it brings.
_CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")


@dataclass(frozen=True)
class Hardware:
    """The accelerators that this process may use; all are of one kind.

    Attributes:
        kind: cpu if there is no accelerator.
        ids: a name for each: of a GPU as `CUDA_VISIBLE_DEVICES` has it, of a TPU chip its number.
    """

    kind: Kind = "cpu"
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "cpu":
            return "no accelerator"
        name = {"gpu": "NVIDIA GPU", "tpu": "TPU chip"}[self.kind]
        return f"{len(self.ids)} {name}{'s' * (len(self.ids) > 1)}"


class Expected(NamedTuple):
    """The devices that a job was promised.

    Attributes:
        kind: cpu, gpu or tpu.
        devices: how many JAX must find, on all hosts together; 0 for a CPU.
    """

    kind: Kind
    devices: int

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.devices}"


def found() -> Hardware:
    """Find the accelerators.

    `JAX_PLATFORMS=cpu` and an empty `CUDA_VISIBLE_DEVICES` hide them, as they hide them from JAX.
    """
    if os.environ.get("JAX_PLATFORMS", "").lower() == "cpu":
        return Hardware()
    if chips := _tpu_chips():
        return Hardware("tpu", tuple(map(str, range(chips))))
    if gpus := _gpus():
        return Hardware("gpu", tuple(gpus))
    return Hardware()


def expected() -> Expected | None:
    """The devices that FOLDLINE_EXPECTS promises; None if it is not set.

    Raises:
        CompetitionError: the variable is neither cpu, gpu:N nor tpu:N.
    """
    value = os.environ.get(runtime.EXPECTS, "")
    if not value:
        return None
    match = re.fullmatch(r"(cpu)|(gpu|tpu):([1-9]\d*)", value)
    if match is None:
        raise CompetitionError(f"{runtime.EXPECTS} = {value!r}: must be cpu, gpu:N or tpu:N")
    return Expected("cpu", 0) if match[1] else Expected(match[2], int(match[3]))  # type: ignore[arg-type]  # as matched


def checked() -> Hardware:
    """The accelerators to train on: those that were promised, or else those that are found.

    Raises:
        CompetitionError: as for `expected`.
        TrainingError: there are other accelerators than the job was promised. A machine that costs
            the price of an accelerator must not train on its CPU.
    """
    promised = expected()
    if promised is not None and promised.kind == "cpu":
        return Hardware()
    hardware = found()
    # How many devices a TPU chip is depends on its version: JAX counts them later.
    if promised is not None and (
        hardware.kind != promised.kind
        or (promised.kind == "gpu" and len(hardware.ids) != promised.devices)
    ):
        raise TrainingError(missing(promised, str(hardware)))
    return hardware


def missing(promised: Expected, what: str) -> str:
    """The text of the error that a job finds other devices than it was promised.

    Args:
        promised: the devices.
        what: what there is instead.
    """
    return (
        f"this job was to run on {promised} ({runtime.EXPECTS}), but finds {what}: the machine, its"
        " driver or the training image is not what [machine] asks for; `foldline doctor` shows what"
        " the service gives"
    )


def is_usable(hardware: Hardware) -> bool:
    """Whether the library is installed that lets JAX use the accelerators."""
    modules = {"cpu": (), "gpu": _CUDA_PLUGINS, "tpu": ("libtpu",)}[hardware.kind]
    return any(importlib.util.find_spec(module) is not None for module in modules)


def _root() -> Path:
    return Path(os.environ.get(runtime.HARDWARE) or "/")


def _tpu_chips() -> int:
    """The number of TPU chips of this host."""
    count = 0
    for device in (_root() / "sys/bus/pci/devices").glob("*"):
        try:
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
            number = (device / "device").read_text(encoding="ascii").strip()
        except OSError:
            continue
        count += vendor == _GOOGLE and number in _CHIPS
    # A container may hide the PCI bus; drivers of earlier chips make these files.
    return count or len(list((_root() / "dev").glob("accel[0-9]*")))


def _gpus() -> list[str]:
    """The names of the NVIDIA GPUs that this process may use."""
    dev = _root() / "dev"
    count = sum(_GPU.fullmatch(path.name) is not None for path in dev.glob("nvidia*"))
    # CUDA counts the GPUs that there are from 0; a container may have the file of the second alone.
    # In the Windows Subsystem for Linux, one file stands for all GPUs.
    present = [str(number) for number in range(count)] or ["0"] * (dev / "dxg").exists()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    names = []
    for name in (name.strip() for name in visible.split(",")):
        # CUDA ignores the first name that does not exist, and all after it.
        if not name or name.startswith("-") or (name.isdecimal() and name not in present):
            break
        names.append(name)
    return names


_GPU = re.compile(r"nvidia\d+")
