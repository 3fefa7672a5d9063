"""Scores over rows of predictions, by scikit-learn: never a mean over batches."""

import re
from collections.abc import Callable

import numpy as np

from trainer.errors import CompetitionError, TrainingError

# True where a larger score is the better one.
HIGHER_IS_BETTER: dict[str, bool] = {
    "accuracy": True,
    "f1": True,
    "macro_f1": True,
    "weighted_f1": True,
    "precision": True,
    "recall": True,
    "quadratic_kappa": True,
    "roc_auc": True,
    **{f"partial_auc_{percent}": True for percent in range(1, 100)},
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
}
# Those that look at the decided class alone, so that a file of class names can be scored by them.
OF_CLASSES = ("accuracy", "f1", "macro_f1", "weighted_f1", "precision", "recall", "quadratic_kappa")
# Those that look at the order of the rows by the probability of each class.
OF_RANKS = ("roc_auc", "average_precision", "partial_auc_80")
# What a report lists; the true-positive rate of the partial area is free, 80 % is that of ISIC
# 2024.
METRICS = (*OF_CLASSES, *OF_RANKS, "log_loss", "brier", "calibration_error")
# Equal-width bins of the calibration error.
BINS = 15


def problem(metric: str, task: str) -> str | None:
    """What is wrong with a metric for a task, in words; None where it fits."""
    if metric not in HIGHER_IS_BETTER:
        return (
            f"= {metric!r}: must be one of {', '.join(METRICS)}; partial_auc_1 to partial_auc_99"
            " say the true-positive rate"
        )
    if metric == "quadratic_kappa" and task == "multilabel":
        return "= 'quadratic_kappa': goes without task = 'multilabel': its classes have no order"
    return None


def listed(metric: str, task: str) -> list[str]:
    """What a report lists of a competition: its own metric first."""
    others = [name for name in METRICS if name != metric and problem(name, task) is None]
    if task != "binary" and metric != "f1":
        others.remove("f1")  # it is the macro_f1 there
    return [metric, *others]


def score(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> float:
    """The score of `probabilities` on `targets`, over all rows at once.

    Args:
        metric: of the decided classes: `accuracy`; `f1`, `precision` and `recall`, of the second of
            two classes, or the mean over more; `macro_f1`, the mean over classes, also of two;
            `weighted_f1`, weighted by the classes' rows; `quadratic_kappa`, of the classes in their
            order, 0 where chance alone agrees wholly. Of the order of rows, for the second of two
            classes, or the mean over more of each against the rest: `roc_auc`; `average_precision`;
            `partial_auc_80`, the area between the ROC curve and the line of a true-positive rate of
            80 %, 0 to 0.2. Of the probabilities: `log_loss`, natural logarithm, clipped to
            float64's precision; `brier`, the squared error summed over classes, of two classes that
            of the second; `calibration_error`, the mean over rows of the distance between
            confidence and accuracy in 15 bins of equal width (Guo et al., On Calibration of Modern
            Neural Networks, 2017, equation 3), of two classes that of the second one's probability.
        targets: (n,) integer class indices, each below the number of classes; or (n, classes) bool,
            for images of any number of classes: `accuracy` is then the share of images with all
            classes right, and the others are means over classes.
        probabilities: (n, classes) values in 0 to 1, each row summing to 1 where each image is of
            one class.
        thresholds: as `decided` takes them.

    Raises:
        CompetitionError: an unknown metric.
        TrainingError: a metric of ranks, and rows that lack a class.
    """
    scorers: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "roc_auc": lambda is_one, values: _roc_auc(is_one, values),
        "average_precision": lambda is_one, values: _average_precision(is_one, values),
    }
    if metric not in HIGHER_IS_BETTER:
        raise CompetitionError(f"metric {problem(metric, '')}")
    if metric in OF_CLASSES:
        return _of_classes(
            metric, targets, decided(targets, probabilities, thresholds), probabilities.shape[1]
        )
    if metric in scorers or metric.startswith("partial_auc"):
        of_class = scorers.get(metric) or (
            lambda is_one, values: _partial_auc(is_one, values, rate(metric))
        )
        return _over_classes(metric, targets, probabilities, of_class)
    return {"log_loss": _log_loss, "brier": _brier, "calibration_error": _calibration_error}[
        metric
    ](targets, probabilities)


def better(metric: str, value: float, than: float | None) -> bool:
    """Whether `value` is a better score than `than`; any is better than none. The metric may be
    `loss`, too."""
    if than is None:
        return True
    return value > than if HIGHER_IS_BETTER.get(metric, False) else value < than


