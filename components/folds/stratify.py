"""Deal rows into folds: groups whole, every stratum spread as evenly as the groups allow."""

import numpy as np
from scipy import sparse

from components.folds.coverage import covering

# What a further stratum, or the size of a fold, weighs beside the class.
_MINOR = 0.01
# The first deals the groups out, the others move them.
_PASSES = 6
# What it costs a fold to have nothing of a class: more than any unevenness.
_EMPTY = 10.0
# Only classes of so few groups a fold are at risk of that.
_FEW = 4


def assign(strata: np.ndarray, groups: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """A fold for each row: groups whole, every stratum spread as evenly as the groups allow.

    The groups, large ones first, among equals those of rare strata, then in seeded order, each go
    to the fold where they raise the sum of squared deviations from an even spread the least; then
    each is taken up again and moved where that lowers the sum, until none moves. A category's
    deviation is measured against its total, so that a rare class weighs as much as a common one:
    adding c rows to the h held of a category of n raises its term by ((h + c)² - h²) / n, or, less
    what is the same for all folds, 2 h c / n. A fold that has nothing of a class comes before all
    that; what such moves leave uncovered is looked for among all assignments. Equals go to the
    lowest fold.

    Time grows with the number of groups, memory with rows and categories: a million rows in 100,000
    groups take seconds.

    Args:
        strata: (n, s) integer codes. The first column is the class; further columns, and the folds'
            sizes, count a hundredth of it, and so decide among folds that are alike in the class.
        groups: (n,) labels of any one type; rows of one group get one fold.
        count: how many folds.
        seed: of the order among groups of one size.

    Returns:
        (n,) int64 folds, 0 to count - 1.
    """
    group = np.unique(groups, return_inverse=True)[1]
    composition = _composition(strata, group)
    rows_of = np.bincount(group)
    classes = len(np.unique(strata[:, 0]))
    # Of fewer groups than folds a class cannot be everywhere.
    groups_of = np.bincount(composition.indices, minlength=composition.shape[1])
    at_risk = (groups_of >= count) & (groups_of <= _FEW * count)
    at_risk[classes:] = False
    weight = 1 / np.asarray(composition.sum(axis=0)).ravel()
    weight[classes:] *= _MINOR
    shuffled = np.random.default_rng(seed).permutation(len(rows_of))
    # Groups of one kind follow each other, or what one class leaves uneven the next could not even
    # out.
    kind = composition.indices[composition.indptr[:-1]]
    rarity = composition @ weight
    order = shuffled[np.lexsort((kind[shuffled], -rarity[shuffled], -rows_of[shuffled]))]
    fold_of = np.full(len(rows_of), -1)
    _pass_over(fold_of, order, composition, rows_of, weight, at_risk, count)
    covered = covering(fold_of, composition, at_risk, count)
    if covered is not fold_of:
        # What was moved for the classes' sake may be evened out again by others.
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
    """Deal groups that have no fold (-1), and move those that have one, until none moves; `fold_of`
    is changed in place."""
    held = np.zeros((composition.shape[1], count))
    sizes = np.zeros(count)
    for fold in range(count):
        inside = fold_of == fold
        held[:, fold] = np.asarray(composition[inside].sum(axis=0)).ravel()
        sizes[fold] = rows_of[inside].sum()
    starts, categories, counts = composition.indptr, composition.indices, composition.data
    minor = _MINOR / rows_of.sum()
    for _ in range(_PASSES):
        moved = False
        for place in order.tolist():
            entries = slice(starts[place], starts[place + 1])
            category, rows = categories[entries], counts[entries]
            before = fold_of[place]
            if before >= 0:
                held[category, before] -= rows
                sizes[before] -= rows_of[place]
            cost = (rows * weight[category]) @ held[category] + sizes * (minor * rows_of[place])
            scarce = category[at_risk[category]]
            if len(scarce):
                cost = cost - _EMPTY * (held[scarce] == 0).sum(axis=0)
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


def _composition(strata: np.ndarray, group: np.ndarray) -> sparse.csr_matrix:
    """(groups, categories) how many rows of each category a group has; each column of `strata` has
    categories of its own."""
    columns, first = [], 0
    for column in strata.T:
        code = np.unique(column, return_inverse=True)[1]
        columns.append(code + first)
        first += int(code.max()) + 1
    places = (np.tile(group, len(columns)), np.concatenate(columns))
    table = sparse.csr_matrix(
        (np.ones(len(places[0])), places), shape=(int(group.max()) + 1, first)
    )
    table.sum_duplicates()
    table.sort_indices()
    return table
