"""Scores of rows that count any number of times each: what resampling and selection ask for,
thousands of times.

`trainer/metrics.py` is what a score is; here the same numbers are computed from sums over rows, a
table of decisions, or the running counts along the sorted rows, many resamples at a time. Tests
hold that both agree."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from trainer.errors import TrainingError
from trainer.metrics import BINS, OF_CLASSES, bins, confidence, decided, rate

# (resamples, n) how often each row counts -> (resamples,) scores. A mean over classes is one over
# those that a resample has; NaN where it has none.
Counted = Callable[[np.ndarray], np.ndarray]
# The same of several metrics, by name.
CountedAll = Callable[[np.ndarray], dict[str, np.ndarray]]
# Means over rows, or over bins of them.
_OF_ROWS = ("log_loss", "brier", "calibration_error")
# No probability counts for less: the scorer's clipping.
_LEAST = np.finfo(np.float64).eps


def counted(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> Counted:
    """A scorer of these rows, prepared once.

    Args:
        metric, targets, probabilities, thresholds: as `trainer.metrics.score` takes them.
    """
    if metric == "calibration_error":
        return _calibration_error(targets, probabilities)
    if (values := row_values(metric, targets, probabilities, thresholds)) is not None:
        return lambda counts: counts @ values / counts.sum(axis=1)
    if metric in OF_CLASSES:
        return _of_classes(
            metric, targets, decided(targets, probabilities, thresholds), probabilities.shape[1]
        )
    ranks = _of_ranks([metric], targets, probabilities)
    return lambda counts: ranks(counts)[metric]


def counted_all(
    metrics: Sequence[str],
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> CountedAll:
    """A scorer of many metrics, by their names; as `counted`."""
    ranked = [metric for metric in metrics if metric not in OF_CLASSES and metric not in _OF_ROWS]
    ranks = _of_ranks(ranked, targets, probabilities)
    others = {
        metric: counted(metric, targets, probabilities, thresholds)
        for metric in metrics
        if metric not in ranked
    }
    return lambda counts: {
        **{metric: scorer(counts) for metric, scorer in others.items()},
        **ranks(counts),
    }


def row_values(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> np.ndarray | None:
    """(n,) what each row adds to a metric that is a mean over rows; None of one that is not."""
    if metric == "accuracy":
        right = decided(targets, probabilities, thresholds) == targets
        return (right.all(axis=1) if targets.ndim == 2 else right).astype(np.float64)
    if metric not in ("log_loss", "brier"):
        return None
    exact = probabilities.astype(np.float64)
    if targets.ndim == 2:
        of_truth = np.where(targets, exact, 1 - exact)
        return (
            _loss(of_truth).mean(axis=1)
            if metric == "log_loss"
            else ((1 - of_truth) ** 2).mean(axis=1)
        )
    exact = exact / exact.sum(axis=1, keepdims=True)
    of_truth = exact[np.arange(len(targets)), targets]
    if metric == "log_loss":
        return _loss(of_truth)
    if exact.shape[1] == 2:
        return (1 - of_truth) ** 2
    return (exact**2).sum(axis=1) - 2 * of_truth + 1


def _loss(of_truth: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(of_truth, _LEAST, 1 - _LEAST))


def _calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> Counted:
    told, right = confidence(targets, probabilities.astype(np.float64))
    rows, columns = told.shape
    gaps = np.zeros((rows, columns * BINS))
    for column in range(columns):
        gaps[np.arange(rows), column * BINS + bins(told[:, column])] = (
            told[:, column] - right[:, column]
        )
    return lambda counts: np.abs(counts @ gaps).sum(axis=1) / (counts.sum(axis=1) * columns)


def of_decisions(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """A metric of decided classes, each row counting once; (n,) class indices."""
    if metric == "accuracy":
        return float((targets == predicted).mean())
    return float(_of_classes(metric, targets, predicted, classes)(np.ones((1, len(targets))))[0])


def _of_classes(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> Counted:
    """Of the counts of each class: right, decided for it, of it."""
    if metric == "quadratic_kappa":
        place = targets * classes + predicted
        return lambda counts: _kappa(
            _tables(place, counts, classes * classes).reshape(-1, classes, classes)
        )
    of_one = metric in ("f1", "precision", "recall") and targets.ndim == 1 and classes == 2
    if targets.ndim == 1:
        sums = _decisions(targets, predicted, classes)
    else:

        def sums(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return (
                counts @ (targets & predicted).astype(float),
                counts @ predicted.astype(float),
                counts @ targets.astype(float),
            )

    def scores(counts: np.ndarray) -> np.ndarray:
        right, taken, there = sums(counts)
        whole = {"precision": taken, "recall": there}.get(metric)
        each = _share(right, whole) if whole is not None else _share(2 * right, taken + there)
        if of_one:
            return each[:, 1]
        if metric == "weighted_f1":
            return _share((each * there).sum(axis=1), there.sum(axis=1))
        # A class that a resample lacks has no score there; one that all rows lack counts as it does
        # in the score of all rows.
        here = (there > 0) | never
        return _share((each * here).sum(axis=1), here.sum(axis=1))

    never = sums(np.ones((1, len(targets))))[2][0] == 0
    return scores


def _decisions(
    targets: np.ndarray, predicted: np.ndarray, classes: int
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    hit = targets == predicted
    hits = targets[hit]

    def sums(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            _tables(hits, counts[:, hit], classes),
            _tables(predicted, counts, classes),
            _tables(targets, counts, classes),
        )

    return sums


def _tables(place: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """(resamples, size) the summed counts of the rows at each place."""
    return np.stack([np.bincount(place, weights=row, minlength=size) for row in counts])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


def _kappa(table: np.ndarray) -> np.ndarray:
    """Of (resamples, truth, decided) counts: Cohen, Weighted Kappa, 1968, with squared
    distances."""
    size = table.shape[-1]
    distance = (np.arange(size)[:, None] - np.arange(size)) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :] / total[:, None, None]
    observed, chance = (table * distance).sum(axis=(1, 2)), (expected * distance).sum(axis=(1, 2))
    return np.where(chance > 0, 1 - _share(observed, chance), 0.0)


def _of_ranks(metrics: Sequence[str], targets: np.ndarray, probabilities: np.ndarray) -> CountedAll:
    """Several metrics of ranks at once: what they need of each class is counted once."""
    prepared = [_points(is_one, values) for is_one, values in of_each(targets, probabilities)]

    def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
        found = {metric: np.zeros(len(counts)) for metric in metrics}
        known = {metric: np.zeros(len(counts)) for metric in metrics}
        for one in prepared:
            running = _running(one, counts)
            for metric in metrics:
                area = _area(metric, *running)
                here = np.isfinite(area)
                found[metric][here] += area[here]
                known[metric] += here
        with np.errstate(invalid="ignore"):
            return {
                metric: total / np.where(known[metric] > 0, known[metric], np.nan)
                for metric, total in found.items()
            }

    return scores


def of_each(targets: np.ndarray, probabilities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(is of the class, its probability) of the second of two classes, or of each of more; (n,)
    bool and (n,) floats."""
    classes = (
        range(1, 2)
        if targets.ndim == 1 and probabilities.shape[1] == 2
        else range(probabilities.shape[1])
    )
    return [
        (targets[:, k] if targets.ndim == 2 else targets == k, probabilities[:, k]) for k in classes
    ]


