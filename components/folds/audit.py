"""Whether the folds leak, and how even they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.folds.groups import merged
from trainer.artifacts import tables
from trainer.config.data import ALWAYS_TRAINS, LEFT_OUT
from trainer.errors import DataError

_SHOWN = 20


def audit(
    train: pd.DataFrame,
    fold: np.ndarray,
    *,
    count: int,
    classes: Sequence[str],
    task: str,
    test: pd.DataFrame,
    links: np.ndarray,
) -> dict[str, Any]:
    """Examine an assignment of folds.

    Args:
        train: n rows of the examples table, with a column `near`: the same text for
            near-duplicates, "" for an image without one.
        fold: (n,) their folds, as in the folds table.
        count: how many folds there should be.
        classes: the class names in order. task: of the competition.
        test: the rows of the test split, looked at for images that are also in train: those leak no
            score between folds, so they are counted and no error.
        links: (pairs, 2) sha256 of near-duplicates.

    Returns:
        left_out and always_train (how many images); images_a_fold; class_counts a fold; prevalence,
        of each class, overall and a fold; largest_deviation, of a class's share in a fold from its
        share overall; groups, where an image without one counts as its own; duplicate_sets
        (identical images) and near_duplicate_sets, largest_near_duplicate_set;
        identical_across_folds, near_across_folds and groups_across_folds, 0, or there would be an
        error; label_conflicts, ids of duplicates that bear different labels; identical_in_test,
        near_in_test; warnings.

    Raises:
        DataError: identical or near-duplicate images, or images of one group, stand in two folds;
            or a fold has no image.
    """
    _no_label_in_two_folds(train, fold, "sha256", "identical images stand")
    _no_label_in_two_folds(train, fold, "group", "images of one group stand")
    _no_label_in_two_folds(
        train,
        fold,
        "near",
        "near-duplicate images stand",
        "; duplicates = 'identical' does not look for them",
    )
    copies = train["sha256"].value_counts()
    near = train["near"][train["near"] != ""].value_counts()
    own_group = int((train["group"] == "").sum())
    validates = fold >= 0
    sizes = np.bincount(fold[validates], minlength=count)
    if (sizes == 0).any():
        empty = int(np.flatnonzero(sizes == 0)[0])
        groups = len(np.unique(_groups(train)[validates]))
        raise DataError(
            f"fold {empty} would have no image: {int(validates.sum())} images in {groups} groups"
            f" are too few for folds.count = {count}"
        )
    labels = tables.memberships(train["target"].to_numpy()[validates], len(classes), task)
    table = np.zeros((count, len(classes)), dtype=np.int64)
    np.add.at(table, fold[validates], labels)
    overall = table.sum(axis=0) / len(labels)
    share = table / sizes[:, None]
    conflicts = _conflicts(train)
    group = _groups(train)[validates]
    warnings = [
        f"class {classes[index]!r} is missing in {int((table[:, index] == 0).sum())} of {count}"
        f" folds: it has {int(table[:, index].sum())} images in"
        f" {len(np.unique(group[labels[:, index]]))} groups"
        for index in np.flatnonzero((table == 0).any(axis=0)).tolist()
    ]
    largest = int(np.bincount(group).max())
    if largest > len(group) / count:
        warnings.append(f"one group has {largest} of {len(group)} images, more than a fold's share")
    if conflicts:
        warnings.append(
            f"{len(conflicts)} sets of duplicates bear different labels, the first of them"
            f" {', '.join(conflicts[0])}"
        )
    return {
        "left_out": int((fold == LEFT_OUT).sum()),
        "always_train": int((fold == ALWAYS_TRAINS).sum()),
        "images_a_fold": sizes.tolist(),
        "class_counts": {name: table[:, index].tolist() for index, name in enumerate(classes)},
        "prevalence": {
            name: {"overall": float(overall[index]), "folds": share[:, index].tolist()}
            for index, name in enumerate(classes)
        },
        "largest_deviation": float(np.abs(share - overall).max()),
        "groups": own_group + int(train["group"][train["group"] != ""].nunique()),
        "duplicate_sets": int((copies > 1).sum()),
        "near_duplicate_sets": int((near > 1).sum()),
        "largest_near_duplicate_set": int(near.max()) if len(near) else 0,
        "identical_across_folds": 0,
        "near_across_folds": 0,
        "groups_across_folds": 0,
        "label_conflicts": conflicts[:_SHOWN],
        "identical_in_test": int(test["sha256"].isin(set(train["sha256"])).sum()),
        "near_in_test": int(test["sha256"].isin(_linked_to(set(train["sha256"]), links)).sum()),
        "warnings": warnings,
    }


def _groups(train: pd.DataFrame) -> np.ndarray:
    return merged(*(train[column].to_numpy() for column in ("group", "sha256", "near")))


def _linked_to(digests: set[str], links: np.ndarray) -> set[str]:
    """The images that are near-duplicates of any of `digests`."""
    return {
        end
        for one, other in links.tolist()
        for end, far in ((one, other), (other, one))
        if far in digests
    }


def _conflicts(train: pd.DataFrame) -> list[list[str]]:
    """The ids of each set of identical or near-duplicate images that bear more than one label."""
    found = []
    for column in ("sha256", "near"):
        marked = train[(train[column] != "").to_numpy()]
        labels = marked.groupby(column)["target"].nunique()
        for value in labels[labels > 1].index:
            found.append(marked["id"][(marked[column] == value).to_numpy()].tolist())
    return sorted(found)


def _no_label_in_two_folds(
    train: pd.DataFrame, fold: np.ndarray, column: str, what: str, hint: str = ""
) -> None:
    # An image that always trains leaks into every fold that has its like; one that is left out
    # leaks nowhere.
    labelled = (train[column] != "").to_numpy() & (fold != LEFT_OUT)
    folds_of = pd.Series(fold[labelled]).groupby(train[column].to_numpy()[labelled]).nunique()
    leaking = folds_of[folds_of > 1]
    if len(leaking):
        ids = train["id"][(train[column] == leaking.index[0]).to_numpy()].tolist()
        raise DataError(f"folds leak: {what} in different folds: ids {', '.join(ids[:5])}{hint}")
