"""One training task: brings near what it needs, and keeps its checkpoints where they outlive it."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.storage import objects
from components.storage.shards import local_shards
from trainer import runtime
from trainer.config.competition import Train
from trainer.config.member import Member
from trainer.config.objective import Artifacts, Objective
from trainer.config.schema import parse
from trainer.events import emit
from trainer.training.fit import job_key, train_folds

# A folder of the launcher's that keeps compiled networks with the run.


def train(
    task: Mapping[str, Any],
    *,
    images: str,
    folds: str,
    statistics: str,
    kind: str,
    classes: Sequence[str],
    metric: str,
    seed: int,
    weights_digest: str,
    out: str,
) -> None:
    """Train the folds of a task, from where an earlier process left them.

    Args:
        task: an entry of the plan.
        images, folds, statistics: paths of the steps before. kind: of the competition's task.
        weights_digest: of the files of weights and of code that members name, "" where nobody
            looked.
        out: the folder to write.
    """
    member = parse(Member, task["member"], "member")
    settings = parse(Train, task["settings"], "settings")
    numbers = [int(fold) for fold in task["folds"]]
    goal = Objective(task=kind, classes=classes, metric=metric, seed=seed)
    compiled = os.environ.get(runtime.COMPILED)
    with local_shards(images, member.size) as root:
        inputs = Artifacts(records=images, root=root, folds_table=folds, statistics=statistics)
        uri = settings.checkpoints or beside(out)
        with kept(uri, job_key(member, numbers, inputs, goal, weights_digest)) as (work, mirror):
            train_folds(
                member,
                numbers,
                inputs,
                goal,
                out=out,
                settings=settings,
                work=work,
                compiled=Path(compiled) if compiled else None,
                near=objects.local_path,
                mirror=mirror,
            )


def beside(out: str) -> str:
    """A place for checkpoints in the bucket that the outputs of this run go to; "" where they go to
    no bucket.

    It is the same when the task is tried again, and when its machine is replaced.
    """
    folder = Path(out).parent.parent / "checkpoints"
    return objects.uri_of(folder) if str(folder).startswith(objects.MOUNT) else ""


@contextlib.contextmanager
def kept(uri: str, name: str) -> Iterator[tuple[Path, Callable[[Path], None] | None]]:
    """The folder of a task's checkpoints, and what copies each of them away.

    It lies below the launcher's folder for work under way, where there is one; without one, copies
    in Cloud Storage are all that is left of a machine that is taken away.

    Args:
        uri: `gs://bucket/prefix` to keep copies below, "" for none. name: of this task, from all
            that decides its results.
    """
    beside = os.environ.get(runtime.WORK)
    with contextlib.ExitStack() as stack:
        above = (
            Path(beside)
            if beside
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="foldline-")))
        )
        work = above / name
        work.mkdir(parents=True, exist_ok=True)
        if not uri:
            if not beside:
                emit(
                    "note",
                    "train",
                    "checkpoints do not outlive this task: [train] checkpoints = 'gs://…' would"
                    " keep them",
                )
            yield work, None
            return
        remote = f"{uri}/{name}"
        lost = [
            entry
            for entry in objects.listing(remote + "/")
            if not (work / entry.uri.removeprefix(remote + "/")).exists()
        ]
        objects.fetch(lost, remote, work)

        def mirror(path: Path) -> None:
            objects.put(path, f"{remote}/{path.relative_to(work).as_posix()}")
            # Those of this process that it no longer keeps; another process has a folder of its
            # own.
            folder = f"{remote}/{path.parent.relative_to(work).as_posix()}/".replace("/./", "/")
            for entry in objects.listing(folder):
                if (
                    "/" not in (name := entry.uri.removeprefix(folder))
                    and not (path.parent / name).exists()
                ):
                    objects.delete(entry.uri)

        yield work, mirror
        for entry in objects.listing(remote + "/"):
            objects.delete(entry.uri)
