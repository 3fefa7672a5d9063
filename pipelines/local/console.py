"""Shows a local run: a line per event, and on a terminal a live line for each step at work."""

import sys
import time
from typing import Any, TextIO

from trainer.events import clock

# A log has no live lines: it gets a progress line of each process at most this often.
_SECONDS_BETWEEN_LINES = 10.0
# Width of the column with the step's name.
_LABEL = 12


class Console:
    """Shows events (trainer/events.py) as they come.

    Attributes:
        stream: where the text goes.
        live: the display of live lines; None if `stream` is not a terminal.
        notes: the last note of each step, by process id.
        progress: the live lines, by process id.
        printed_at: when the last progress line was printed, by process id.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """
        Args:
            stream: None for the standard output.
        """
        self.stream = stream or sys.stdout
        self.live = _live(self.stream) if self.stream.isatty() else None
        self.notes: dict[int, str] = {}
        self.progress: dict[int, str] = {}
        self.printed_at: dict[int, float] = {}

    def event(self, event: dict[str, Any]) -> None:
        """Show an event.

        Args:
            event: its fields, as `trainer.events.emit` writes them.
        """
        kind, step, pid, text = event["event"], event["step"], event["pid"], event["text"]
        if kind == "start":
            if self.live is None:
                self.line(step, "running")
            else:
                self._set_progress(pid, f"{step:<{_LABEL}}running")
        elif kind == "note" and text.startswith("warning"):
            self.line(step, text)
        elif kind == "note":
            self.notes[pid] = text
        elif kind in ("epoch", "progress"):
            self._report_progress(step, pid, text)
        elif kind in ("fold", "reused", "stopping"):
            self.line(step, text)
        elif kind == "error":
            self.progress.pop(pid, None)
            # A training job that runs in parallel may finish: the next run reuses its results.
            waiting = "; waiting for the other training job" if self.progress else ""
            self.line(step, f"failed{waiting}")
        elif kind == "done":
            self.progress.pop(pid, None)
            note = self.notes.pop(pid, "")
            self.line(step, f"done in {clock(event['seconds'])}{': ' * bool(note)}{note}")

    def line(self, label: str, text: str) -> None:
        """Print a line that stays."""
        line = f"{label:<{_LABEL}}{text}"
        if self.live is None:
            print(line, file=self.stream, flush=True)
        else:
            self._refresh()
            # As it is: rich would replace [brackets] and :words: in paths and names.
            self.live.console.print(
                line, markup=False, emoji=False, highlight=False, soft_wrap=True
            )

    def close(self) -> None:
        """Remove the live lines, and give the terminal back as it was."""
        self.progress.clear()
        if self.live is not None and self.live.is_started:
            self._refresh()
            self.live.stop()

    def _report_progress(self, step: str, pid: int, text: str) -> None:
        """Show how far a step is: live on a terminal, now and then in a log; "" removes it."""
        now = time.monotonic()
        if not text:
            self.progress.pop(pid, None)
        else:
            self.progress[pid] = f"{step:<{_LABEL}}{text}"
        if self.live is not None:
            self._refresh()
        elif text and now - self.printed_at.get(pid, -_SECONDS_BETWEEN_LINES) >= (
            _SECONDS_BETWEEN_LINES
        ):
            self.printed_at[pid] = now
            self.line(step, text)

    def _set_progress(self, pid: int, line: str) -> None:
        self.progress[pid] = line
        self._refresh()

    def _refresh(self) -> None:
        from rich.text import Text

        if self.live is not None:
            lines = Text("\n".join(self.progress.values()), no_wrap=True, overflow="ellipsis")
            self.live.update(lines, refresh=True)
            if not self.live.is_started:
                self.live.start()


def _live(stream: TextIO) -> Any:
    from rich.console import Console as RichConsole
    from rich.live import Live

    console = RichConsole(file=stream, force_terminal=True)
    # Refreshed by events: the display needs no thread of its own. What others print is not wrapped.
    return Live(
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
