"""Scores of rows with repeat counts, for resampling and selection, which need thousands of them.

`trainer/metrics/scores.py` defines the scores. Here the same numbers are computed from sums over
rows, a table of decisions, or running counts along the sorted rows, for many resamples at a time.
Tests check that both agree."""

from collections.abc import Callable

import numpy as np

from components.blending.scoring.areas import _points, _running, area, areas, share
from trainer.metrics.candidates import Candidates, Targets, count_of, truth_of
from trainer.metrics.names import OF_CLASSES
from trainer.metrics.scores import BINS, bins, confidence, decided, log_of

# (resamples, n) counts of each row -> (resamples,) scores. A mean over classes covers the classes
# that a resample contains; it is NaN if there are none.
Counted = Callable[[np.ndarray], np.ndarray]


def counted(
    metric: str,
    targets: Targets,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> Counted:
    """Return a scorer of these rows, with everything precomputed that does not depend on counts.

    Args:
        metric: as for `trainer.metrics.scores.score`.
        targets: as for `trainer.metrics.scores.score`.
        probabilities: as for `trainer.metrics.scores.score`.
        thresholds: as for `trainer.metrics.scores.score`.
    """
    if metric == "calibration_error":
        return _calibration_error(targets, probabilities)
    if (values := row_values(metric, targets, probabilities, thresholds)) is not None:
        return lambda counts: counts @ values / counts.sum(axis=1)
    if metric in OF_CLASSES:
        return _class_scores(
            metric,
            truth_of(targets),
            decided(targets, probabilities, thresholds),
            count_of(targets, probabilities),
        )
    assert not isinstance(targets, Candidates), metric
    return _rank_score(metric, targets, probabilities)


def row_values(
    metric: str,
    targets: Targets,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return each row's contribution to a metric that is a mean over rows: (n,) float64; None for
    any other metric."""
    if metric == "accuracy":
        correct = decided(targets, probabilities, thresholds) == truth_of(targets)
        return (correct.all(axis=1) if targets.ndim == 2 else correct).astype(np.float64)
    if metric not in ("log_loss", "brier"):
        return None
    if isinstance(targets, Candidates):
        assert metric == "log_loss", metric
        return -log_of(probabilities[np.arange(len(targets)), targets.column])
    exact = probabilities.astype(np.float64)
    if targets.ndim == 2:
        true_probability = np.where(targets, exact, 1 - exact)
        return (
            -log_of(true_probability).mean(axis=1)
            if metric == "log_loss"
            else ((1 - true_probability) ** 2).mean(axis=1)
        )
    exact = exact / exact.sum(axis=1, keepdims=True)
    true_probability = exact[np.arange(len(targets)), targets]
    if metric == "log_loss":
        return -log_of(true_probability)
    if exact.shape[1] == 2:
        return (1 - true_probability) ** 2
    return (exact**2).sum(axis=1) - 2 * true_probability + 1


def _calibration_error(targets: Targets, probabilities: np.ndarray) -> Counted:
    confidences, correct = confidence(targets, probabilities.astype(np.float64))
    rows, columns = confidences.shape
    gaps = np.zeros((rows, columns * BINS))
    for column in range(columns):
        gaps[np.arange(rows), column * BINS + bins(confidences[:, column])] = (
            confidences[:, column] - correct[:, column]
        )
    return lambda counts: np.abs(counts @ gaps).sum(axis=1) / (counts.sum(axis=1) * columns)


def of_decisions(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Return a metric of decided classes, each row counting once.

    Args:
        metric: a metric of decided classes.
        targets: (n,) class indices.
        predicted: (n,) class indices.
        classes: number of classes.
    """
    if metric == "accuracy":
        return float((targets == predicted).mean())
    return float(_class_scores(metric, targets, predicted, classes)(np.ones((1, len(targets))))[0])


def _class_scores(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> Counted:
    """Return a scorer from three counts per class: rows decided correctly, rows decided for the
    class, and rows of the class."""
    if metric == "quadratic_kappa":
        cell = targets * classes + predicted
        return lambda counts: _kappa(
            _binned_counts(cell, counts, classes * classes).reshape(-1, classes, classes)
        )
    only_second = metric in ("f1", "precision", "recall") and targets.ndim == 1 and classes == 2
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
        correct, decided_count, class_count = sums(counts)
        denominator = {"precision": decided_count, "recall": class_count}.get(metric)
        per_class = (
            share(correct, denominator)
            if denominator is not None
            else share(2 * correct, decided_count + class_count)
        )
        if only_second:
            return per_class[:, 1]
        if metric == "weighted_f1":
            return share((per_class * class_count).sum(axis=1), class_count.sum(axis=1))
        # Exclude a class that a resample lacks. One that no row has counts as in the score of all
        # rows.
        included = (class_count > 0) | absent
        return share((per_class * included).sum(axis=1), included.sum(axis=1))

    absent = sums(np.ones((1, len(targets))))[2][0] == 0
    return scores


def _decisions(
    targets: np.ndarray, predicted: np.ndarray, classes: int
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    hit = targets == predicted
    hits = targets[hit]

    def sums(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            _binned_counts(hits, counts[:, hit], classes),
            _binned_counts(predicted, counts, classes),
            _binned_counts(targets, counts, classes),
        )

    return sums


def _binned_counts(cell: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """Return the sums of the rows' counts in each cell: (resamples, size).

    Args:
        cell: (n,) the cell of each row, in 0 to size - 1.
        counts: (resamples, n).
        size: number of cells.
    """
    return np.stack([np.bincount(cell, weights=row, minlength=size) for row in counts])


def _kappa(table: np.ndarray) -> np.ndarray:
    """Return the kappa of (resamples, truth, decided) counts with squared distances (Cohen,
    Weighted Kappa, 1968)."""
    size = table.shape[-1]
    distance = (np.arange(size)[:, None] - np.arange(size)) ** 2
    total = table.sum(axis=(1, 2))
    expected = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :] / total[:, None, None]
    observed, chance = (table * distance).sum(axis=(1, 2)), (expected * distance).sum(axis=(1, 2))
    return np.where(chance > 0, 1 - share(observed, chance), 0.0)


def _rank_score(metric: str, targets: np.ndarray, probabilities: np.ndarray) -> Counted:
    """Return a scorer by a rank metric."""
    prepared = [_points(is_one, values) for is_one, values in of_each(targets, probabilities)]

    def scores(counts: np.ndarray) -> np.ndarray:
        total, terms = np.zeros(len(counts)), np.zeros(len(counts))
        for points in prepared:
            area = areas(metric, *_running(points, counts))
            finite = np.isfinite(area)
            total[finite] += area[finite]
            terms += finite
        with np.errstate(invalid="ignore"):
            return np.asarray(total / np.where(terms > 0, terms, np.nan))

    return scores


def of_each(targets: np.ndarray, probabilities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs (row is of the class, its probability), each (n,) bool and (n,) float, for the
    second of two exclusive classes or for every class."""
    classes = (
        range(1, 2)
        if targets.ndim == 1 and probabilities.shape[1] == 2
        else range(probabilities.shape[1])
    )
    return [
        (targets[:, k] if targets.ndim == 2 else targets == k, probabilities[:, k]) for k in classes
    ]


def evaluator(metric: str, targets: Targets) -> Callable[[np.ndarray], float]:
    """Return a scorer of successive predictions for the same rows, each row counting once, as
    selection needs it.

    Predictions are non-negative (n, classes) floats; for a rank metric they may be any multiple of
    probabilities."""
    if metric == "roc_auc":
        assert not isinstance(targets, Candidates)
        known = targets

        def mean_area(probabilities: np.ndarray) -> float:
            pairs = of_each(known, probabilities)
            # Rows without a fold may lack a rare class.
            areas = [area(*pair) for pair in pairs if pair[0].any() and not pair[0].all()]
            return float(np.mean(areas)) if areas else 0.5

        return mean_area
    once = np.ones((1, len(targets)))
    return lambda probabilities: float(
        np.nan_to_num(counted(metric, targets, probabilities)(once)[0], nan=0.5)
    )
