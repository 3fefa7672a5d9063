"""Where a training job runs: its folders, its devices, its checkpoints, and whether to stop."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trainer.backends import devices
from trainer.backends.devices import Device
from trainer.backends.hardware import checked
from trainer.backends.lease import lease
from trainer.config.machine import Train
from trainer.events import emit
from trainer.training.jobs.checkpoint import AllGather, Checkpoints


@dataclass(frozen=True)
class RunContext:
    """What a caller gives a training job besides its recipe and its data.

    Attributes:
        out: the folder for the results.
        settings: the section `[train]`: backend, and how often to write a checkpoint.
        work: a folder for checkpoints that outlives the process; None for one next to `out`.
        compiled: a folder that keeps compiled networks for the next job, where the backend can.
        local_path: returns a local path for a path or `gs://` URI of weights.
        on_write: called with each complete checkpoint file, for instance to copy it to a bucket.
        own_process: whether the process does nothing but this job, which lets it start faster.
    """

    out: Path
    settings: Train = field(default_factory=Train)
    work: Path | None = None
    compiled: Path | None = None
    local_path: Callable[[str], str] = str
    on_write: Callable[[Path], None] | None = None
    own_process: bool = False


@dataclass(frozen=True)
class ActiveRun:
    """A `RunContext` in a process that knows its devices.

    Attributes:
        context: what the caller gave.
        device: the devices that train.
        checkpoints: the checkpoints of this process.
        stopping: returns whether the process received SIGTERM.
        all_gather: returns the values that all processes passed at the same place.
    """

    context: RunContext
    device: Device
    checkpoints: Checkpoints
    stopping: Callable[[], bool]
    all_gather: AllGather

    @property
    def part(self) -> tuple[int, int]:
        """The number of this process, from 0, and how many there are."""
        return self.device.process, self.device.processes

    def any_stopping(self) -> bool:
        """Whether any process received SIGTERM; all processes must ask at the same place."""
        return any(self.all_gather(int(self.stopping())))


@contextlib.contextmanager
def started(context: RunContext, *, batch_size: int, holder: str) -> Iterator[ActiveRun]:
    """Take devices, set up Keras, and catch SIGTERM until the block ends.

    Args:
        context: what the caller gives.
        batch_size: images that the devices must share evenly; 0 if any number of devices can.
        holder: what the job trains, for jobs that wait for its devices.

    Raises:
        CompetitionError: the backend does not exist, or this process uses another one already.
        TrainingError: the devices are not those that the job was promised, or their libraries are
            not installed.
    """
    with lease(checked(), batch_size=batch_size, holder=holder) as hardware:
        device = devices.prepare(
            context.settings.backend,
            hardware=hardware,
            compiled=context.compiled,
            own_process=context.own_process,
        )
        if device.advice:
            emit("note", "train", f"warning: {device.advice}")
        work = context.work
        if work is None:
            work = context.out.with_name(f".{context.out.name}.work")
        # Every process keeps its own: the state is the same in all, but they need not share a disk.
        folder = work / f"process{device.process}" if device.processes > 1 else work
        checkpoints = Checkpoints(folder, context.on_write)
        with _sigterm() as stopping:
            yield ActiveRun(context, device, checkpoints, stopping, devices.all_gather(device))


@contextlib.contextmanager
def _sigterm() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGTERM came; the process does not end by itself."""
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
