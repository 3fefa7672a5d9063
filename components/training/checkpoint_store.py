"""Keeps the checkpoints of a training job where they outlive its machine."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from components.storage import folders, objects
from trainer import runtime
from trainer.events import emit


def default_uri(out: str) -> str:
    """Where checkpoints go if `train.checkpoints` is not set: the bucket of the run's outputs.

    The same URI when the step is retried or its machine is replaced.

    Args:
        out: the step's output folder.

    Returns:
        `gs://bucket/prefix`; "" if the outputs do not go to a bucket.
    """
    folder = Path(out).parent.parent / "checkpoints"
    return objects.uri_of(folder) if str(folder).startswith(objects.MOUNT) else ""


@contextlib.contextmanager
def checkpoint_folder(uri: str, name: str) -> Iterator[tuple[Path, Callable[[Path], None] | None]]:
    """The folder of a job's checkpoints, and a function that copies a file of it to the bucket.

    The folder is below the launcher's work folder if there is one. Without one, the copies in the
    bucket are all that is left when a machine is preempted.

    Args:
        uri: `gs://bucket/prefix` for copies, "" for none.
        name: the name of the job: a digest of everything that decides its results.

    Yields:
        the folder, and the function; None instead of the function if there is no bucket.
    """
    work_folder = os.environ.get(runtime.WORK)
    with contextlib.ExitStack() as stack:
        if work_folder:
            parent = Path(work_folder)
        else:
            scratch = tempfile.TemporaryDirectory(prefix="foldline-")
            parent = Path(stack.enter_context(scratch))
        work = parent / name
        work.mkdir(parents=True, exist_ok=True)
        if not uri:
            if not work_folder:
                emit(
                    "note",
                    "train",
                    "checkpoints do not outlive this step: set [train] checkpoints = 'gs://…' to "
                    "keep them",
                )
            yield work, None
            return
        remote = f"{uri}/{name}"
        _restore(remote, work)
        yield work, _uploader(remote, work)
        for entry in objects.listing(remote + "/"):
            objects.delete(entry.uri)


def _restore(remote: str, work: Path) -> None:
    """Download the copies that are missing in the folder."""
    prefix = remote + "/"
    missing = [
        entry
        for entry in objects.listing(prefix)
        if not (work / entry.uri.removeprefix(prefix)).exists()
    ]
    folders.fetch(missing, remote, work)


def _uploader(remote: str, work: Path) -> Callable[[Path], None]:
    def upload(path: Path) -> None:
        objects.put(path, f"{remote}/{path.relative_to(work).as_posix()}")
        # Delete copies of what this process no longer keeps. Other processes have other folders.
        folder = f"{remote}/{path.parent.relative_to(work).as_posix()}/".replace("/./", "/")
        for entry in objects.listing(folder):
            name = entry.uri.removeprefix(folder)
            if "/" not in name and not (path.parent / name).exists():
                objects.delete(entry.uri)

    return upload
