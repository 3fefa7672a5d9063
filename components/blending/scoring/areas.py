"""Areas below curves, for many weightings of the same rows at once."""

from typing import NamedTuple

import numpy as np

from trainer.errors import TrainingError
from trainer.metrics.names import rate


class _Points(NamedTuple):
    """Where a curve bends along the rows, highest value first: at the end of each run of equal
    values that contains a row of the class, right before that run, and at the last row.

    Attributes:
        order: (n,) row indices, highest value first.
        ones: (ones,) the row indices of the class, in the same order.
        ends: (k,) positions of the bends in `order`.
        upto: (k,) how many of `ones` are at or before each bend.
    """

    order: np.ndarray
    ones: np.ndarray
    ends: np.ndarray
    upto: np.ndarray


def _points(is_one: np.ndarray, values: np.ndarray) -> _Points:
    order = np.argsort(-values, kind="stable")
    descending = values[order]
    run_ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))
    upto = np.cumsum(is_one[order])[run_ends]
    rises = np.diff(upto, prepend=0) > 0
    bends = np.flatnonzero(rises | np.append(rises[1:], True))
    return _Points(order, order[is_one[order]], run_ends[bends], upto[bends])


def _running(points: _Points, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of the class's rows and of all other rows up to each bend, each
    (resamples, k)."""
    all_rows = np.cumsum(counts[:, points.order], axis=1)[:, points.ends]
    ones = np.cumsum(counts[:, points.ones], axis=1)
    of_class = np.concatenate([np.zeros((len(counts), 1)), ones], axis=1)[:, points.upto]
    return of_class, all_rows - of_class


def areas(metric: str, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a rank metric of one class: trapezia under the ROC curve, or steps under the
    precision-recall curve.

    Args:
        metric: the rank metric.
        ones: (resamples, k) counts of the class's rows up to each bend.
        others: (resamples, k) counts of all other rows up to each bend.

    Returns:
        (resamples,) scores; not finite if a resample lacks rows of either kind.
    """
    positives, negatives = ones[:, -1], others[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "average_precision":
            precision = share(ones, ones + others)
            return np.where(
                negatives > 0, (_steps(ones) * precision).sum(axis=1) / positives, np.nan
            )
        if metric == "roc_auc":
            doubled = (_steps(others) * (2 * ones - _steps(ones))).sum(axis=1)
            return np.asarray(doubled / (2 * positives * negatives))
        lowest = rate(metric)
        true, false = ones / positives[:, None], others / negatives[:, None]
        rise, run = _steps(true), _steps(false)
        low = np.maximum(true - rise, lowest)
        width = np.maximum(true - low, 0)
        middle = low + width / 2
        # The curve is straight between two bends: take its false-positive rate midway along the
        # part above `lowest`.
        false_at_middle = false - run * share(true - middle, rise)
        return np.asarray((width * (1 - false_at_middle)).sum(axis=1)) + np.where(
            negatives > 0, 0, np.nan
        )


def _steps(running: np.ndarray) -> np.ndarray:
    return np.diff(running, axis=1, prepend=0)


def area(is_one: np.ndarray, values: np.ndarray) -> float:
    """Return the area under the ROC curve, exact for float32 values, by one sort without an index,
    which is ten times as fast.

    Non-negative float32 values sort like the integers of their bits. That leaves the sign bit free
    to mark rows of the class. The Mann-Whitney statistic is then a sum of positions, minus half of
    each tie.

    Args:
        is_one: (n,) bool, with both values present.
        values: (n,) non-negative; rounded to float32.

    Raises:
        TrainingError: all rows are of one kind.
    """
    keys = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32) << 1
    keys |= is_one
    keys.sort()
    positions = np.flatnonzero(keys & 1)
    ones, others = len(positions), len(keys) - len(positions)
    below = int(positions.sum()) - ones * (ones - 1) // 2
    # In a tie of both kinds, the other rows come first, directly followed by the first row of the
    # class.
    tie_positions = positions[keys[np.maximum(positions - 1, 0)] + 1 == keys[positions]]
    if not ones or not others:
        raise TrainingError(
            f"roc_auc: none or all of these {len(keys)} rows belong to one class: use fewer folds"
        )
    tied = 0
    if len(tie_positions):
        value = keys[tie_positions]
        tied = int(
            (
                (np.searchsorted(keys, value, "right") - tie_positions)
                * (tie_positions - np.searchsorted(keys, value - 1, "left"))
            ).sum()
        )
    return (below - tied / 2) / (ones * others)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, 0 where whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)
