"""Whether the folds leak, and how even they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainer import tables
from trainer.errors import DataError


def audit(train: pd.DataFrame, fold: np.ndarray, *, count: int, classes: Sequence[str], test: pd.DataFrame) -> dict[str, Any]:
    """Examine an assignment of folds.

    Args:
        train: n rows of the examples table.
        fold: (n,) their folds, as in the folds table.
        count: how many folds there should be.
        classes: the class names in order.
        test: the rows of the test split, looked at for images that are also in train: those leak no score between folds,
            so they are counted and no error.

    Returns:
        left_out and always_train (how many images); images_a_fold; class_counts a fold; largest_deviation, of a class's share
        in a fold from its share overall; groups, where an image without one counts as its own; duplicate_groups;
        identical_across_folds and groups_across_folds, 0, or there would be an error; identical_in_test; warnings.

    Raises:
        DataError: identical images, or images of one group, stand in two folds; or a fold has no image.
    """
    _no_label_in_two_folds(train, fold, "sha256", "identical images stand")
    _no_label_in_two_folds(train, fold, "group", "images of one group stand")
    copies = train["sha256"].value_counts()
    own_group = int((train["group"] == "").sum())
    validates = fold >= 0
    sizes = np.bincount(fold[validates], minlength=count)
    if (sizes == 0).any():
        empty = int(np.flatnonzero(sizes == 0)[0])
        raise DataError(
            f"fold {empty} would have no image: {int(validates.sum())} images to deal are too few for folds.count = {count}"
        )
    targets = train["target"].to_numpy()[validates]
    table = np.zeros((count, len(classes)), dtype=np.int64)
    np.add.at(table, (fold[validates], targets), 1)
    share = table / sizes[:, None] - table.sum(axis=0) / len(targets)
    warnings = [
        f"class {classes[index]!r} is missing in {int((table[:, index] == 0).sum())} of {count} folds: "
        f"it has {int(table[:, index].sum())} images"
        for index in np.flatnonzero((table == 0).any(axis=0)).tolist()
    ]
    return {
        "left_out": int((fold == tables.LEFT_OUT).sum()),
        "always_train": int((fold == tables.ALWAYS_TRAINS).sum()),
        "images_a_fold": sizes.tolist(),
        "class_counts": {name: table[:, index].tolist() for index, name in enumerate(classes)},
        "largest_deviation": float(np.abs(share).max()),
        "groups": own_group + int(train["group"][train["group"] != ""].nunique()),
        "duplicate_groups": int((copies > 1).sum()),
        "identical_across_folds": 0,
        "groups_across_folds": 0,
        "identical_in_test": int(test["sha256"].isin(set(train["sha256"])).sum()),
        "warnings": warnings,
    }


def _no_label_in_two_folds(train: pd.DataFrame, fold: np.ndarray, column: str, what: str) -> None:
    # An image that always trains leaks into every fold that has its like; one that is left out leaks nowhere.
    labelled = (train[column] != "").to_numpy() & (fold != tables.LEFT_OUT)
    folds_of = pd.Series(fold[labelled]).groupby(train[column].to_numpy()[labelled]).nunique()
    leaking = folds_of[folds_of > 1]
    if len(leaking):
        ids = train["id"][(train[column] == leaking.index[0]).to_numpy()].tolist()
        raise DataError(f"folds leak: {what} in different folds: ids {', '.join(ids[:5])}")
