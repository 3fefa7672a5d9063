"""What the doctor finds on this machine, and on machines that are made up."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.doctor import look as looking
from components.doctor.component import doctor
from components.doctor.look import Finding, look
from trainer import runtime
from trainer.errors import TrainingError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without accelerators and without Google's metadata server."""
    machine = tmp_path / "machine"
    (machine / "dev").mkdir(parents=True)
    monkeypatch.setenv(runtime.HARDWARE, str(machine))
    monkeypatch.setattr(looking, "_METADATA", "http://127.0.0.1:9/none")
    for name in (*looking._VARIABLES, runtime.EXPECTS):
        monkeypatch.delenv(name, raising=False)
    return machine


@pytest.fixture
def no_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """JAX answers at once that its device does not work."""

    def failed(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1, "", "RuntimeError: no device")

    monkeypatch.setattr(looking.subprocess, "run", failed)


def found(folder: Path) -> dict[str, Finding]:
    return {finding.what: finding for finding in look(folder)}


def test_a_machine_that_works(tmp_path: Path) -> None:
    findings = found(tmp_path / "outputs")
    assert [name for name, finding in findings.items() if not finding.good] == []
    assert f"uid {os.getuid()}" in findings["user"].text
    assert "no metadata server" in findings["account"].text
    assert "rename, list, delete" in findings["outputs"].text
    assert f"of uid {os.getuid()}" in findings["outputs"].text
    assert "jax 0." in findings["libraries"].text
    assert "no accelerator" in findings["devices"].text
    assert "512 × 512 on the first of 1 × cpu" in findings["matrix"].text
    # It leaves nothing behind.
    assert list((tmp_path / "outputs").iterdir()) == []
    assert str(findings["matrix"]).startswith("ok  matrix      512")


@pytest.mark.usefixtures("no_jax")
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(runtime.IMAGE_CODE, "0.1.0-abc")
    finding = found(tmp_path / "file" / "outputs")["outputs"]
    assert not finding.good
    assert "cannot be created" in finding.text
    assert "IMAGE_USER=0" in finding.text

    def refused(*_: object) -> None:
        raise OSError("renaming is not allowed here")

    monkeypatch.setattr(Path, "rename", refused)
    finding = found(tmp_path / "outputs")["outputs"]
    assert "cannot be renamed in: renaming is not allowed here" in finding.text
    assert list((tmp_path / "outputs").iterdir()) == []


@pytest.mark.usefixtures("no_jax")
@pytest.mark.parametrize(
    ("devices", "promised", "bad"),
    [
        ([], "gpu:1", {"promise", "matrix"}),
        (["nvidia0"], "gpu:1", {"library", "matrix"}),
        (["nvidia0"], "", {"matrix"}),
        (["nvidia0"], "tpu:8", {"promise", "library", "matrix"}),
    ],
)
def test_devices_that_are_not_what_was_promised(
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: list[str],
    promised: str,
    bad: set[str],
) -> None:
    for name in devices:
        (here / "dev" / name).touch()
    monkeypatch.setenv(runtime.EXPECTS, promised)
    findings = found(tmp_path)
    assert {name for name, finding in findings.items() if not finding.good} == bad
    assert "JAX cannot use its device: RuntimeError: no device" in findings["matrix"].text


def test_a_gpu_that_jax_does_not_use_breaks_the_promise(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device file is there, but the driver is not: JAX computes on the CPU."""
    (here / "dev" / "nvidia0").touch()
    monkeypatch.setenv(runtime.EXPECTS, "gpu:1")
    finding = found(tmp_path)["matrix"]
    assert not finding.good
    assert finding.text.endswith("gpu:1 was promised")


@pytest.mark.usefixtures("no_jax")
def test_what_services_say_of_a_machine_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPU_WORKER_ID", "0")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/foldline/key.json")
    monkeypatch.setenv(runtime.EXPECTS, "gpu")
    findings = found(tmp_path)
    assert findings["promise"].text == "FOLDLINE_EXPECTS = 'gpu': must be cpu, gpu:N or tpu:N"
    assert findings["variables"].text == "TPU_WORKER_ID=0"
    assert findings["account"].text == "key in /var/run/foldline/key.json"


def test_the_step_writes_all_and_fails_if_anything_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = SimpleNamespace(path=str(tmp_path / "run" / "findings"))
    (tmp_path / "run").mkdir()
    doctor.python_func(findings=output)
    assert "ok  outputs" in Path(output.path).read_text()
    monkeypatch.setenv(runtime.EXPECTS, "tpu:8")
    with pytest.raises(TrainingError, match="promise, matrix: see the lines with BAD above"):
        doctor.python_func(findings=output)
    assert "BAD promise" in Path(output.path).read_text()
    assert "[doctor] BAD promise" in capsys.readouterr().out
