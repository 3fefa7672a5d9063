"""The folds step: find images that belong together, assign them to folds or use the user's folds,
and audit the result.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.folds.audit import audit, check_plausible
from components.folds.groups import merged
from components.folds.near_duplicates import linked, near_duplicates
from components.folds.strata import strata
from components.folds.stratify import assign
from components.folds.user_ids import excluded, own_folds
from components.storage import objects
from components.storage.shards import local_shards
from trainer.artifacts import tables
from trainer.artifacts.manifest import check_digest, read_manifest, write_json
from trainer.config.preparation import ALWAYS_TRAINS, LEFT_OUT, Folds
from trainer.errors import DataError, shown
from trainer.events import emit

# Share of the images above which dropping copies is worth a warning.
_MANY_DROPPED = 0.05


def write_folds(
    records: str | Path,
    folds: Folds,
    *,
    seed: int,
    classes: Sequence[str],
    file_digest: str = "",
    out: str | Path,
    audit_out: str | Path,
) -> None:
    """Assign each labelled image to a fold, or use the user's folds; audit and write the result.

    An image of an external set that always trains is left out if it, or an image of its group, is
    also among the images that are assigned to folds: it would leak into their validation.

    Args:
        records: a records folder that is complete according to its manifest.
        folds: how many folds, which ids to leave out, how to treat duplicates, or the user's file.
        seed: the seed of the competition.
        classes: the class names in order.
        file_digest: the digest of the files that `folds` names, which the launcher computed; ""
            skips the check.
        out: the file `folds.csv` to write, with the columns id and fold.
        audit_out: the JSON file to write the audit to.

    Raises:
        DataError: the audit finds a leak, or a fold is empty; or an id that the user names is not
            the id of a labelled image, or has no fold.
    """
    about = read_manifest(records, only=(tables.EXAMPLES,))
    examples = tables.read_examples(records)
    files = [objects.local_path(path) for path in (folds.file, folds.exclude_file) if path]
    check_digest(files, file_digest)
    searched = folds.duplicates != "identical"
    links = _links(records, examples, about) if searched else np.empty((0, 2), dtype=str)
    train = examples[examples["split"] == "train"].reset_index(drop=True)
    rejects = tables.read_rejects(Path(records) / tables.REJECTS)
    rejected = set(rejects["id"][rejects["split"] == "train"])
    included = ~train["id"].isin(excluded(folds, {*train["id"], *rejected})).to_numpy(dtype=bool)
    fold = np.full(len(train), LEFT_OUT)
    if folds.file:
        never_validate = set(train["id"][train["external"] == "train"])
        fold = (
            train["id"]
            .map(own_folds(folds.file, train["id"], never_validate, count=folds.count))
            .to_numpy(dtype=np.int64)
        )
    included &= (fold != LEFT_OUT) | (folds.file == "")
    # An image that is left out does not link others.
    train["near"] = ""
    train.loc[included, "near"] = linked(train["sha256"][included].to_numpy(), links)
    if not folds.file:
        check_plausible(train[included], folds.count)
    if not folds.file:
        several = (
            tables.memberships(train["target"].to_numpy(), len(classes), about["task"])
            if about["task"] == "multilabel"
            else None
        )
        fold = _assigned(train, included, folds, seed, several)
    test = examples[examples["split"] == "test"]
    findings = audit(
        train, fold, count=folds.count, classes=classes, task=about["task"], test=test, links=links
    )
    findings |= {"near_duplicates_looked_for": searched, "duplicates": folds.duplicates}
    tables.write_csv(out, pd.DataFrame({"id": train["id"], "fold": fold}))
    write_json(audit_out, findings)
    for warning in findings["warnings"]:
        emit("note", "folds", f"warning: {warning}")
    left_out = f", {findings['left_out']} images left out" if findings["left_out"] else ""
    always = f", {findings['always_train']} train always" if findings["always_train"] else ""
    emit(
        "note",
        "folds",
        f"{folds.count} folds of {min(findings['images_a_fold'])} to"
        f" {max(findings['images_a_fold'])} images, {findings['groups']} groups,"
        f" {findings['duplicate_sets']} sets of identical and {findings['near_duplicate_sets']} of"
        f" near-duplicate images, none in two folds{left_out}{always}",
    )


def _links(records: str | Path, examples: pd.DataFrame, about: Mapping[str, Any]) -> np.ndarray:
    with local_shards(records) as root:
        return near_duplicates(examples, root, about)


def _assigned(
    train: pd.DataFrame, included: np.ndarray, folds: Folds, seed: int, labels: np.ndarray | None
) -> np.ndarray:
    """Return the (n,) int64 fold of each row of `train`.

    Args:
        train: n rows of the examples table, with the column `near`.
        included: (n,) bool: which rows get a fold; the others are left out.
        folds: how many folds, how to treat duplicates, and what to spread evenly.
        seed: the seed of the competition.
        labels: (n, classes) bool: which classes each image has; None if each has exactly one.

    Raises:
        DataError: no image is left to assign.
    """
    fold = np.full(len(train), LEFT_OUT)
    if folds.duplicates == "drop":
        dropped = included & copies(train, included)
        if dropped.sum() > _MANY_DROPPED * included.sum():
            ids = train["id"][dropped].tolist()
            emit(
                "note",
                "folds",
                f"warning: {len(ids)} of {int(included.sum())} images are left out as copies of"
                f" others (folds.duplicates = 'drop'): {shown(ids)}",
            )
        included = included & ~dropped
    always = (train["external"] == "train").to_numpy()
    group = merged(*(train[column].to_numpy() for column in ("group", "sha256", "near")))
    validates = included & ~always
    if not validates.any():
        raise DataError("no image is left to assign to a fold: all are excluded")
    clashing = included & always & np.isin(group, group[validates])
    fold[included & always & ~clashing] = ALWAYS_TRAINS
    if clashing.any():
        emit(
            "note",
            "folds",
            f"{int(clashing.sum())} external images are left out: they, or their groups, are among"
            " the images in the folds",
        )
    rows = train[validates]
    # Renumber the groups: those of rows that are left out may be missing.
    group_numbers = np.unique(group[validates], return_inverse=True)[1]
    fold[validates] = assign(
        strata(
            rows,
            group_numbers,
            None if labels is None else labels[validates],
            folds.strata,
            folds.bins,
        ),
        group_numbers,
        count=folds.count,
        seed=seed,
    )
    return fold


def copies(train: pd.DataFrame, included: np.ndarray) -> np.ndarray:
    """Return whether each row is a copy of an earlier one.

    A copy is identical to, or a near-duplicate of, an included row before it. The competition's own
    images come before those of external sets.

    Args:
        train: n rows of the examples table, with the column `near`.
        included: (n,) bool: which rows are not left out.

    Returns:
        (n,) bool.
    """
    same = merged(train["sha256"].to_numpy(), train["near"].to_numpy())
    order = np.lexsort((np.arange(len(train)), train["external"] != "", ~included))
    first = np.unique(same[order], return_index=True)[1]
    copy = np.ones(len(train), dtype=bool)
    copy[order[first]] = False
    return copy
