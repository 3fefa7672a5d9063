"""One training job as a pipeline step: fetches what it needs, and keeps its checkpoints."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.storage import objects
from components.storage.shards import local_shards
from components.training.checkpoint_store import checkpoint_folder, default_uri
from trainer import runtime
from trainer.artifacts.objective import Artifacts, Objective
from trainer.backends.hardware import checked
from trainer.config.known_backbones import LINEAR
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.schema import parse
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext
from trainer.training.jobs.keys import job_key

# Vertex AI names a folder, `gs://…`, in this variable of a job that has a TensorBoard.
_TENSORBOARD = "AIP_TENSORBOARD_LOG_DIR"


def run_job(
    job: Mapping[str, Any],
    objective: Objective,
    *,
    images: str,
    folds: str,
    statistics: str,
    out: str,
) -> None:
    """Train the folds of a job; resumes from the checkpoints of an earlier process.

    Args:
        job: an entry of the plan.
        objective: the ML task, classes, metric and seed.
        images: the records folder.
        folds: the folds table.
        statistics: the file of statistics.
        out: the folder to write.
    """
    member = parse(Member, job["member"], "member")
    settings = parse(Train, job["settings"], "settings")
    numbers = [int(fold) for fold in job["folds"]]
    if member.backbone != LINEAR:
        # Before anything is downloaded: a wrong machine costs money as long as it works.
        checked()
    with local_shards(images, member.size) as root:
        artifacts = Artifacts(records=images, root=root, folds_table=folds, statistics=statistics)
        if member.backbone == LINEAR:
            # It trains in seconds, and has no checkpoints.
            train_folds(member, numbers, artifacts, objective, RunContext(out=Path(out)))
            return
        key = job_key(member, numbers, artifacts, objective, job["weights_digest"])
        with run_context(out, settings, key) as run:
            train_folds(member, numbers, artifacts, objective, run)
    _publish_curves(Path(out) / "tensorboard", member.name)


def _publish_curves(curves: Path, member: str) -> None:
    """Copy the learning curves to where Vertex AI's TensorBoard reads them, if it does."""
    target = os.environ.get(_TENSORBOARD, "").rstrip("/")
    if not target:
        return
    for path in sorted(curves.rglob("*")):
        if path.is_file():
            objects.put(path, f"{target}/{member}/{path.relative_to(curves).as_posix()}")


@contextlib.contextmanager
def run_context(out: str, settings: Train, key: str) -> Iterator[RunContext]:
    """The run context of a training step: folders, settings and callbacks.

    Args:
        out: the folder to write.
        settings: the section `[train]`.
        key: the name of the checkpoint folder.
    """
    compiled = os.environ.get(runtime.COMPILED)
    with checkpoint_folder(settings.checkpoints or default_uri(out), key) as (work, upload):
        yield RunContext(
            out=Path(out),
            settings=settings,
            work=work,
            compiled=Path(compiled) if compiled else None,
            local_path=objects.local_path,
            on_write=upload,
            own_process=True,
        )
