import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer import events as progress
from trainer import runtime
from trainer.errors import DataError, IntegrityError


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_step_tells_start_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(runtime.EVENTS, str(tmp_path / "events"))
    with progress.step_scope("folds"):
        progress.emit("note", "folds", "5 folds")
    assert [event["event"] for event in events(tmp_path / "events")] == ["start", "note", "done"]
    assert "[folds] 5 folds" in capsys.readouterr().out


def test_without_a_launcher_there_are_only_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(runtime.EVENTS, raising=False)
    with progress.step_scope("folds"):
        pass
    assert capsys.readouterr().out.splitlines()[0] == "[folds] started"


@pytest.mark.parametrize(
    ("error", "message", "has_tail"),
    [
        (DataError("train.csv: row 3"), "train.csv: row 3", False),
        (KeyError("x"), "KeyError: 'x'", True),
    ],
)
def test_an_error_is_reported_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, has_tail: bool
) -> None:
    monkeypatch.setenv(runtime.EVENTS, str(tmp_path / "events"))
    with pytest.raises(type(error)), progress.step_scope("records"):
        raise error
    told = events(tmp_path / "events")[-1]
    assert (told["event"], told["step"], told["message"]) == ("error", "records", message)
    assert bool(told["tail"]) is has_tail


def test_a_process_ends_with_its_launcher(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    hold = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('up',"
        " flush=True); input()"
    )
    follow = (
        "from trainer.events import follow_launcher as f; import time; f(); print('up',"
        " flush=True); time.sleep(60)"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold, str(lock)], **pipes) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"up\n"
        environment = {**os.environ, runtime.LAUNCHER: str(lock)}
        with subprocess.Popen([sys.executable, "-c", follow], env=environment, **pipes) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"up\n"
            time.sleep(1)
            assert follower.poll() is None
            # Killed but not waited for, so its process id still exists.
            launcher.kill()
            assert follower.wait(timeout=20) == 70


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (185, "3m05s"), (7800, "2h10m")]
)
def test_clock(seconds: float, text: str) -> None:
    assert progress.clock(seconds) == text


def test_work_under_way_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(runtime.EVENTS, str(tmp_path / "events"))
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    ticker = progress.ProgressBar("records", "images", 200)
    for _ in range(150):
        now[0] += 0.2
        ticker.advance()
    ticker.close()
    told = [str(event["text"]) for event in events(tmp_path / "events")]
    # At most twice a second for a launcher, every ten seconds in a log; a final empty event removes
    # the bar.
    assert len(told) == 51
    assert told[-1] == ""
    assert told[24] == "█" * 9 + "░" * 15 + "  38 %  75 of 200 images, 25s left"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("%  ")[1] for line in lines] == [
        "51 of 200 images, 30s left",
        "102 of 200 images, 20s left",
    ]
    # Work that was skipped does not count in the speed that the remaining time is computed from.
    resumed = progress.ProgressBar("records", "images", 200)
    resumed.skip(100)
    now[0] += 10
    resumed.advance(50)
    assert resumed.text(10.0).endswith("75 %  150 of 200 images, 10s left")
    # If more is done than the estimated total, the total grows with it.
    ticker.total = 100
    assert ticker.text(1.0) == "█" * 24 + " 100 %  150 of 150 images"


def test_an_image_of_other_code_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warn only if a launcher names the code version that it expects; on this machine none does."""
    monkeypatch.setenv(runtime.IMAGE_CODE, "0.1.0-aaaaaaaa")
    with progress.step_scope("check"):
        pass
    monkeypatch.setenv(runtime.WANTED_CODE, "0.1.0-aaaaaaaa")
    with progress.step_scope("check"):
        pass
    monkeypatch.setenv(runtime.WANTED_CODE, "0.1.0-bbbbbbbb")
    words = (
        "holds code version 0.1.0-aaaaaaaa, but the run was started with 0.1.0-bbbbbbbb: build"
        " images from that code"
    )
    with pytest.raises(IntegrityError, match=words), progress.step_scope("check"):
        raise AssertionError("it began")
    monkeypatch.delenv(runtime.IMAGE_CODE)
    with (
        pytest.raises(IntegrityError, match="holds code version unknown"),
        progress.step_scope("check"),
    ):
        raise AssertionError("it began")
