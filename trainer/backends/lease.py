"""Gives training jobs on one machine their own GPUs: no two jobs share one.

Two jobs on one GPU run out of its memory, and only one process can use a TPU. A lease is a lock on
a file, so it ends with its process, however that ends. All users and runs on a machine use the same
files.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from trainer import runtime
from trainer.backends.hardware import Hardware
from trainer.events import emit

# Seconds between two attempts.
_POLL = 0.2


def folder() -> Path:
    """The folder of the lock files: the same for everyone on the machine, whatever TMPDIR is."""
    return Path(os.environ.get(runtime.HARDWARE) or "/") / "tmp" / "foldline-devices"


def share(hardware: Hardware, batch_size: int, jobs: int) -> int:
    """How many of the machine's accelerators one job takes.

    Args:
        hardware: the accelerators.
        batch_size: images that the devices of a job must share evenly; 0 if any number can.
        jobs: how many jobs run side by side.
    """
    if hardware.kind == "tpu":
        # A host's chips form one slice: one process uses all of them.
        return len(hardware.ids)
    most = max(1, len(hardware.ids) // jobs)
    return next(count for count in range(most, 0, -1) if batch_size % count == 0)


@contextlib.contextmanager
def lease(hardware: Hardware, *, batch_size: int, holder: str) -> Iterator[Hardware]:
    """Wait for accelerators, and keep them for this process until the block ends.

    Does nothing unless the launcher says how many jobs it runs side by side (FOLDLINE_JOBS): on a
    cluster, a container has its accelerators for itself.

    Args:
        hardware: the machine's accelerators.
        batch_size: images that the devices of a job must share evenly; 0 if any number can.
        holder: who takes them, for the jobs that wait.

    Yields:
        the accelerators of this job. GPUs that it does not have are hidden from it.
    """
    jobs = int(os.environ.get(runtime.JOBS, "0"))
    if not jobs or hardware.kind == "cpu":
        yield hardware
        return
    # All chips of a TPU have one lock.
    names = ["tpu"] if hardware.kind == "tpu" else [f"gpu{name}" for name in hardware.ids]
    count = 1 if hardware.kind == "tpu" else share(hardware, batch_size, jobs)
    with contextlib.ExitStack() as stack:
        taken = _wait(stack, names, count, holder)
        if hardware.kind == "gpu":
            hardware = Hardware("gpu", tuple(hardware.ids[index] for index in taken))
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(hardware.ids)
        yield hardware


def _wait(stack: contextlib.ExitStack, names: Sequence[str], count: int, holder: str) -> list[int]:
    """Lock `count` of the files, whichever are free first; returns their indices."""
    told = ""
    while True:
        with contextlib.ExitStack() as attempt:
            taken: dict[int, IO[str]] = {}
            others = []
            for index, name in enumerate(names):
                file = attempt.enter_context(_open(folder() / name))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.seek(0)
                    others.append(f"{name}, which {file.read().strip() or 'another job'} uses")
                    continue
                taken[index] = file
                if len(taken) == count:
                    for file in taken.values():
                        file.truncate(0)
                        file.write(f"process {os.getpid()} ({holder})")
                        file.flush()
                    stack.enter_context(attempt.pop_all())
                    if told:
                        emit("progress", "train", "", log=False)
                    return list(taken)
        # Fewer are free than the job needs: others may have them until all are.
        text = f"waits for {'; '.join(others)}"
        if text != told:
            told = text
            emit("progress", "train", text)
        time.sleep(_POLL)


def _open(path: Path) -> IO[str]:
    """Open a lock file of all users; creates it if it does not exist."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        # As /tmp: everyone may add files, and delete their own.
        path.parent.chmod(0o1777)
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        handle = os.open(path, flags | os.O_CREAT, 0o666)
        # Whatever this process's umask is.
        os.fchmod(handle, 0o666)
    return os.fdopen(handle, "r+", encoding="utf-8")