def decided(
    targets: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray | None = None
) -> np.ndarray:
    """The classes that probabilities stand for, in the form of `targets`.

    Args:
        targets: (n,) or (n, classes), for its form.
        probabilities: (n, classes).
        thresholds: (classes,) or (n, classes), above 0. Of images of any number of classes each
            class is taken from its threshold on, 0.5 where there are none; of one class an image,
            the one that is largest in proportion to its threshold, the first of equals. Of two
            classes thresholds 1 - t and t take the second above t.
    """
    if targets.ndim == 2:
        return probabilities >= (0.5 if thresholds is None else thresholds)
    return (probabilities if thresholds is None else probabilities / thresholds).argmax(axis=1)


def rate(metric: str) -> float:
    """The true-positive rate above which a partial area is taken."""
    found = re.fullmatch(r"partial_auc_(\d+)", metric)
    assert found, metric
    return int(found[1]) / 100


def bins(values: np.ndarray) -> np.ndarray:
    """Which of the 15 bins of the calibration error a value in 0 to 1 lies in; the upper edge
    belongs to it."""
    return np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)


def confidence(targets: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is called confidence, and whether it was right: (n, k) both, k the classes of images of
    any number, else 1.

    Of two classes it is the probability of the second and whether the row is of it; of more the
    largest one."""
    if targets.ndim == 2:
        return probabilities, targets
    if probabilities.shape[1] == 2:
        return probabilities[:, 1:], (targets == 1)[:, None]
    return (
        probabilities.max(axis=1, keepdims=True),
        (probabilities.argmax(axis=1) == targets)[:, None],
    )


def _of_classes(metric: str, targets: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    from sklearn import metrics

    if metric == "accuracy":
        return float(metrics.accuracy_score(targets, predicted))
    if metric == "quadratic_kappa":
        if len(np.union1d(targets, predicted)) < 2:
            return 0.0
        return float(
            metrics.cohen_kappa_score(
                targets, predicted, labels=np.arange(classes), weights="quadratic"
            )
        )
    labels = None if targets.ndim == 2 else np.arange(classes)
    of_one = metric in ("f1", "precision", "recall") and targets.ndim == 1 and classes == 2
    average = "binary" if of_one else "weighted" if metric == "weighted_f1" else "macro"
    function = {"precision": metrics.precision_score, "recall": metrics.recall_score}.get(
        metric, metrics.f1_score
    )
    return float(
        function(
            targets, predicted, labels=None if of_one else labels, average=average, zero_division=0
        )
    )


def _over_classes(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    of_class: Callable[[np.ndarray, np.ndarray], float],
) -> float:
    """The score of the second of two classes; of more, or of any number an image, the mean over
    classes."""
    is_one = targets if targets.ndim == 2 else targets[:, None] == np.arange(probabilities.shape[1])
    lacking = np.flatnonzero(~is_one.any(axis=0) | is_one.all(axis=0))
    if len(lacking):
        raise TrainingError(
            f"{metric}: none, or all, of these {len(targets)} rows are of class {lacking[0]} (in"
            " the order of `classes`): take fewer folds, or leave folds.file to the folds step,"
            " which gives every fold every class where it can"
        )
    if probabilities.shape[1] == 2 and targets.ndim == 1:
        return of_class(is_one[:, 1], probabilities[:, 1])
    return float(
        np.mean(
            [of_class(is_one[:, k], probabilities[:, k]) for k in range(probabilities.shape[1])]
        )
    )


def _roc_auc(is_one: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_one, values))


def _average_precision(is_one: np.ndarray, values: np.ndarray) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_one, values))


def _partial_auc(is_one: np.ndarray, values: np.ndarray, least: float) -> float:
    from sklearn.metrics import roc_auc_score

    # With the classes exchanged, what lies above a true-positive rate is what lies left of a
    # false-positive rate; scikit-learn scales that area (McClish, Analyzing a Portion of the ROC
    # Curve, 1989), and the scaling is undone.
    width = 1 - least
    scaled = float(roc_auc_score(~is_one, -values, max_fpr=width))
    smallest = width * width / 2
    return max(0.0, (2 * scaled - 1) * (width - smallest) + smallest)


def _log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    # float32 rows sum to 1 within 1e-6, which scikit-learn warns of.
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
        return float(
            np.mean(
                [
                    brier_score_loss(is_one, of_class)
                    for is_one, of_class in zip(targets.T, exact.T, strict=True)
                ]
            )
        )
    if probabilities.shape[1] == 2:
        return float(brier_score_loss(targets, exact[:, 1], labels=[0, 1]))
    exact = exact / exact.sum(axis=1, keepdims=True)
    return float(brier_score_loss(targets, exact, labels=np.arange(exact.shape[1])))


def _calibration_error(targets: np.ndarray, probabilities: np.ndarray) -> float:
    told, right = confidence(targets, probabilities.astype(np.float64))
    place = bins(told) + BINS * np.arange(told.shape[1])
    gap = np.bincount(place.ravel(), weights=(told - right).ravel(), minlength=BINS * told.shape[1])
    return float(np.abs(gap).sum() / told.size)
