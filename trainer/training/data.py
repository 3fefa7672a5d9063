"""The images and labels of a training job, from the artifacts of the steps before it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import Artifacts, Objective
from trainer.config.member import Member
from trainer.events import emit
from trainer.input import labels, shards
from trainer.input.labels import Labels
from trainer.input.shards import Images


@dataclass(frozen=True)
class JobData:
    """What a training job reads.

    Attributes:
        train: labelled rows of the examples table.
        test: unlabelled rows of the examples table.
        folds: (n,) int64, the fold of each labelled row.
        training_rows: for each fold of the job, the rows of `train` that train its model.
        targets: (n,) class indices, or (n, classes) bool for multilabel.
        images: of the labelled rows.
        test_images: of the unlabelled rows.
        numeric: the tabular columns that are numbers.
        pixels: pixel statistics of the image size, by split and fold.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    folds: np.ndarray
    training_rows: Mapping[int, np.ndarray]
    targets: np.ndarray
    images: Images
    test_images: Images
    numeric: Sequence[str]
    pixels: Mapping[str, Any]

    def held_out(self, fold: int) -> np.ndarray:
        """(k,) the rows of `train` that a fold holds out; none for NO_FOLD."""
        return np.flatnonzero(self.folds == fold)

    def labels(self, fold: int, member: Member, objective: Objective) -> Labels:
        """Return the labels of `train` for the model of a fold; warn of classes without an image.

        Raises:
            TrainingError: a sample weight is missing or negative, or all weights are 0.
        """
        rows = self.training_rows[fold]
        found = labels.of_fold(member, self.train, rows, self.numeric, objective)
        if len(found.absent):
            # All images of a rare class may be in the fold that is held out.
            emit(
                "note",
                "train",
                f"warning: {member.name}: no training image of this fold is of class"
                f" {objective.classes[found.absent[0]]!r} ({len(found.absent)} such classes)",
            )
        return found


def default_size(artifacts: Artifacts) -> int:
    """The first size that images are stored in, in pixels."""
    about = read_manifest(artifacts.records, only=(tables.EXAMPLES,))
    return int(about["sizes"][0])


def load(artifacts: Artifacts, objective: Objective, folds: Sequence[int], size: int) -> JobData:
    """Read the tables and map the shards.

    Args:
        artifacts: the input files.
        objective: the ML task and the classes.
        folds: of the job.
        size: of the images, in pixels.

    Raises:
        IntegrityError: a file is damaged, or an image has no fold.
    """
    about = read_manifest(artifacts.records, only=(tables.EXAMPLES,))
    examples = tables.read_examples(artifacts.records)
    train, test = (
        examples[examples["split"] == split].reset_index(drop=True) for split in ("train", "test")
    )
    fold_column = tables.fold_of(train, tables.read_folds(artifacts.folds_table))
    statistics = json.loads(Path(artifacts.statistics).read_text(encoding="utf-8"))
    return JobData(
        train=train,
        test=test,
        folds=fold_column,
        training_rows={
            fold: np.flatnonzero(tables.training_rows(fold_column, fold)) for fold in folds
        },
        targets=tables.truth(train["target"].to_numpy(), len(objective.classes), objective.task),
        images=shards.load(artifacts.root, train, about, size=size),
        test_images=shards.load(artifacts.root, test, about, size=size),
        numeric=about["numeric"],
        pixels=statistics["pixels"][str(size)],
    )
