"""What a pod of a JobSet does: a real storage server, real processes."""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from components.jobset import pod
from components.storage import objects
from trainer.errors import IntegrityError

OUT = "run/predictions"


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(objects, "MOUNT", f"{tmp_path}/gcs/")
    return tmp_path / "gcs"


def put(tmp_path: Path, uri: str, text: str) -> None:
    path = tmp_path / "upload"
    path.write_text(text)
    objects.put(path, uri)


def command(code: str, tmp_path: Path, bucket: str, *inputs: str) -> list[str]:
    executor_input: dict[str, Any] = {
        "inputs": {
            "parameterValues": {"seed": 1},
            "artifacts": {
                f"a{number}": {"artifacts": [{"uri": f"{bucket}/{name}"}]}
                for number, name in enumerate(inputs)
            },
        },
        "outputs": {
            "artifacts": {"predictions": {"artifacts": [{"uri": f"{bucket}/{OUT}"}]}},
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }
    return [sys.executable, "-c", code, "--executor_input", json.dumps(executor_input)]


def run(command: list[str]) -> int:
    """Run a step whose launcher works."""
    return pod.run(command, 60, lambda: False)


def test_inputs_are_where_kfp_s_executor_reads_them(
    tmp_path: Path, mount: Path, bucket: str
) -> None:
    put(tmp_path, f"{bucket}/in/folder/part/a.txt", "a")
    put(tmp_path, f"{bucket}/in/folder/b.txt", "b")
    put(tmp_path, f"{bucket}/in/folder2/c.txt", "c")
    put(tmp_path, f"{bucket}/in/table.csv", "id")
    assert run(command("", tmp_path, bucket, "in/folder", "in/table.csv")) == 0
    root = mount / bucket[5:] / "in"
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*.*")) == [
        "folder/b.txt",
        "folder/part/a.txt",
        "table.csv",
    ]


def test_an_input_that_nobody_wrote(tmp_path: Path, mount: Path, bucket: str) -> None:
    put(tmp_path, f"{bucket}/in/tables.csv", "id")
    with pytest.raises(IntegrityError, match="in/table: no such object or folder"):
        run(command("", tmp_path, bucket, "in/table"))


@pytest.mark.parametrize(("index", "stored"), [("0", True), ("1", False)])
def test_the_first_host_stores_the_outputs(
    tmp_path: Path,
    mount: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    index: str,
    stored: bool,
) -> None:
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    code = (
        "import pathlib; "
        f"out = pathlib.Path({str(mount / bucket[5:] / OUT)!r}, 'models'); "
        "out.mkdir(parents=True); "
        "(out / 'm').write_text('1'); "
        f"pathlib.Path({str(tmp_path / 'executor_output.json')!r}).write_text('{{}}')"
    )
    assert run(command(code, tmp_path, bucket)) == 0
    names = [entry.uri.removeprefix(f"{bucket}/") for entry in objects.listing(f"{bucket}/run/")]
    assert names == (["run/executor.json", f"{OUT}/models/m"] if stored else [])


def test_an_output_may_be_a_file_or_missing(tmp_path: Path, mount: Path, bucket: str) -> None:
    path = mount / bucket[5:] / OUT
    assert run(command("", tmp_path, bucket)) == 0
    assert objects.listing(f"{bucket}/run/") == []
    code = (
        f"import pathlib; p = pathlib.Path({str(path)!r}); p.parent.mkdir(parents=True); p.touch()"
    )
    assert run(command(code, tmp_path, bucket)) == 0
    assert [entry.uri for entry in objects.listing(f"{bucket}/run/")] == [f"{bucket}/{OUT}"]


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(75)", 75), ("import os, signal; os.kill(os.getpid(), 9)", 137)],
)
def test_a_failed_step_stores_nothing_and_keeps_its_status(
    tmp_path: Path, mount: Path, bucket: str, code: str, status: int
) -> None:
    write = f"import pathlib; pathlib.Path({str(mount / bucket[5:] / OUT)!r}).mkdir(parents=True)\n"
    assert run(command(write + code, tmp_path, bucket)) == status
    assert objects.listing(f"{bucket}/run/") == []


def test_a_pod_whose_launcher_ends_stops_its_training(
    tmp_path: Path, mount: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a status that asks for no restart: nobody would wait for it."""
    monkeypatch.setattr(pod, "_WATCH", 0.05)
    ended = iter([False, False, True])
    started = time.monotonic()
    step = command("import time; time.sleep(60)", tmp_path, bucket)
    assert pod.run(step, 60, lambda: next(ended)) == 1
    assert time.monotonic() - started < 30


def test_a_training_that_takes_too_long_ends(
    tmp_path: Path, mount: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step = command("import time; time.sleep(60)", tmp_path, bucket)
    assert pod.run(step, 0.36, lambda: False) == 1
    assert "machine.hours = 0.0001 are over" in capsys.readouterr().out


def test_a_pod_whose_launcher_is_gone_does_nothing(
    tmp_path: Path, mount: Path, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    started = tmp_path / "started"
    step = command(f"open({str(started)!r}, 'w')", tmp_path, bucket)
    assert pod.run(step, 60, lambda: True) == 1
    assert not started.exists()
    assert "has ended" in capsys.readouterr().out


def test_sigterm_reaches_the_training(tmp_path: Path, mount: Path, bucket: str) -> None:
    import os
    import signal

    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )

    def stop() -> None:
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert run(command(code, tmp_path, bucket)) == 75


def test_outside_a_cluster_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not pod.pod_has_ended("launcher")
