"""Test which devices are found on made-up machines.

Folders replace /dev, and libraries are present or missing.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer.backends import devices as devices_module
from trainer.backends.devices import Device, all_gather
from trainer.errors import CompetitionError, TrainingError


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(devices_module, "_DEVICES", tmp_path)
    for variable in ("CUDA_VISIBLE_DEVICES", "TPU_WORKER_ID"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_a_machine_without_any(devices: Path) -> None:
    assert not devices_module.tpus()
    assert devices_module.gpus() == 0


def test_gpus_are_counted_as_far_as_they_may_be_used(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (devices / name).touch()
    assert devices_module.gpus() == 3
    for visible, count in {"1": 1, "0,2": 2, "": 0, "-1": 0, "0,1,2,3": 3}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert devices_module.gpus() == count


def test_chips_need_their_library(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (devices / "accel0").touch()
    monkeypatch.setattr(devices_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="libtpu is not installed: install jax.tpu"):
        devices_module.tpus()
    monkeypatch.setattr(devices_module.importlib.util, "find_spec", lambda name: object())
    assert devices_module.tpus()


def test_newer_chips_are_vfio_devices_of_a_tpu_worker(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (devices / "vfio").mkdir()
    (devices / "vfio" / "0").touch()
    monkeypatch.setattr(devices_module.importlib.util, "find_spec", lambda name: object())
    # Other machines pass other devices through with vfio.
    assert not devices_module.tpus()
    monkeypatch.setenv("TPU_WORKER_ID", "0")
    assert devices_module.tpus()


def test_what_it_says() -> None:
    cpu = Device("CPU", "tensorflow", devices=1, process=0, processes=1, threads=1, augments=False)
    assert str(cpu) == "CPU (TensorFlow, 1 thread, images augmented by the host)"
    slice_ = Device(
        "16 × TPU v5e", "jax", devices=16, process=1, processes=4, threads=24, augments=True
    )
    assert (
        str(slice_)
        == "16 × TPU v5e (JAX, process 2 of 4, 24 threads, images augmented by the device)"
    )
    assert all_gather(cpu)(7) == [7]


def test_a_name_that_is_no_backend() -> None:
    with pytest.raises(CompetitionError, match="must be 'auto', 'tensorflow' or 'jax'"):
        devices_module.prepare("torch")


def test_a_process_keeps_its_backend() -> None:
    code = "from trainer.backends import devices; devices.prepare(); devices.prepare('jax')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Keras runs on tensorflow in this process already" in done.stderr


@pytest.mark.parametrize("backend", ["auto", "jax"])
def test_only_what_computes_is_imported(backend: str) -> None:
    code = (
        "import sys; from trainer.backends.devices import prepare; "
        f"print(prepare({backend!r})); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, tensorflow = done.stdout.splitlines()[-2:]
    assert name.startswith("CPU (TensorFlow" if backend == "auto" else "CPU (JAX")
    # JAX trains without TensorFlow: the trainer's own threads read the images.
    assert tensorflow == str(backend == "auto")
