"""Scores over all rows of predictions, by scikit-learn; never a mean over batches.

scikit-learn is imported where a score needs it.
"""

from collections.abc import Callable

import numpy as np

from trainer.errors import CompetitionError, TrainingError
from trainer.metrics.candidates import Candidates, Targets, columns_of, count_of, truth_of
from trainer.metrics.names import HIGHER_IS_BETTER, OF_CLASSES, candidates_suffice, problem, rate

# Equal-width bins of the calibration error.
BINS = 15


def score(
    metric: str,
    targets: Targets,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
    *,
    present_only: bool = False,
) -> float:
    """Return the score of `probabilities` on `targets`, over all rows at once.

    Metrics of the decided classes:
        accuracy: share of correct rows; with several classes per image, share of images with all
            classes correct.
        f1, precision, recall: of the second of two classes; of more classes, the mean over classes.
        macro_f1: mean of f1 over classes, also for two.
        weighted_f1: mean of f1 over classes, weighted by the rows of each class.
        quadratic_kappa: of the classes in their order; 0 if chance alone gives complete agreement.

    Metrics of the order of the rows, for the second of two classes; of more classes, the mean over
    each against the rest:
        roc_auc: area under the ROC curve.
        average_precision: area under the precision-recall curve, as a sum of steps.
        partial_auc_80: area between the ROC curve and the line of a true-positive rate of 80 %, 0
            to 0.2.

    Metrics of the probabilities:
        log_loss: natural logarithm, clipped to float64's precision.
        brier: squared error summed over classes; of two classes, that of the second.
        calibration_error: mean over rows of the distance between confidence and accuracy in 15 bins
            of equal width (Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3);
            of two classes, that of the second one's probability.

    Args:
        metric: one of the names above; partial_auc_1 to partial_auc_99 are allowed.
        targets: (n,) integer class indices, each below the number of classes; or (n, classes) bool
            for images with any number of classes, for which all metrics but accuracy are means over
            classes; or Candidates, for the metrics that `candidates_suffice` names.
        probabilities: (n, classes) in 0 to 1; if each image has one class, each row sums to 1.
        thresholds: as for `decided`.
        present_only: let a metric of the order of the rows be the mean over the classes that some,
            but not all rows belong to, as the bootstrap does; 0.5 if there is none.

    Raises:
        CompetitionError: the metric is unknown.
        TrainingError: the metric is one of the order of the rows, and the rows lack a class.
    """
    scorers = {"roc_auc": _roc_auc, "average_precision": _average_precision}
    if metric not in HIGHER_IS_BETTER:
        raise CompetitionError(f"metric {problem(metric, '')}")
    if metric in OF_CLASSES:
        return _of_classes(
            metric,
            truth_of(targets),
            decided(targets, probabilities, thresholds),
            count_of(targets, probabilities),
        )
    if metric == "calibration_error":
        return _calibration_error(targets, probabilities)
    if isinstance(targets, Candidates):
        assert candidates_suffice(metric), metric
        return float(-log_of(probabilities[np.arange(len(targets)), targets.column]).mean())
    if metric in scorers or metric.startswith("partial_auc"):
        of_class = scorers.get(metric) or (
            lambda is_one, values: _partial_auc(is_one, values, rate(metric))
        )
        return _over_classes(metric, targets, probabilities, of_class, present_only)
    return {"log_loss": _log_loss, "brier": _brier}[metric](targets, probabilities)


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of probabilities, clipped as scikit-learn's log loss does:
    float64."""
    least = np.finfo(np.float64).eps
    return np.log(np.clip(probabilities.astype(np.float64), least, 1 - least))


def available(
    metric: str,
    targets: Targets,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> float | None:
    """Return the score, as `score` does; None if the rows lack a class that the metric needs."""
    try:
        return score(metric, targets, probabilities, thresholds)
    except TrainingError:
        return None


def decided(
    targets: Targets, probabilities: np.ndarray, thresholds: np.ndarray | None = None
) -> np.ndarray:
    """Return the decided classes, in the form of `targets`; of Candidates, (n,) class indices.

    Args:
        targets: (n,) class indices, (n, classes) bool or Candidates; only the form is used.
        probabilities: (n, classes).
        thresholds: (classes,) or (n, classes), above 0; None for the default. With several classes
            per image, a class is decided if its probability reaches its threshold, by default 0.5.
            With one class per image, the decided class is the one with the largest ratio of
            probability to threshold, the first if several are equal; with two classes and
            thresholds (1-t, t), the second is decided if its probability is above t.
    """
    if targets.ndim == 2:
        return probabilities >= (0.5 if thresholds is None else thresholds)
    columns = (probabilities if thresholds is None else probabilities / thresholds).argmax(axis=1)
    return targets.of(columns) if isinstance(targets, Candidates) else columns


def bins(values: np.ndarray) -> np.ndarray:
    """Return the bin, 0 to 14, of each value in 0 to 1 for the calibration error; a bin includes
    its upper edge."""
    return np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)


def confidence(targets: Targets, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each row, and whether it was right: (n, k) both.

    k is the number of classes with several classes per image, otherwise 1. Of two classes, the
    confidence is the probability of the second, and right means that the row belongs to it; of more
    classes it is the largest probability.

    Args:
        targets: (n,) class indices, (n, classes) bool or Candidates.
        probabilities: (n, classes).
    """
    if not isinstance(targets, Candidates) and targets.ndim == 2:
        return probabilities, targets
    if count_of(targets, probabilities) == 2:
        return probabilities[:, 1:], (columns_of(targets) == 1)[:, None]
    return (
        probabilities.max(axis=1, keepdims=True),
        (probabilities.argmax(axis=1) == columns_of(targets))[:, None],
    )


