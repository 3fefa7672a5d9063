"""What a run shows while it works: a line a step, and one live line of progress on a terminal."""

import shutil
import sys
import time
from typing import Any, TextIO

from trainer.events import clock

# In a log there is no live line: a training task says something at most this often.
_SECONDS_BETWEEN_LINES = 10.0
_LABEL = 12


class Console:
    """Shows events (trainer/events.py) as they come."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.notes: dict[int, str] = {}
        self.training: dict[int, str] = {}
        self.said_at: dict[int, float] = {}
        self.shown = ""

    def event(self, event: dict[str, Any]) -> None:
        """Show one event."""
        kind, step, pid = event["event"], event["step"], event["pid"]
        if kind == "start":
            if self.live:
                self._show(f"{step:<{_LABEL}}running")
            else:
                self.line(step, "running")
        elif kind == "note" and event["text"].startswith("warning"):
            self.line(step, event["text"])
        elif kind == "note":
            self.notes[pid] = event["text"]
        elif kind == "epoch":
            self._progress(step, pid, event["text"], event["text"])
        elif kind == "progress":
            self._progress(
                step,
                pid,
                event["text"],
                f"{step:<{_LABEL}}{event['text']}" if event["text"] else "",
            )
        elif kind in ("fold", "reused"):
            self.line(step, event["text"])
        elif kind == "error":
            self.training.pop(pid, None)
            # A training task beside it is left to finish: its work is kept for the next run.
            self.line(
                step, "failed" + ("; waiting for the task beside it" if self.training else "")
            )
        elif kind == "done":
            self.training.pop(pid, None)
            self.line(
                step,
                f"done in {clock(event['seconds'])}: {self.notes.pop(pid, '')}".removesuffix(": "),
            )

    def line(self, label: str, text: str) -> None:
        """A line that stays."""
        self._show("")
        print(f"{label:<{_LABEL}}{text}", file=self.stream, flush=True)
        self._show("   ".join(self.training.values()))

    def close(self) -> None:
        """Take the live line away."""
        self.training.clear()
        self._show("")

    def _progress(self, step: str, pid: int, text: str, live: str) -> None:
        """What a task is at: on a terminal `live`, which stays until the next ("": no more); in a
        log `text`, now and then."""
        if not live:
            self.training.pop(pid, None)
        else:
            self.training[pid] = live
        if self.live:
            self._show("   ".join(self.training.values()))
        elif (
            text
            and time.monotonic() - self.said_at.get(pid, -_SECONDS_BETWEEN_LINES)
            >= _SECONDS_BETWEEN_LINES
        ):
            self.said_at[pid] = time.monotonic()
            self.line(step, text)

    def _show(self, text: str) -> None:
        if not self.live:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        if text != self.shown:
            self.stream.write("\r\x1b[K" + text)
            self.stream.flush()
            self.shown = text
