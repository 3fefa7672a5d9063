"""How a step tells what it does: plain lines for a log, and the same as JSON lines for a launcher that asks for them.

A launcher sets FOLDLINE_EVENTS to a file that every step appends to, and FOLDLINE_LAUNCHER to a file that it holds locked.
On a cluster neither is set and the lines in the log are all there is.
"""

import contextlib
import fcntl
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from trainer.errors import FoldlineError, IntegrityError, Preempted

EVENTS_VARIABLE = "FOLDLINE_EVENTS"
LAUNCHER_VARIABLE = "FOLDLINE_LAUNCHER"
# The code that a launcher means, and the code that an image holds.
WANTED_VARIABLE, IMAGE_VARIABLE = "FOLDLINE_WANTED_CODE", "FOLDLINE_IMAGE_CODE"
# The exit status that asks for a restart: EX_TEMPFAIL of sysexits.h.
RESTART = 75


# How often work under way says how far it is: to a launcher, which may show it live, and in the log.
_SECONDS_BETWEEN_EVENTS = 0.5
_SECONDS_BETWEEN_LINES = 10.0
_BAR = 24


def tell(event: str, step: str, text: str, *, log: bool = True, **values: Any) -> None:
    """Print `text` as a line of the log; append the event with its values to the launcher's file, if there is one."""
    if log:
        print(f"[{step}] {text}", flush=True)
    path = os.environ.get(EVENTS_VARIABLE)
    if path:
        line = json.dumps({"event": event, "step": step, "pid": os.getpid(), "text": text, **values}) + "\n"
        # One write in append mode: lines of tasks that run side by side do not mix.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


class Ticker:
    """Tells how far a step is with its `total` pieces of work, as a bar, and how long the rest will take."""

    def __init__(self, step: str, what: str, total: int) -> None:
        self.step, self.what, self.total = step, what, total
        self.done = self.found = 0
        self.started = self.event_at = self.line_at = time.monotonic()

    def advance(self, pieces: int = 1) -> None:
        """So many more are done."""
        self.done += pieces
        now = time.monotonic()
        if now - self.event_at >= _SECONDS_BETWEEN_EVENTS:
            log = now - self.line_at >= _SECONDS_BETWEEN_LINES
            self.event_at = now
            self.line_at = now if log else self.line_at
            tell("progress", self.step, self.text(now - self.started), log=log)

    def skip(self, pieces: int) -> None:
        """So many were done before, in no time."""
        self.done += pieces
        self.found += pieces

    def close(self) -> None:
        """All is done: take the bar away."""
        tell("progress", self.step, "", log=False)

    def text(self, elapsed: float) -> str:
        """The bar after `elapsed` seconds."""
        # A total may be a guess: what names its number of records wrongly is found out later.
        share = min(1.0, self.done / max(1, self.total))
        bar = ("█" * round(_BAR * share)).ljust(_BAR, "░")
        worked = self.done - self.found
        left = f", {clock(elapsed / worked * (self.total - self.done))} left" if worked and share < 1 else ""
        return f"{bar} {100 * share:3.0f} %  {self.done} of {max(self.total, self.done)} {self.what}{left}"


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Around all that a component does: says when it starts and ends, and why it failed, in the words of the error."""
    follow_launcher()
    started = time.monotonic()
    tell("start", name, "started")
    try:
        _check_image()
        yield
    except Preempted as error:
        tell("error", name, f"stopped: {error}", message=str(error), tail=[])
        sys.exit(RESTART)
    except FoldlineError as error:
        tell("error", name, f"failed: {error}", message=str(error), tail=[])
        raise
    except BaseException as error:
        tail = "".join(traceback.format_exception(error)).splitlines()[-12:]
        tell("error", name, f"failed: {error!r}", message=f"{type(error).__name__}: {error}", tail=tail)
        raise
    seconds = time.monotonic() - started
    tell("done", name, f"done in {seconds:.1f} s", seconds=seconds)


def _check_image() -> None:
    """Is this the code that the launcher has checked the run with?"""
    wanted, held = os.environ.get(WANTED_VARIABLE), os.environ.get(IMAGE_VARIABLE)
    if wanted and wanted != held:
        raise IntegrityError(
            f"this image holds the code {held or 'of no known version'}, and the run was started with {wanted}: build the "
            "images of that code, and name them with --image-light and --image-training"
        )


def follow_launcher() -> None:
    """End this process when the launcher that started it is gone, so that a killed run leaves nothing behind.

    The launcher holds an exclusive lock on a file as long as it lives, and the system takes it back however it ends: a
    process id would also be there for one that is dead and not yet waited for, or be another's by then.
    """
    path = os.environ.get(LAUNCHER_VARIABLE)
    if not path:
        return

    def wait() -> None:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            # Not sys.exit: only the process as a whole can be ended from this thread.
            os._exit(70)

    threading.Thread(target=wait, daemon=True, name="follow-launcher").start()


def clock(seconds: float) -> str:
    """42s, 3m05s, 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