def _of_classes(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    if metric == "accuracy":
        # scikit-learn takes seconds to import, and computes the same.
        correct = targets == predicted
        return float(np.mean(correct if targets.ndim == 1 else correct.all(axis=1)))
    from sklearn import metrics

    if metric == "quadratic_kappa":
        if len(np.union1d(targets, predicted)) < 2:
            return 0.0
        return float(
            metrics.cohen_kappa_score(
                targets, predicted, labels=np.arange(classes), weights="quadratic"
            )
        )
    labels = None if targets.ndim == 2 else np.arange(classes)
    binary = metric in ("f1", "precision", "recall") and targets.ndim == 1 and classes == 2
    average = "binary" if binary else "weighted" if metric == "weighted_f1" else "macro"
    function = {"precision": metrics.precision_score, "recall": metrics.recall_score}.get(
        metric, metrics.f1_score
    )
    return float(
        function(
            targets, predicted, labels=None if binary else labels, average=average, zero_division=0
        )
    )


def _over_classes(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    of_class: Callable[[np.ndarray, np.ndarray], float],
    present_only: bool,
) -> float:
    """Return the score of the second of two classes; otherwise the mean over classes.

    Args:
        metric: name of the metric, for the error.
        targets: (n,) class indices or (n, classes) bool.
        probabilities: (n, classes).
        of_class: computes the score of one class from (n,) bool and (n,) probabilities.
        present_only: leave out the classes that none or all of the rows belong to.

    Raises:
        TrainingError: none or all of the rows belong to one of the classes.
    """
    is_one = targets if targets.ndim == 2 else targets[:, None] == np.arange(probabilities.shape[1])
    decided = np.logical_and(is_one.any(axis=0), ~is_one.all(axis=0))
    if not present_only and not decided.all():
        raise TrainingError(
            f"{metric}: none or all of these {len(targets)} rows belong to class"
            f" {int(decided.argmin())} (in the order of `classes`): use fewer folds, or remove"
            " folds.file: the folds step puts every class into every fold if it can"
        )
    binary = probabilities.shape[1] == 2 and targets.ndim == 1
    classes = [k for k in ([1] if binary else range(probabilities.shape[1])) if decided[k]]
    scores = [of_class(is_one[:, k], probabilities[:, k]) for k in classes]
    return float(np.mean(scores)) if scores else 0.5


def _roc_auc(is_one: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_one, values))


def _average_precision(is_one: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_one, values))


def _partial_auc(is_one: np.ndarray, values: np.ndarray, least: float) -> float:
    from sklearn.metrics import roc_auc_score

    # With the classes exchanged, the area above a true-positive rate becomes the area left of a
    # false-positive rate. scikit-learn scales that area (McClish, Analyzing a Portion of the ROC
    # Curve, 1989); the scaling is undone here.
    width = 1 - least
    scaled = float(roc_auc_score(~is_one, -values, max_fpr=width))
    smallest = width * width / 2
    return max(0.0, (2 * scaled - 1) * (width - smallest) + smallest)


def _log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    # float32 rows sum to 1 only within 1e-6, and scikit-learn warns about that.
    exact = probabilities.astype(np.float64)
    if targets.ndim == 2:
        return float(log_loss(targets.ravel(), exact.ravel(), labels=[False, True]))
    return float(
        log_loss(
            targets,
            exact / exact.sum(axis=1, keepdims=True),
            labels=np.arange(probabilities.shape[1]),
        )
    )


def _brier(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import brier_score_loss

    exact = probabilities.astype(np.float64)
    if targets.ndim == 2:
        return float(np.mean((exact - targets) ** 2))
    if probabilities.shape[1] == 2:
        return float(brier_score_loss(targets, exact[:, 1], labels=[0, 1]))
    exact = exact / exact.sum(axis=1, keepdims=True)
    return float(brier_score_loss(targets, exact, labels=np.arange(exact.shape[1])))


def _calibration_error(targets: Targets, probabilities: np.ndarray) -> float:
    values, right = confidence(targets, probabilities.astype(np.float64))
    cells = bins(values) + BINS * np.arange(values.shape[1])
    gap = np.bincount(
        cells.ravel(), weights=(values - right).ravel(), minlength=BINS * values.shape[1]
    )
    return float(np.abs(gap).sum() / values.size)
