"""How a step reports what it does: log lines for people, JSON lines for the launcher.

A launcher names a file that every step appends events to, and a file that it keeps locked
(`trainer/runtime.py`). On a cluster neither is set, and the log lines are all there is.
"""

import contextlib
import errno
import fcntl
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any

from trainer import runtime
from trainer.errors import FoldlineError, IntegrityError, Preempted

# The exit status that asks for a restart, unless the target names another: EX_TEMPFAIL of
# sysexits.h.
RESTART = 75

# How often a step reports progress: to a launcher, which may show it live, and in the log.
_SECONDS_BETWEEN_EVENTS = 0.5
_SECONDS_BETWEEN_LINES = 10.0
_BAR_WIDTH = 24


def emit(event: str, step: str, text: str, *, log: bool = True, **values: Any) -> None:
    """Print a log line, and append the event to the launcher's file if there is one.

    Args:
        event: start, note, progress, epoch, fold, reused, done or error; the launcher itself also
            reports stopping.
        step: the name of the step.
        text: what people read.
        log: False keeps `text` out of the log.
        values: more fields of the event, as JSON can hold them.
    """
    if log:
        print(f"[{step}] {text}", flush=True)
    path = os.environ.get(runtime.EVENTS)
    if path:
        entry = {"event": event, "step": step, "pid": os.getpid(), "text": text, **values}
        line = json.dumps(entry) + "\n"
        # One write in append mode: lines of steps that run side by side do not mix.
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


class ProgressBar:
    """Reports how much of a step's work is done, and estimates the time left."""

    def __init__(self, step: str, unit: str, total: int) -> None:
        """
        Args:
            step: the name of the step.
            unit: what is counted, in the plural: "images".
            total: how many there are; may be an estimate.
        """
        self.step, self.unit, self.total = step, unit, total
        self.done = self.skipped = 0
        self.started = self.event_at = self.line_at = time.monotonic()

    def advance(self, count: int = 1) -> None:
        """Count pieces that were just finished."""
        self.done += count
        now = time.monotonic()
        if now - self.event_at >= _SECONDS_BETWEEN_EVENTS:
            log = now - self.line_at >= _SECONDS_BETWEEN_LINES
            self.event_at = now
            self.line_at = now if log else self.line_at
            emit("progress", self.step, self.text(now - self.started), log=log)

    def skip(self, count: int) -> None:
        """Count pieces finished by an earlier run; they do not affect the estimated time."""
        self.done += count
        self.skipped += count

    def close(self) -> None:
        """Remove the bar."""
        emit("progress", self.step, "", log=False)

    def text(self, elapsed: float) -> str:
        """The bar after `elapsed` seconds."""
        # The total is an estimate where a shard's name gives a wrong number of records.
        share = min(1.0, self.done / max(1, self.total))
        bar = ("█" * round(_BAR_WIDTH * share)).ljust(_BAR_WIDTH, "░")
        worked = self.done - self.skipped
        left = ""
        if worked and share < 1:
            left = f", {clock(elapsed / worked * (self.total - self.done))} left"
        count = f"{self.done} of {max(self.total, self.done)} {self.unit}"
        return f"{bar} {100 * share:3.0f} %  {count}{left}"


@contextlib.contextmanager
def step_scope(name: str) -> Iterator[None]:
    """Wrap the body of a component: report its start, its end, and why it failed."""
    follow_launcher()
    started = time.monotonic()
    emit("start", name, "started")
    try:
        _check_image()
        yield
    except Preempted as error:
        emit("error", name, f"stopped: {error}", message=str(error), tail=[])
        sys.exit(int(os.environ.get(runtime.RESTART_STATUS, RESTART)))
    except FoldlineError as error:
        emit("error", name, f"failed: {error}", message=str(error), tail=[])
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _report_unexpected(name, error)
            raise
        where = error.filename or "a disk"
        message = f"{where}: {error.strerror}: free some space, or choose another folder"
        emit("error", name, f"failed: {message}", message=message, tail=[])
        raise
    except BaseException as error:
        _report_unexpected(name, error)
        raise
    seconds = time.monotonic() - started
    emit("done", name, f"done in {seconds:.1f} s", seconds=seconds)


def _report_unexpected(name: str, error: BaseException) -> None:
    tail = "".join(traceback.format_exception(error)).splitlines()[-12:]
    message = f"{type(error).__name__}: {error}"
    emit("error", name, f"failed: {error!r}", message=message, tail=tail)


def _check_image() -> None:
    """Stop when this image holds other code than the launcher checked the run with."""
    wanted, held = os.environ.get(runtime.WANTED_CODE), os.environ.get(runtime.IMAGE_CODE)
    if wanted and wanted != held:
        raise IntegrityError(
            f"this image holds code version {held or 'unknown'}, but the run was started with "
            f"{wanted}: build images from that code, and name them with --image-light and "
            "--image-training"
        )


def follow_launcher() -> None:
    """End this process when its launcher is gone, so that a killed run leaves nothing behind.

    The launcher holds an exclusive lock on a file as long as it lives, and the system releases it
    however the launcher ends. A process id would not do: it may belong to a zombie, or to another
    process by then.
    """
    path = os.environ.get(runtime.LAUNCHER)
    if not path:
        return

    def wait() -> None:
        with open(path, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            # Not sys.exit, which would end this thread alone.
            os._exit(70)

    threading.Thread(target=wait, daemon=True, name="follow-launcher").start()


def clock(seconds: float) -> str:
    """A duration for people: 42s, 3m05s, 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
