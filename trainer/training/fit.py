"""The ways into training: a member on some of its folds, or a GAN; and the name of the folder where
a task keeps its place."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer import runtime, source_code
from trainer.artifacts import tables
from trainer.artifacts.manifest import sha256
from trainer.backends import devices
from trainer.config.competition import Train
from trainer.config.gan import GanRecipe
from trainer.config.member import Member
from trainer.config.objective import Artifacts, Objective


def train_folds(
    member: Member,
    folds: Sequence[int],
    inputs: Artifacts,
    goal: Objective,
    *,
    out: str | Path,
    settings: Train | None = None,
    work: str | Path | None = None,
    compiled: Path | None = None,
    near: Callable[[str], str] = str,
    mirror: Callable[[Path], None] | None = None,
) -> None:
    """Train a model for each of `folds` on the images of the other folds; predict its own fold and
    the test images.

    Each image is decoded once for all models and views that see it, and no id is inferred from an
    order: every row carries the id of its record. A process that was killed goes on from its last
    checkpoint, with the same results to the last bit on a CPU.

    Args:
        member: the recipe.
        folds: the folds to train, each at most once; NO_FOLD for a model of all images.
        out: the folder to write: oof.parquet, test.parquet, history.csv, fold<k>.keras for each
            fold, tensorboard/, manifest.json.
        settings: backend and how often to write a checkpoint.
        work: a folder that outlives the process; by default one beside `out`.
        compiled: a folder that keeps compiled networks for the next task, where the backend can.
        near: brings a file of weights near and says where it is.
        mirror: called with each file that a later process needs to go on.

    Raises:
        IntegrityError: an input is damaged. Preempted: the process got SIGTERM; its checkpoint is
            written.
        TrainingError: a fold is smaller than one batch, its loss is not finite, weights do not fit.
    """
    settings = settings or Train()
    out = Path(out)
    work = Path(work) if work is not None else out.with_name(f".{out.name}.work")
    device = devices.prepare(settings.backend, compiled=compiled)
    # After `prepare`: they import Keras.
    from trainer.training.checkpoint import Checkpoints
    from trainer.training.task import TrainingJob

    # Each of several processes keeps its own: the state is the same in all, the files need not
    # share a disk.
    checkpoints = Checkpoints(
        work / f"process{device.process}" if device.processes > 1 else work, mirror
    )
    with _until_asked_to_end() as stopping:
        task = TrainingJob(
            member,
            folds,
            inputs,
            goal,
            device=device,
            checkpoints=checkpoints,
            settings=settings,
            stopping=stopping,
            near=near,
            out=out,
        )
        try:
            task.run()
            # The first process writes the results: the others keep their checkpoints until it has.
            task.together(0)
        finally:
            task.close()
    checkpoints.remove()


def train_gan(
    gan: GanRecipe,
    *,
    records: str | Path,
    root: str | Path,
    folds_table: str | Path,
    judge: str | Path,
    classes: Sequence[str],
    seed: int,
    out: str | Path,
    settings: Train | None = None,
    work: str | Path | None = None,
    compiled: Path | None = None,
    near: Callable[[str], str] = str,
    mirror: Callable[[Path], None] | None = None,
) -> None:
    """Train a GAN on the images of all folds but the first, and leave samples, pictures and
    figures.

    A process that was killed goes on from its last checkpoint, with the same results to the last
    bit on a CPU.

    Args:
        gan: the recipe.
        records: a records folder; root: the local folder that its shards lie below. folds_table:
            `folds.csv`.
        judge: the predictions folder of a training of the first fold, whose classifier judges
            samples.
        out: the folder to write, of which trainer/gan/training.py names the files.
        settings, work, compiled, near, mirror: as in `train_folds`.

    Raises:
        IntegrityError: an input is damaged. Preempted: the process got SIGTERM; its checkpoint is
            written.
        TrainingError: a loss is not finite, weights do not fit, or there are too few images.
    """
    settings = settings or Train()
    out = Path(out)
    work = Path(work) if work is not None else out.with_name(f".{out.name}.work")
    device = devices.prepare(settings.backend, compiled=compiled)
    from trainer.gan.training import GanTraining
    from trainer.training.checkpoint import Checkpoints

    with _until_asked_to_end() as stopping:
        training = GanTraining(
            gan,
            records=records,
            root=root,
            folds_table=folds_table,
            judge=judge,
            classes=classes,
            seed=seed,
            device=device,
            checkpoints=Checkpoints(work, mirror),
            checkpoint_seconds=settings.checkpoint_seconds,
            stopping=stopping,
            near=near,
            out=out,
        )
        try:
            training.run()
        finally:
            training.close()


def gan_key(
    gan: GanRecipe,
    *,
    records: str | Path,
    folds_table: str | Path,
    judge: str | Path,
    classes: Sequence[str],
    seed: int,
    weights_digest: str = "",
) -> str:
    """As `key`, of the training of a GAN."""
    # Of the judge its predictions: the file of a model has a date in it.
    files = [Path(records) / tables.EXAMPLES, Path(folds_table), Path(judge) / tables.OOF]
    return _key(
        "trainer.gan.training",
        [dataclasses.asdict(gan), list(classes), seed, weights_digest],
        files,
    )


def job_key(
    member: Member,
    folds: Sequence[int],
    inputs: Artifacts,
    goal: Objective,
    weights_digest: str = "",
) -> str:
    """A digest of what decides a task's results, to name the folder of its checkpoints: those of
    another recipe, other data, other code, or libraries of other versions are never taken. The
    devices are not known yet: a checkpoint says them."""
    files = [
        Path(inputs.records) / tables.EXAMPLES,
        Path(inputs.folds_table),
        Path(inputs.statistics),
    ]
    return _key(
        "trainer.training.task",
        [dataclasses.asdict(member), list(folds), dataclasses.asdict(goal), weights_digest],
        files,
    )


def _key(module: str, recipe: list[Any], files: Sequence[Path]) -> str:
    """module: the one that trains; with all that it reaches it is the code that decides the
    results."""
    parts = [
        *recipe,
        source_code.digest(source_code.reached([module])),
        libraries(),
        os.environ.get(runtime.THREADS, ""),
        [sha256(path) for path in files],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def libraries() -> list[str]:
    """The versions of what computes."""
    found = []
    for name in (
        "keras",
        "numpy",
        "opencv-python-headless",
        "simplejpeg",
        "tensorflow",
        "tensorflow-cpu",
        "jax",
    ):
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # the other TensorFlow, or a backend that this machine does without
    return found


@contextmanager
def _until_asked_to_end() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM has come since; the process does not end of it by
    itself."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
