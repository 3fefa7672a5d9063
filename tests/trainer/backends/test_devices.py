"""Test how Keras is set up for the devices of a machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import runtime
from trainer.backends import devices as devices_module
from trainer.backends.devices import Device, all_gather
from trainer.backends.hardware import Hardware
from trainer.errors import CompetitionError, TrainingError


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
    code = (
        "from trainer.backends.devices import prepare; "
        "prepare(own_process=True); prepare('jax', own_process=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Keras runs on tensorflow in this process already" in done.stderr


@pytest.mark.parametrize("backend", ["auto", "jax"])
def test_only_what_computes_is_imported(backend: str) -> None:
    code = (
        "import sys; from trainer.backends.devices import prepare; "
        f"print(prepare({backend!r}, own_process=True)); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, tensorflow = done.stdout.splitlines()[-2:]
    assert name.startswith("CPU (TensorFlow" if backend == "auto" else "CPU (JAX")
    # JAX trains without TensorFlow: the trainer's own threads read the images.
    assert tensorflow == str(backend == "auto")


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_process_of_its_own_imports_nothing_for_plots_and_wrappers(backend: str) -> None:
    code = (
        "import sys; from trainer.backends.devices import prepare; "
        f"prepare({backend!r}, own_process=True); import keras; "
        "print(sorted({'IPython', 'matplotlib', 'sklearn', 'jax'} & set(sys.modules))); "
        # They are there for whoever asks for them later.
        "import IPython, matplotlib.pyplot, sklearn.metrics, jax; "
        "print(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).output_shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == [
        "[]" if backend == "tensorflow" else "['jax']",
        "(None, 3)",
    ]


def prepared(
    code: str = "devices.prepare()", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Prepare devices in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", f"from trainer.backends import devices; print({code})"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_gpu_without_its_library_is_advice_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody promised a GPU: training goes on, on the CPU, and says what would be faster."""
    gpu = Hardware("gpu", ("0",))
    monkeypatch.setattr(devices_module, "is_usable", lambda hardware: False)
    device = devices_module.prepare(hardware=gpu)
    assert device.name == "CPU"
    assert device.advice.startswith("this machine has 1 NVIDIA GPU, but the library")
    assert "make install TRAINING=gpu, or pip install 'foldline[gpu]'" in device.advice
    monkeypatch.setenv(runtime.EXPECTS, "gpu:1")
    with pytest.raises(TrainingError, match="pip install 'foldline.gpu.'"):
        devices_module.prepare(hardware=gpu)
    monkeypatch.delenv(runtime.EXPECTS)
    with pytest.raises(TrainingError, match="4 TPU chips, .* TRAINING=tpu"):
        devices_module.prepare(hardware=Hardware("tpu", tuple("0123")))


def test_jax_does_not_fall_back_to_a_cpu() -> None:
    """The library is there, the driver is not: as on a machine whose driver is not mounted."""
    code = (
        "setattr(devices, 'is_usable', lambda _: True)"
        " or devices.prepare(hardware=devices.Hardware('gpu', ('0',)))"
    )
    done = prepared(code)
    assert done.returncode == 1
    assert "this machine has 1 NVIDIA GPU, but JAX cannot use it" in done.stderr.splitlines()[-1]


def test_a_promise_is_kept_whatever_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    monkeypatch.setenv(runtime.HARDWARE, str(tmp_path))
    monkeypatch.setenv(runtime.EXPECTS, "cpu")
    assert str(devices_module.prepare()).startswith("CPU (TensorFlow")
    monkeypatch.setenv(runtime.EXPECTS, "gpu:2")
    with pytest.raises(TrainingError, match="to run on gpu:2 .* but finds 1 NVIDIA GPU"):
        devices_module.prepare()


def test_jax_counts_what_was_promised() -> None:
    """Half a TPU slice: the chips are there, but JAX finds fewer devices than the price is for."""
    environment = {
        runtime.EXPECTS: "tpu:8",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    done = prepared("devices.prepare('jax', hardware=devices.Hardware())", **environment)
    assert "to run on tpu:8 (FOLDLINE_EXPECTS), but finds 4 × cpu by JAX" in done.stderr


def test_tensorflow_is_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runtime.EXPECTS, "gpu:1")
    with pytest.raises(CompetitionError, match="JAX trains on GPUs, on TPUs and in several proc"):
        devices_module.prepare("tensorflow")