class _Points(NamedTuple):
    """Where along the rows, highest value first, a curve bends: at the ends of runs of equal values
    that hold a row of the class, right before them, and at the end.

    order: (n,) the rows. ones: those of them that are of the class, in order. ends: (k,) places of
    the bends. upto: (k,) how many of `ones` are at or before each."""

    order: np.ndarray
    ones: np.ndarray
    ends: np.ndarray
    upto: np.ndarray


def _points(is_one: np.ndarray, values: np.ndarray) -> _Points:
    order = np.argsort(-values, kind="stable")
    along = values[order]
    last = np.flatnonzero(np.append(along[1:] != along[:-1], True))
    upto = np.cumsum(is_one[order])[last]
    rises = np.diff(upto, prepend=0) > 0
    bends = np.flatnonzero(rises | np.append(rises[1:], True))
    return _Points(order, order[is_one[order]], last[bends], upto[bends])


def _running(points: _Points, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(resamples, k) rows of the class and not of it, counted down to each bend."""
    whole = np.cumsum(counts[:, points.order], axis=1)[:, points.ends]
    ones = np.cumsum(counts[:, points.ones], axis=1)
    there = np.concatenate([np.zeros((len(counts), 1)), ones], axis=1)[:, points.upto]
    return there, whole - there


def _area(metric: str, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The score of running counts: trapezia of the ROC curve, steps of the precision-recall
    curve."""
    positives, negatives = ones[:, -1], others[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "average_precision":
            precision = _share(ones, ones + others)
            return np.where(
                negatives > 0, (_steps(ones) * precision).sum(axis=1) / positives, np.nan
            )
        if metric == "roc_auc":
            doubled = (_steps(others) * (2 * ones - _steps(ones))).sum(axis=1)
            return np.asarray(doubled / (2 * positives * negatives))
        least = rate(metric)
        true, false = ones / positives[:, None], others / negatives[:, None]
        risen, run = _steps(true), _steps(false)
        low = np.maximum(true - risen, least)
        width = np.maximum(true - low, 0)
        middle = low + width / 2
        # The curve is straight between two values: its false-positive rate in the middle of what
        # lies above `least`.
        there = false - run * _share(true - middle, risen)
        return np.asarray((width * (1 - there)).sum(axis=1)) + np.where(negatives > 0, 0, np.nan)


def _steps(running: np.ndarray) -> np.ndarray:
    return np.diff(running, axis=1, prepend=0)


def evaluator(metric: str, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """A scorer of one prediction after another on the same rows, each counting once: what a
    selection asks for.

    The predictions may be any multiple of probabilities for a metric of ranks; (n, classes) floats,
    none negative."""
    if metric == "roc_auc":
        return lambda probabilities: float(
            np.mean([area(is_one, values) for is_one, values in of_each(targets, probabilities)])
        )
    once = np.ones((1, len(targets)))
    return lambda probabilities: float(counted(metric, targets, probabilities)(once)[0])


def area(is_one: np.ndarray, values: np.ndarray) -> float:
    """The area under the ROC curve, exact for values in single precision; by one sort without an
    index, ten times as fast.

    A non-negative float32 is in order as the integer of its bits, which leaves the sign's bit free:
    for whether the row is of the class. The Mann-Whitney statistic is then a sum of places, with
    half of each tie taken back.

    Args:
        is_one: (n,) bool, some of either kind.
        values: (n,) none negative; rounded to float32.

    Raises:
        TrainingError: all rows are of one kind.
    """
    keys = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32) << 1
    keys |= is_one
    keys.sort()
    places = np.flatnonzero(keys & 1)
    ones, others = len(places), len(keys) - len(places)
    below = int(places.sum()) - ones * (ones - 1) // 2
    # A tie of both kinds: the others come first, and the first of the class right behind the last
    # of them.
    meeting = places[keys[np.maximum(places - 1, 0)] + 1 == keys[places]]
    if not ones or not others:
        raise TrainingError(
            f"roc_auc: none, or all, of these {len(keys)} rows are of a class: take fewer folds"
        )
    tied = 0
    if len(meeting):
        value = keys[meeting]
        tied = int(
            (
                (np.searchsorted(keys, value, "right") - meeting)
                * (meeting - np.searchsorted(keys, value - 1, "left"))
            ).sum()
        )
    return (below - tied / 2) / (ones * others)
