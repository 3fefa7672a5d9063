"""A local run from its check to its results, and what earlier runs left."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.definitions import registry
from pipelines.local import runner
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_json, write_json
from trainer.config.competition import Competition
from trainer.config.gan import Gan

# Written next to the log when a run has ended well.
_DURATION = "duration.json"


class FinishedRun(NamedTuple):
    """What a finished local run left.

    Attributes:
        folder: the folder of its results.
        metrics: the contents of its metrics.json.
        finished: when it ended, in UTC.
        seconds: how long it took, or the last part of it after an interruption; None if a remote
            run was downloaded.
        bytes: the disk space of the folder, its cache of finished steps included.
    """

    folder: Path
    metrics: dict[str, Any]
    finished: datetime
    seconds: float | None
    bytes: int


def run_file(
    file: Competition | Gan,
    out: Path,
    on_event: Callable[[runner.Event], None],
    *,
    in_containers: bool = False,
) -> dict[str, Any]:
    """Run a file's pipeline inside `runner.hold(out)`, and copy the results into `out`.

    Args:
        file: as loaded, and checked.
        out: the run's folder.
        on_event: called with each event as it comes, in this thread.
        in_containers: run every step in its own container.

    Returns:
        the contents of metrics.json.

    Raises:
        CompetitionError: FOLDLINE_THREADS is not a whole number from 1 to 1024.
        RunError: a step failed, or there is no Docker engine or no image of this code.
        KeyboardInterrupt: the run was interrupted; all its processes have ended.
    """
    started = time.monotonic()
    worked: set[str] = set()

    def follow(event: runner.Event) -> None:
        if event["event"] == "start":
            worked.add(event["step"])
        on_event(event)

    outputs = runner.run(file, out, follow, in_containers=in_containers)
    metrics: dict[str, Any] = registry.results(registry.of(file)).gather(file, outputs, out)
    duration = out / runner.PIPELINE_ROOT / _DURATION
    # A run that reused every step but the check, which is never reused, is no other run.
    if worked - {"check"} or not duration.is_file():
        seconds = round(time.monotonic() - started, 1)
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(duration, {"seconds": seconds, "finished": finished})
    return metrics


def finished_runs(folder: Path) -> Iterator[FinishedRun]:
    """Yield the finished runs in the subfolders of a folder, the latest first.

    Args:
        folder: the folder of all results, such as runs/.
    """
    found = (read_run(path.parent) for path in folder.glob(f"*/{tables.METRICS}"))
    yield from sorted(found, key=lambda run: run.finished, reverse=True)


def read_run(folder: Path) -> FinishedRun:
    """Read what a finished run left.

    Args:
        folder: the folder of its results.

    Raises:
        IntegrityError: the folder has no metrics.json, or it is damaged.
    """
    metrics = folder / tables.METRICS
    values = read_json(metrics)
    duration = folder / runner.PIPELINE_ROOT / _DURATION
    known = read_json(duration) if duration.is_file() else {}
    written = datetime.fromtimestamp(metrics.stat().st_mtime, UTC)
    return FinishedRun(
        folder=folder,
        metrics=values,
        finished=datetime.fromisoformat(known["finished"]) if known else written,
        seconds=known.get("seconds"),
        bytes=_disk_space(folder),
    )


def _disk_space(folder: Path) -> int:
    """Return the bytes that the files of a folder occupy; a file with several links counts once."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            about = path.stat()
            sizes[about.st_dev, about.st_ino] = about.st_blocks * 512
    return sum(sizes.values())
