"""The parameters of the GAN's pipeline as one checked file, as components/check does for a
competition's."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.check.files import backbone_files, check_weights, stop_at_missing, weights_files
from components.check.resolve import ORIGIN, digest_of, rooted
from components.folds.user_ids import excluded, own_folds
from components.records import source
from components.records.source import SourceSummary
from components.training.plan import plan
from trainer.config.gan import HELD_OUT_FOLD, MIN_CLASS_SAMPLES, Gan
from trainer.config.known_backbones import is_published
from trainer.config.load import resolve_paths
from trainer.errors import CompetitionError
from trainer.events import emit

_SECTIONS = ("data", "records", "folds", "gan", "train")


def settle(table: Mapping[str, Any], root: str) -> tuple[Any, ...]:
    """Check the parameters and the files they name.

    Args:
        table: the keys of a GAN's file. root: as in `components.check.resolve.settle`.

    Returns:
        the sections data, records, folds, gan and train, defaults filled in and paths whole; the
        judge's training task, as a plan has it; and the digests of the source, the files of folds,
        and those of weights ("" for none).

    Raises:
        CompetitionError, DataError: as `check_files`, or no place is given where the data is.
    """
    parsed = rooted(Gan, table, root)
    file = resolve_paths(parsed, parsed.data.root)
    found = check_files(file, ORIGIN)
    emit(
        "note",
        "check",
        f"{'some' if found.train is None else found.train} labelled images, {file.gan.steps} steps",
    )
    # Neither what an hour costs nor how folds are cut into tasks changes a model: the same training
    # must be found done.
    settings = dataclasses.replace(file.train, hourly_price=0.0, folds_per_task=1)
    values = dataclasses.asdict(dataclasses.replace(file, train=settings))
    features = _feature_files(file)
    judged = digest_of([*weights_files([file.judge], 1), *backbone_files([file.judge])])
    return (
        *(values[section] for section in _SECTIONS),
        plan([file.judge], file.folds, settings, file.records, weights_digest=judged)[
            HELD_OUT_FOLD
        ],
        source.digest(file.data),
        digest_of([file.folds.file, file.folds.exclude_file]),
        digest_of(features),
    )


def _feature_files(file: Gan) -> list[str]:
    named = file.gan.features.weights
    return [] if is_published(named) else [named]


def check_files(file: Gan, origin: str | Path) -> SourceSummary:
    """Look at the files that a GAN's file names: are they there, and are there images enough?

    Args:
        file: as loaded. origin: for the error.

    Raises:
        CompetitionError: a key names a file that is not there, or more images than there are.
            DataError: the data is not what the file says.
    """
    data = file.data
    tables = {} if data.source == "cifar10" else {"data.train": data.train, "data.test": data.test}
    named = {**tables, "folds.file": file.folds.file, "folds.exclude_file": file.folds.exclude_file}
    named["gan.features.weights"] = "".join(_feature_files(file))
    stop_at_missing(named, origin)
    found = source.look(data, file.records)
    if found.train_ids is not None:
        excluded(file.folds, set(found.train_ids))
        if file.folds.file:
            own_folds(file.folds.file, found.train_ids, (), count=file.folds.count)
    # Of its weights for each fold the first is taken.
    check_weights([file.judge], 1, f"{origin}: judge")
    if found.train is not None:
        _check_amounts(file, origin, found.train)
    return found


def _check_amounts(file: Gan, origin: str | Path, images: int) -> None:
    count = file.folds.count
    held = -(-images // count)
    for key, size in (
        ("gan.batch_size", file.gan.batch_size),
        ("judge.batch_size", file.judge.batch_size),
    ):
        if size > images - held:
            raise CompetitionError(
                f"{origin}: {key} = {size}: only {images - held} images are left to train on"
            )
    held = images // count
    if held < MIN_CLASS_SAMPLES * len(file.classes):
        raise CompetitionError(
            f"{origin}: folds.count = {count}: of {images} images it keeps {held} to judge"
            f" {len(file.classes)} classes by: lower it"
        )
