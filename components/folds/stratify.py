"""Assign rows to folds: groups stay together, strata are spread as evenly as the groups allow."""

import numpy as np
from scipy import sparse

from components.folds.coverage import covering

# Weight of a further stratum, or of the size of a fold, relative to the class.
_MINOR = 0.01
# The first pass assigns the groups, the others move them.
_PASSES = 6
# Cost of a fold that has no row of a class: more than any unevenness.
_EMPTY = 10.0
# Only classes with at most this many groups per fold are at risk of that.
_FEW = 4


def assign(strata: np.ndarray, groups: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Assign a fold to each row.

    Groups stay together, and every stratum is spread as evenly as the groups allow. Groups are
    ordered by size, large ones first, then by how rare their strata are, then by the seed. Each
    group in turn goes to the fold where it raises the sum of squared deviations from an even spread
    the least; then each is considered again and moved if that lowers the sum, until none moves. The
    deviation of a category is measured against its total, so a rare class weighs as much as a
    common one: adding c rows to the h rows that a fold has of a category of n raises its term by
    ((h + c)² - h²) / n, or, without what is the same for all folds, 2 h c / n. A fold that has no
    row of a class takes precedence over all that; if such moves leave a class uncovered somewhere,
    a search over all assignments follows. Ties go to the lowest fold.

    Time grows with the number of groups, memory with rows and categories: a million rows in 100,000
    groups take seconds.

    Args:
        strata: (n, s) integer codes. The first column is the class; further columns, and the sizes
            of the folds, weigh a hundredth of it, and so decide among folds that are alike in the
            class.
        groups: (n,) labels of any one type; the rows of a group get the same fold.
        count: the number of folds.
        seed: the seed of the order among groups of the same size.

    Returns:
        (n,) int64 folds, 0 to count - 1.
    """
    group = np.unique(groups, return_inverse=True)[1]
    composition = _composition(strata, group)
    rows_of = np.bincount(group)
    classes = len(np.unique(strata[:, 0]))
    # A class with fewer groups than folds cannot be in every fold.
    groups_of = np.bincount(composition.indices, minlength=composition.shape[1])
    at_risk = (groups_of >= count) & (groups_of <= _FEW * count)
    at_risk[classes:] = False
    weight = 1 / np.asarray(composition.sum(axis=0)).ravel()
    weight[classes:] *= _MINOR
    shuffled = np.random.default_rng(seed).permutation(len(rows_of))
    # Process groups of one kind together; otherwise the next class could not even out what one
    # class leaves uneven.
    kind = composition.indices[composition.indptr[:-1]]
    rarity = composition @ weight
    order = shuffled[np.lexsort((kind[shuffled], -rarity[shuffled], -rows_of[shuffled]))]
    fold_of = np.full(len(rows_of), -1)
    _pass_over(fold_of, order, composition, rows_of, weight, at_risk, count)
    covered = covering(fold_of, composition, at_risk, count)
    if covered is not fold_of:
        # Let other groups even out what was moved for the sake of the classes.
        _pass_over(covered, order, composition, rows_of, weight, at_risk, count)
    return covered[group]


def _pass_over(
    fold_of: np.ndarray,
    order: np.ndarray,
    composition: sparse.csr_matrix,
    rows_of: np.ndarray,
    weight: np.ndarray,
    at_risk: np.ndarray,
    count: int,
) -> None:
    """Assign groups that have no fold (-1), and move those that have one, until none moves.

    Args:
        fold_of: (groups,) int64 fold of each group, changed in place.
        order: (groups,) the groups in the order in which to process them.
        composition: (groups, categories) number of rows of each category in each group.
        rows_of: (groups,) number of rows in each group.
        weight: (categories,) weight of each category.
        at_risk: (categories,) bool: whether a category is a class that a fold might get none of.
        count: the number of folds.
    """
    filled = np.zeros((composition.shape[1], count))
    sizes = np.zeros(count)
    for fold in range(count):
        inside = fold_of == fold
        filled[:, fold] = np.asarray(composition[inside].sum(axis=0)).ravel()
        sizes[fold] = rows_of[inside].sum()
    starts, categories, counts = composition.indptr, composition.indices, composition.data
    minor = _MINOR / rows_of.sum()
    for _ in range(_PASSES):
        moved = False
        for group in order.tolist():
            entries = slice(starts[group], starts[group + 1])
            category, rows = categories[entries], counts[entries]
            before = fold_of[group]
            if before >= 0:
                filled[category, before] -= rows
                sizes[before] -= rows_of[group]
            cost = (rows * weight[category]) @ filled[category] + sizes * (minor * rows_of[group])
            scarce = category[at_risk[category]]
            if len(scarce):
                cost = cost - _EMPTY * (filled[scarce] == 0).sum(axis=0)
            best = int(cost.argmin())
            # Ignore a gain that is only rounding, or groups would move for ever.
            if before >= 0 and cost[before] <= cost[best] + 1e-12:
                best = before
            filled[category, best] += rows
            sizes[best] += rows_of[group]
            fold_of[group] = best
            moved = moved or best != before
        if not moved:
            break


def _composition(strata: np.ndarray, group: np.ndarray) -> sparse.csr_matrix:
    """Return (groups, categories) the number of rows of each category in each group.

    Each column of `strata` has its own categories.
    """
    columns, offset = [], 0
    for column in strata.T:
        code = np.unique(column, return_inverse=True)[1]
        columns.append(code + offset)
        offset += int(code.max()) + 1
    indices = (np.tile(group, len(columns)), np.concatenate(columns))
    table = sparse.csr_matrix(
        (np.ones(len(indices[0])), indices), shape=(int(group.max()) + 1, offset)
    )
    table.sum_duplicates()
    table.sort_indices()
    return table
