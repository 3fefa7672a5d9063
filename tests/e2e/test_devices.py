"""Two members on a machine with one accelerator, a made-up one: they train in turn."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.tiny import write_competition
from trainer import runtime

pytestmark = pytest.mark.acceptance


def events(out: Path) -> list[dict[str, Any]]:
    lines = (out / "pipeline_root" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["step"] == "train"]


def trained_at_once(happened: list[dict[str, Any]]) -> int:
    """The most jobs between their first and their last epoch at any time."""
    epochs = [event["pid"] for event in happened if event["event"] == "epoch"]
    most = 0
    for place in range(len(epochs)):
        most = max(most, len(set(epochs[: place + 1]) & set(epochs[place:])))
    return most


def test_two_members_never_train_on_one_device_at_once(tmp_path: Path) -> None:
    """Also when one of them is killed, and in the run that trains it again."""
    tiny = write_competition(tmp_path / "competition", members=2, epochs=3)
    out = tmp_path / "out"
    (tmp_path / "machine" / "dev").mkdir(parents=True)
    (tmp_path / "machine" / "dev" / "nvidia0").touch()
    environment = {
        **os.environ,
        runtime.HARDWARE: str(tmp_path / "machine"),
    }
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-m", "pipelines.cli.main", "run", str(tiny.toml), "--out", str(out)]

    def run(*, kill: bool) -> tuple[int, str]:
        """Run it; kill the first job that trains. Returns the exit status and what it printed."""
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment,
        ) as running:
            assert running.stdout is not None
            said = ""
            for line in running.stdout:
                said += line
                if kill and " epoch " in line:
                    first = next(event["pid"] for event in events(out) if event["event"] == "epoch")
                    os.kill(first, signal.SIGKILL)
                    kill = False
        return running.returncode, said

    status, said = run(kill=True)
    assert status == 1, said
    happened = events(out)
    assert len({event["pid"] for event in happened if event["event"] == "epoch"}) == 2, said
    assert trained_at_once(happened) == 1
    waited = [event["text"] for event in happened if event["text"].startswith("waits for gpu0")]
    assert "uses" in waited[0]
    assert "this machine has 1 NVIDIA GPU, but the library" in said
    status, said = run(kill=False)
    assert status == 0, said
    assert trained_at_once(events(out)) == 1
