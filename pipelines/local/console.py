"""Shows a local run: a line per event, and on a terminal a live line with the progress."""

import shutil
import sys
import time
from typing import Any, TextIO

from trainer.events import clock

# A log has no live line: it gets a progress line of each process at most this often.
_SECONDS_BETWEEN_LINES = 10.0
# Width of the column with the step's name.
_LABEL = 12


class Console:
    """Shows events (trainer/events.py) as they come.

    Attributes:
        stream: where the text goes.
        live: whether `stream` is a terminal, which gets a live line.
        notes: the last note of each step, by process id.
        training: the progress in the live line, by process id.
        said_at: when the last progress line was printed, by process id.
        shown: the text of the live line.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """
        Args:
            stream: None for the standard output.
        """
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.notes: dict[int, str] = {}
        self.training: dict[int, str] = {}
        self.said_at: dict[int, float] = {}
        self.shown = ""

    def event(self, event: dict[str, Any]) -> None:
        """Show an event.

        Args:
            event: its fields, as `trainer.events.emit` writes them.
        """
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
            # A training job that runs in parallel may finish: the next run reuses its results.
            self.line(
                step, "failed" + ("; waiting for the other training job" if self.training else "")
            )
        elif kind == "done":
            self.training.pop(pid, None)
            self.line(
                step,
                f"done in {clock(event['seconds'])}: {self.notes.pop(pid, '')}".removesuffix(": "),
            )

    def line(self, label: str, text: str) -> None:
        """Print a line that stays."""
        self._show("")
        print(f"{label:<{_LABEL}}{text}", file=self.stream, flush=True)
        self._show("   ".join(self.training.values()))

    def close(self) -> None:
        """Remove the live line."""
        self.training.clear()
        self._show("")

    def _progress(self, step: str, pid: int, text: str, live: str) -> None:
        """Show the progress of a step.

        Args:
            step: the name of the step.
            pid: its process id.
            text: a line for a log, which is printed now and then; "" for none.
            live: its part of a terminal's live line; "" removes it.
        """
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
        """Replace the live line, cut to the terminal's width."""
        if not self.live:
            return
        text = text[: shutil.get_terminal_size().columns - 1]
        if text != self.shown:
            self.stream.write("\r\x1b[K" + text)
            self.stream.flush()
            self.shown = text
