"""The files that a training job leaves, whatever trained its models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, write_manifest
from trainer.artifacts.objective import Objective
from trainer.config.member import Member
from trainer.metrics.candidates import Predicted
from trainer.training.data import JobData


class FoldResult(NamedTuple):
    """What a fold's model predicted.

    Attributes:
        fold: the fold, or NO_FOLD.
        out_of_fold: probabilities of the images that were held out, (n, classes) float32 or the
            most probable classes.
        test: the same of the test images.
        state: `history`, rows for history.csv; `epochs`, how many epochs the model was trained for.
    """

    fold: int
    out_of_fold: Predicted
    test: Predicted
    state: Mapping[str, Any]


def write_seen(path: Path, images: np.ndarray) -> None:
    """Write which images a model was trained on, next to its file.

    Args:
        path: of the model.
        images: (n,) uint64, as `tables.seen_images` returns them.
    """
    with atomic_write(path.with_suffix(tables.SEEN)) as partial, open(partial, "wb") as stream:
        np.save(stream, images)


def write_results(
    out: Path,
    member: Member,
    objective: Objective,
    data: JobData,
    results: Sequence[FoldResult],
    about: Mapping[str, Any],
) -> None:
    """Write oof.parquet, test.parquet, history.csv, and the manifest last.

    Args:
        out: the folder; models are in it already.
        member: the recipe.
        objective: the ML task and the classes.
        data: the examples.
        results: one for each fold.
        about: what the manifest says in addition: parameters, device, libraries, and `models`, the
            file names of the models.
    """
    classes = objective.classes
    oof = [
        tables.predictions(
            data.train.iloc[data.held_out(result.fold)],
            result.fold,
            result.out_of_fold,
            classes,
            with_target=True,
        )
        for result in results
    ]
    test = [
        tables.predictions(data.test, result.fold, result.test, classes, with_target=False)
        for result in results
    ]
    tables.write_parquet(out / tables.OOF, pd.concat(oof, ignore_index=True))
    tables.write_parquet(out / tables.TEST, pd.concat(test, ignore_index=True))
    rows = [row for result in results for row in result.state["history"]]
    tables.write_csv(out / tables.HISTORY, pd.DataFrame(rows))
    write_manifest(
        out,
        {
            "member": member.name,
            "task": objective.task,
            "folds": [result.fold for result in results],
            "validation": member.validation,
            "keep": objective.keep,
            "epochs": {str(result.fold): result.state["epochs"] for result in results},
            "views": member.tta,
            **about,
        },
    )
