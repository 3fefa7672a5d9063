"""Test which accelerators are found on made-up machines: folders replace /dev and /sys."""

from pathlib import Path

import pytest

from trainer import runtime
from trainer.backends import hardware as hardware_module
from trainer.backends.hardware import Expected, Hardware, checked, expected, found, is_usable
from trainer.errors import CompetitionError, TrainingError

HIDING = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", runtime.EXPECTS)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any accelerator."""
    monkeypatch.setenv(runtime.HARDWARE, str(tmp_path))
    for variable in HIDING:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "dev").mkdir()
    return tmp_path


def add(machine: Path, *names: str) -> None:
    for name in names:
        (machine / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / "dev" / name).touch()


def plug(machine: Path, vendor: str, device: str, count: int = 1) -> None:
    """Put cards into the PCI bus."""
    for _ in range(count):
        bus = machine / "sys/bus/pci/devices"
        slot = bus / f"0000:00:{len(list(bus.glob('*'))):02x}.0"
        slot.mkdir(parents=True)
        (slot / "vendor").write_text(f"{vendor}\n")
        (slot / "device").write_text(f"{device}\n")


def test_a_machine_without_any(machine: Path) -> None:
    assert found() == Hardware()
    assert str(found()) == "no accelerator"
    assert not is_usable(found())


def test_gpus_are_those_that_cuda_would_use(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(machine, "nvidia0", "nvidia2", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm")
    assert found() == Hardware("gpu", ("0", "1", "2", "3"))
    assert str(found()) == "4 NVIDIA GPUs"
    for visible, ids in {
        "1": ("1",),
        "2,0": ("2", "0"),
        "": (),
        "-1": (),
        "0,7,1": ("0",),
        " 1 , 2 ": ("1", "2"),
        "GPU-8932f937,MIG-1": ("GPU-8932f937", "MIG-1"),
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert found().ids == ids
        assert found().kind == ("gpu" if ids else "cpu")


def test_a_container_may_have_the_second_gpu_alone(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA counts what is there: it is the first one in the container."""
    add(machine, "nvidia1")
    assert found() == Hardware("gpu", ("0",))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert found() == Hardware("gpu", ("0",))


def test_a_variable_alone_is_no_gpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert found() == Hardware()


def test_jax_can_be_kept_on_the_cpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(machine, "nvidia0")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert found() == Hardware()


def test_the_windows_subsystem_has_one_file_for_all(machine: Path) -> None:
    add(machine, "dxg")
    assert found() == Hardware("gpu", ("0",))


@pytest.mark.parametrize("number", ["0x0027", "0x0063", "0x006f", "0x0076"])
def test_tpu_chips_are_on_the_bus(machine: Path, number: str) -> None:
    # Every virtual machine of Google's has a network card of the same vendor.
    plug(machine, "0x1ae0", "0x0042")
    plug(machine, "0x8086", number)
    assert found() == Hardware()
    plug(machine, "0x1ae0", number, count=4)
    assert found() == Hardware("tpu", ("0", "1", "2", "3"))
    assert str(found()) == "4 TPU chips"


def test_a_container_may_have_the_drivers_files_alone(machine: Path) -> None:
    add(machine, "accel0", "accel1")
    assert found() == Hardware("tpu", ("0", "1"))


def test_other_machines_pass_other_devices_through_with_vfio(machine: Path) -> None:
    add(machine, "vfio/0", "vfio/vfio")
    assert found() == Hardware()


def test_a_slot_that_cannot_be_read_is_no_chip(machine: Path) -> None:
    (machine / "sys/bus/pci/devices/0000:00:00.0").mkdir(parents=True)
    assert found() == Hardware()


@pytest.mark.parametrize(
    ("value", "meaning"),
    [("", None), ("cpu", Expected("cpu", 0)), ("tpu:16", Expected("tpu", 16))],
)
def test_what_was_promised(
    machine: Path, monkeypatch: pytest.MonkeyPatch, value: str, meaning: Expected | None
) -> None:
    monkeypatch.setenv(runtime.EXPECTS, value)
    assert expected() == meaning
    assert meaning is None or str(meaning) == value


@pytest.mark.parametrize("value", ["gpu", "gpu:0", "gpu:x", "npu:1", "cpu:2"])
def test_a_promise_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(runtime.EXPECTS, value)
    with pytest.raises(CompetitionError, match=f"FOLDLINE_EXPECTS = '{value}': must be cpu, gpu:N"):
        expected()


@pytest.mark.parametrize(
    ("promised", "there", "words"),
    [
        ("gpu:1", [], "gpu:1 .FOLDLINE_EXPECTS., but finds no accelerator"),
        ("gpu:2", ["nvidia0"], "gpu:2 .FOLDLINE_EXPECTS., but finds 1 NVIDIA GPU:"),
        ("tpu:8", ["nvidia0"], "tpu:8 .FOLDLINE_EXPECTS., but finds 1 NVIDIA GPU:"),
        ("tpu:8", [], "but finds no accelerator"),
    ],
)
def test_a_machine_that_was_not_paid_for_ends_the_job(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    promised: str,
    there: list[str],
    words: str,
) -> None:
    add(machine, *there)
    monkeypatch.setenv(runtime.EXPECTS, promised)
    with pytest.raises(TrainingError, match=words):
        checked()


def test_a_machine_that_is_as_promised(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(machine, "nvidia0", "nvidia1")
    monkeypatch.setenv(runtime.EXPECTS, "gpu:2")
    assert checked() == Hardware("gpu", ("0", "1"))
    # A TPU v3 has two devices a chip: JAX counts them.
    plug(machine, "0x1ae0", "0x0027", count=4)
    monkeypatch.setenv(runtime.EXPECTS, "tpu:8")
    assert checked().kind == "tpu"
    monkeypatch.setenv(runtime.EXPECTS, "cpu")
    assert checked() == Hardware()


def test_each_kind_has_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"jax_cuda12_plugin"}
    monkeypatch.setattr(
        hardware_module.importlib.util,
        "find_spec",
        lambda name: object() if name in installed else None,
    )
    assert is_usable(Hardware("gpu", ("0",)))
    assert not is_usable(Hardware("tpu", ("0",)))
