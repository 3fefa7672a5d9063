import io
import re
import sys
from typing import Any

from pipelines.local.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, step: str, text: str = "", pid: int = 1, **values: Any) -> dict[str, Any]:
    return {"event": kind, "step": step, "text": text, "pid": pid, **values}


RUN = [
    event("start", "records"),
    event("note", "records", "120 images"),
    event("done", "records", seconds=61.0),
    event("reused", "folds", "reused"),
    event("start", "train", pid=2),
    event("start", "train", pid=3),
    event("epoch", "train", "a epoch 1/2  val_accuracy 0.5  3s left", pid=2),
    event("epoch", "train", "b epoch 1/2  val_accuracy 0.6  4s left", pid=3),
    event("epoch", "train", "a epoch 2/2  val_accuracy 0.7  1s left", pid=2),
    event("fold", "train", "a fold 0: accuracy 0.7000", pid=2),
    event("done", "train", pid=2, seconds=2.0),
]


def test_a_log_gets_lines_and_not_every_epoch() -> None:
    stream = io.StringIO()
    console = Console(stream)
    for one in RUN:
        console.event(one)
    assert stream.getvalue().splitlines() == [
        "records     running",
        "records     done in 1m01s: 120 images",
        "folds       reused",
        "train       running",
        "train       running",
        "train       a epoch 1/2  val_accuracy 0.5  3s left",
        "train       b epoch 1/2  val_accuracy 0.6  4s left",
        "train       a fold 0: accuracy 0.7000",
        "train       done in 2s",
    ]


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after some output.

    Cursor movements are carried out.
    """
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[\??[0-9;]*[A-Za-z]|\r|\n)", text):
        if part == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif match := re.fullmatch(r"\x1b\[(\d+)A", part):
            row -= int(match[1])
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part and not part.startswith(("\x1b", "\r")):
            lines[row] += part
    return [line for line in lines if line]


def test_a_terminal_gets_a_live_line_for_each_step_at_work(monkeypatch) -> None:  # type: ignore
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    console = Console(stream)
    for one in RUN[:8]:
        console.event(one)
    assert screen(stream.getvalue()) == [
        "records     done in 1m01s: 120 images",
        "folds       reused",
        "train       a epoch 1/2  val_accuracy 0.5  3s left",
        "train       b epoch 1/2  val_accuracy 0.6  4s left",
    ]
    console.line("train", "a line [that] stays")
    console.close()
    assert screen(stream.getvalue())[-2:] == [
        "folds       reused",
        "train       a line [that] stays",
    ]


def test_live_lines_fit_the_terminal(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    console = Console(stream)
    for one in RUN[:8]:
        console.event(one)
    live = screen(stream.getvalue())[-2:]
    assert all(len(line) <= 30 and line.startswith("train       ") for line in live)
    console.close()


def test_a_failure_says_what_it_waits_for() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.event(event("epoch", "train", "a epoch", pid=2))
    console.event(event("error", "train", pid=3))
    assert (
        stream.getvalue().splitlines()[-1]
        == "train       failed; waiting for the other training job"
    )


def test_progress_is_a_bar_on_a_terminal_and_a_line_at_times_in_a_log(monkeypatch) -> None:  # type: ignore
    monkeypatch.setenv("COLUMNS", "200")
    bars = [event("progress", "records", f"███░░ {percent} %", pid=4) for percent in (30, 60)]
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        console = Console(stream)
        for one in [event("start", "records", pid=4), *bars]:
            console.event(one)
        if stream is terminal:
            assert screen(terminal.getvalue()) == ["records     ███░░ 60 %"]
        console.event(event("progress", "records", "", pid=4))
        console.close()
    assert screen(terminal.getvalue()) == []
    assert log.getvalue().splitlines() == ["records     running", "records     ███░░ 30 %"]


def test_a_terminal_is_given_back_as_it_was() -> None:
    stream, shown = Terminal(), sys.stdout
    console = Console(stream)
    console.line("run", "data in [bold]/:fire:/out")
    console.event(event("start", "records"))
    console.close()
    console.close()
    text = stream.getvalue()
    assert "data in [bold]/:fire:/out" in text
    # The cursor is hidden and shown again.
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert sys.stdout is shown
