"""Deal the labelled images into folds: stratified, groups whole, identical images together."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from components.folds.audit import audit
from components.folds.groups import merged
from trainer import tables
from trainer.competition import Folds
from trainer.csv_rows import read_two_columns
from trainer.errors import DataError
from trainer.manifest import check_digest, read_manifest, write_json
from trainer.progress import tell

# What a further stratum, or the size of a fold, weighs beside the class.
_MINOR = 0.01
# The first deals the groups out, the others move them.
_PASSES = 6


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
    """Give a fold to each labelled image, or take the user's, audit the result, and write both.

    Args:
        records: a records folder, whole by its manifest.
        folds: how many folds, which ids are left out, or the user's own file.
        seed: of the competition.
        classes: the class names in order.
        file_digest: what the launcher found the bytes of `folds.file` to be ("": nothing).
        out: `folds.csv`: id, fold.
        audit_out: the audit as JSON.

    Raises:
        DataError: the audit finds a leak, or a fold is empty; an id that the user names is no labelled image, or lacks a fold.
    """
    read_manifest(records)
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"].reset_index(drop=True)
    if folds.file:
        check_digest([folds.file], file_digest)
        fold = given(folds.file, train["id"], count=folds.count)
    else:
        fold = np.full(len(train), tables.LEFT_OUT)
        included = ~_excluded(folds.exclude, train["id"])
        dealt = train[included]
        groups = merged(dealt["group"].to_numpy(), dealt["sha256"].to_numpy())
        fold[included] = assign(strata(dealt["target"].to_numpy(), groups), groups, count=folds.count, seed=seed)
    findings = audit(train, fold, count=folds.count, classes=classes, test=examples[examples["split"] == "test"])
    tables.write_csv(out, pd.DataFrame({"id": train["id"], "fold": fold}))
    write_json(audit_out, findings)
    for warning in findings["warnings"]:
        tell("note", "folds", f"warning: {warning}")
    left_out = f", {findings['left_out']} images left out" if findings["left_out"] else ""
    tell(
        "note",
        "folds",
        f"{folds.count} folds of {min(findings['images_a_fold'])} to {max(findings['images_a_fold'])} images, "
        f"{findings['groups']} groups and {findings['duplicate_groups']} sets of identical images, none in two folds{left_out}",
    )


def given(path: str | Path, ids: pd.Series, *, count: int) -> np.ndarray:
    """The folds of a user's file, for each of `ids`, joined by id.

    Raises:
        DataError: it has other columns, an id twice, unknown or missing, or a fold that is none; the text has the row.
    """
    header, rows = read_two_columns(path)
    if header != ("id", "fold"):
        raise DataError(f"{path}: its columns are {', '.join(map(repr, header))}, where 'id' and 'fold' are meant")
    allowed = {str(number): number for number in range(tables.ALWAYS_TRAINS, count)}
    known = set(ids)
    for number, (id_, fold) in enumerate(rows, start=1):
        if id_ not in known:
            raise DataError(f"{path}: row {number}, column 'id': {id_!r} is no labelled image")
        if fold not in allowed:
            raise DataError(f"{path}: row {number}, column 'fold': {fold!r} is no whole number from -2 to {count - 1}")
    fold_of = dict(rows)
    lacking = [id_ for id_ in ids if id_ not in fold_of]
    if lacking:
        raise DataError(f"{path}: no fold for id {lacking[0]!r} ({len(lacking)} labelled images lack one; -1 leaves out)")
    return np.array([allowed[fold_of[id_]] for id_ in ids])


def _excluded(exclude: Sequence[str], ids: pd.Series) -> np.ndarray:
    """(n,) whether each id is among those to leave out."""
    unknown = sorted(set(exclude) - set(ids))
    if unknown:
        raise DataError(f"folds.exclude: {unknown[0]!r} is no labelled image ({len(unknown)} such ids)")
    return ids.isin(exclude).to_numpy(dtype=bool)


def strata(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """What is to be spread evenly: the class, and how many images a group has, in powers of two.

    Args:
        targets: (n,) class indices.
        groups: (n,) group numbers, from 0.

    Returns:
        (n, 2) int64 codes.
    """
    return np.stack([targets, np.log2(np.bincount(groups))[groups].astype(np.int64)], axis=1)


def assign(strata: np.ndarray, groups: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """A fold for each row: groups whole, every stratum spread as evenly as the groups allow.

    The groups, large ones first, among equals those of rare strata, then in seeded order, each go to the fold where they raise
    the sum of squared deviations from an even spread the least; then each is taken up again and moved where that lowers the
    sum, until none moves. A category's deviation is measured against its total, so that a rare class weighs as much as a
    common one: adding c rows to the h held of a category of n raises its term by ((h + c)² - h²) / n, or, less what is the
    same for all folds, 2 h c / n. Equals go to the lowest fold.

    Time grows with the number of groups, memory with rows and categories: a million rows in 100,000 groups take seconds.

    Args:
        strata: (n, s) integer codes. The first column is the class; further columns, and the folds' sizes, count a hundredth
            of it, and so decide among folds that are alike in the class.
        groups: (n,) labels of any one type; rows of one group get one fold.
        count: how many folds.
        seed: of the order among groups of one size.

    Returns:
        (n,) int64 folds, 0 to count - 1.
    """
    group = np.unique(groups, return_inverse=True)[1]
    composition = _composition(strata, group)
    rows_of = np.bincount(group)
    weight = 1 / np.asarray(composition.sum(axis=0)).ravel()
    weight[len(np.unique(strata[:, 0])) :] *= _MINOR
    shuffled = np.random.default_rng(seed).permutation(len(rows_of))
    # Groups of one kind follow each other, or what one class leaves uneven the next could not even out.
    kind = composition.indices[composition.indptr[:-1]]
    rarity = composition @ weight
    order = shuffled[np.lexsort((kind[shuffled], -rarity[shuffled], -rows_of[shuffled]))]
    held = np.zeros((composition.shape[1], count))
    sizes = np.zeros(count)
    fold_of = np.full(len(rows_of), -1)
    starts, categories, counts = composition.indptr, composition.indices, composition.data
    for _ in range(_PASSES):
        moved = False
        for place in order.tolist():
            entries = slice(starts[place], starts[place + 1])
            category, rows = categories[entries], counts[entries]
            before = fold_of[place]
            if before >= 0:
                held[category, before] -= rows
                sizes[before] -= rows_of[place]
            cost = (rows * weight[category]) @ held[category] + sizes * (_MINOR * rows_of[place] / len(groups))
            best = int(cost.argmin())
            # A gain that is only rounding is none, or groups would move for ever.
            if before >= 0 and cost[before] <= cost[best] + 1e-12:
                best = before
            held[category, best] += rows
            sizes[best] += rows_of[place]
            fold_of[place] = best
            moved = moved or best != before
        if not moved:
            break
    return fold_of[group]


def _composition(strata: np.ndarray, group: np.ndarray) -> sparse.csr_matrix:
    """(groups, categories) how many rows of each category a group has; each column of `strata` has categories of its own."""
    columns, first = [], 0
    for column in strata.T:
        code = np.unique(column, return_inverse=True)[1]
        columns.append(code + first)
        first += int(code.max()) + 1
    places = (np.tile(group, len(columns)), np.concatenate(columns))
    table = sparse.csr_matrix((np.ones(len(places[0])), places), shape=(int(group.max()) + 1, first))
    table.sum_duplicates()
    table.sort_indices()
    return table
