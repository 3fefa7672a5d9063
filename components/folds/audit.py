"""Check that the folds do not leak, and measure how even they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.folds.groups import merged
from trainer.artifacts import tables
from trainer.config.preparation import ALWAYS_TRAINS, LEFT_OUT
from trainer.errors import DataError, shown

_SHOWN = 20
# Images that near-duplicates join, below which nothing is concluded from how many they are.
_LEAST_SET = 20
# Share of the images that may be in sets with different labels: more than labelling errors.
_MIXED = 0.05


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
    """Check and describe an assignment of folds.

    Args:
        train: n rows of the examples table, with an additional column `near`: the same text for
            near-duplicates, "" for an image without one.
        fold: (n,) int64 folds, as in the folds table.
        count: the number of folds that there should be.
        classes: the class names in order.
        task: `multiclass`, `binary` or `multilabel`.
        test: the rows of the test split. An image that is also in train leaks no score between
            folds, so such images are counted and are not an error.
        links: (pairs, 2) sha256 digests of near-duplicates.

    Returns:
        a dictionary that can be written as JSON:
        left_out: the number of images that are left out.
        always_train: the number of images that train always.
        images_a_fold: the number of images in each fold.
        class_counts: the number of images of each class in each fold.
        prevalence: the share of each class, overall and in each fold, 0 to 1.
        largest_deviation: the largest difference between the share of a class in a fold and its
            share overall, 0 to 1.
        groups: the number of groups; an image without one counts as its own group.
        duplicate_sets: the number of sets of identical images.
        near_duplicate_sets: the number of sets of near-duplicates.
        largest_near_duplicate_set: the number of images in the largest of these sets.
        identical_across_folds: 0; an identical image in another fold raises an error.
        near_across_folds: 0, in the same way.
        groups_across_folds: 0, in the same way.
        label_conflicts: the first ids of the first sets of duplicates that have different labels.
        identical_in_test: the number of test images with an identical image in train.
        near_in_test: the number of test images with a near-duplicate in train.
        warnings: texts to report.

    Raises:
        DataError: identical or near-duplicate images, or images of one group, are in different
            folds; or a fold has no image.
    """
    _check_one_fold_each(train, fold, "sha256", "identical images are")
    _check_one_fold_each(train, fold, "group", "images of one group are")
    _check_one_fold_each(
        train,
        fold,
        "near",
        "near-duplicate images are",
        "; folds.duplicates = 'identical' skips the search for them",
    )
    digest_counts = train["sha256"].value_counts()
    near_counts = train["near"][train["near"] != ""].value_counts()
    ungrouped = int((train["group"] == "").sum())
    validates = fold >= 0
    sizes = np.bincount(fold[validates], minlength=count)
    if (sizes == 0).any():
        empty = int(np.flatnonzero(sizes == 0)[0])
        groups = len(np.unique(_groups(train)[validates]))
        raise DataError(
            f"fold {empty} would have no image: {int(validates.sum())} images in {groups} groups"
            f" are too few for folds.count = {count}"
        )
    labels = tables.pairs(train["target"].to_numpy()[validates], len(classes), task)
    table = np.zeros((count, len(classes)), dtype=np.int64)
    np.add.at(table, (fold[validates][labels[0]], labels[1]), 1)
    overall = table.sum(axis=0) / int(validates.sum())
    share = table / sizes[:, None]
    conflicts = _conflicts(train)
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
        "groups": ungrouped + int(train["group"][train["group"] != ""].nunique()),
        "duplicate_sets": int((digest_counts > 1).sum()),
        "near_duplicate_sets": int((near_counts > 1).sum()),
        "largest_near_duplicate_set": int(near_counts.max()) if len(near_counts) else 0,
        "identical_across_folds": 0,
        "near_across_folds": 0,
        "groups_across_folds": 0,
        "label_conflicts": [ids[:_SHOWN] for ids in conflicts[:_SHOWN]],
        "identical_in_test": int(test["sha256"].isin(set(train["sha256"])).sum()),
        "near_in_test": int(test["sha256"].isin(_linked_to(set(train["sha256"]), links)).sum()),
        "warnings": _warnings(table, labels, _groups(train)[validates], conflicts, classes),
    }


def check_plausible(train: pd.DataFrame, count: int) -> None:
    """Check that what is linked as near-duplicates can be copies of pictures.

    Pictures of a camera that does not move, of one form, or of one kind of plot look alike in most
    of their pixels. Linked over several steps, they would fill a fold.

    Args:
        train: labelled rows of the examples table, with an additional column `near`, as `linked`
            returns it. Sets within one group of the user's are left out: they belong together.
        count: the number of folds.

    Raises:
        DataError: a set is larger than a fold's share of the images, or sets join images of
            different labels in bulk.
    """
    near = train[(train["near"] != "").to_numpy()]
    groups = near.groupby("near")["group"]
    within = (groups.transform("nunique") == 1) & (near["group"] != "")
    near = near[~within.to_numpy(dtype=bool)]
    if not len(near):
        return
    sets = near.groupby("near")
    advice = (
        ": these look like different pictures of one scene, which are no copies: set"
        " folds.duplicates = 'identical', and data.group if some images belong together"
    )
    sizes = sets.size()
    if sizes.max() > max(_LEAST_SET, len(train) / count):
        ids = near["id"][(near["near"] == sizes.idxmax()).to_numpy()].tolist()
        raise DataError(
            f"{sizes.max()} of {len(train)} images are near-duplicates of each other, more than a"
            f" fold's share ({shown(ids)}){advice}"
        )
    mixed = near[(sets["target"].transform("nunique") > 1).to_numpy()]
    if len(mixed) > max(_LEAST_SET, _MIXED * len(train)):
        raise DataError(
            f"{len(mixed)} of {len(train)} images are in sets of near-duplicates with different"
            f" labels ({shown(mixed['id'].tolist())}){advice}"
        )


def _warnings(
    table: np.ndarray,
    labels: tuple[np.ndarray, np.ndarray],
    group: np.ndarray,
    conflicts: Sequence[Sequence[str]],
    classes: Sequence[str],
) -> list[str]:
    """Return the warnings of an audit.

    Args:
        table: (folds, classes) images of each class in each fold.
        labels: the validated images and their classes, as `tables.pairs` returns them.
        group: (n,) the number of each image's group.
        conflicts: the ids of each set of duplicates with different labels.
        classes: the class names in order.
    """
    count = len(table)
    rows, numbers = labels
    missing = np.flatnonzero((table == 0).any(axis=0)).tolist()
    warnings = [
        f"class {classes[index]!r} is missing in {int((table[:, index] == 0).sum())} of {count}"
        f" folds: it has {int(table[:, index].sum())} images in"
        f" {len(np.unique(group[rows[numbers == index]]))} groups"
        for index in (missing if len(missing) <= _SHOWN else [])
    ]
    if len(missing) > _SHOWN:
        warnings.append(
            f"{len(missing)} of {len(classes)} classes are missing in some fold, because they have"
            f" few images or groups: {shown([classes[index] for index in missing])}"
        )
    largest = int(np.bincount(group).max())
    if largest > len(group) / count:
        warnings.append(f"one group has {largest} of {len(group)} images, more than a fold's share")
    if conflicts:
        warnings.append(
            f"{len(conflicts)} sets of duplicates have different labels, the first of them"
            f" {shown(conflicts[0])}"
        )
    return warnings


def _groups(train: pd.DataFrame) -> np.ndarray:
    return merged(*(train[column].to_numpy() for column in ("group", "sha256", "near")))


def _linked_to(digests: set[str], links: np.ndarray) -> set[str]:
    """Return the images that are near-duplicates of any image in `digests`."""
    return {
        end
        for one, other in links.tolist()
        for end, far in ((one, other), (other, one))
        if far in digests
    }


def _conflicts(train: pd.DataFrame) -> list[list[str]]:
    """Return the ids of each set of identical or near-duplicate images with more than one label."""
    conflicts = []
    for column in ("sha256", "near"):
        candidates = train[(train[column] != "").to_numpy()]
        differ = candidates.groupby(column)["target"].transform("nunique") > 1
        sets = candidates[differ.to_numpy(dtype=bool)].groupby(column)["id"]
        conflicts += [ids.tolist() for _, ids in sets]
    return sorted(conflicts)


def _check_one_fold_each(
    train: pd.DataFrame, fold: np.ndarray, column: str, what: str, hint: str = ""
) -> None:
    """Check that images with the same value in `column` are in the same fold.

    An image that always trains leaks into every fold that has such an image; an image that is left
    out leaks nowhere.
    """
    has_value = (train[column] != "").to_numpy() & (fold != LEFT_OUT)
    fold_counts = pd.Series(fold[has_value]).groupby(train[column].to_numpy()[has_value]).nunique()
    leaking = fold_counts[fold_counts > 1]
    if len(leaking):
        ids = train["id"][(train[column] == leaking.index[0]).to_numpy()].tolist()
        raise DataError(f"folds leak: {what} in different folds: ids {', '.join(ids[:5])}{hint}")
