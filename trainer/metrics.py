"""Scores over rows of predictions, by scikit-learn: never a mean over batches."""

from collections.abc import Callable

import numpy as np

from trainer.errors import CompetitionError, TrainingError

METRICS = ("accuracy", "macro_f1", "roc_auc", "log_loss")
# Those that look at the most probable class alone, so that a file of class names can be scored by them.
OF_CLASSES = ("accuracy", "macro_f1")
# True where a larger score is the better one.
HIGHER_IS_BETTER: dict[str, bool] = {"accuracy": True, "macro_f1": True, "roc_auc": True, "log_loss": False}


def score(metric: str, targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The score of `probabilities` on `targets`, over all rows at once.

    Args:
        metric: `accuracy` or `macro_f1`, both of the most probable class, the first of equals; `roc_auc`, of the second of
            two classes, or the mean over more classes of each against the rest; `log_loss`, natural logarithm, probabilities
            clipped to float64's precision.
        targets: (n,) integer class indices, each below the number of classes; or (n, classes) bool, for images of any number
            of classes: an image is then of those at 0.5 and more, `accuracy` is the share of images with all of them right,
            and `log_loss` the mean over classes, too.
        probabilities: (n, classes) values in 0 to 1, each row summing to 1 where each image is of one class.

    Raises:
        CompetitionError: an unknown metric.
        TrainingError: `roc_auc` of rows that lack a class.
    """
    scorers: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "accuracy": _accuracy,
        "macro_f1": _macro_f1,
        "roc_auc": _roc_auc,
        "log_loss": _log_loss,
    }
    if metric not in scorers:
        raise CompetitionError(f"metric = {metric!r}: must be one of {', '.join(METRICS)}")
    return float(scorers[metric](targets, probabilities))


def better(metric: str, value: float, than: float | None) -> bool:
    """Whether `value` is a better score than `than`; any is better than none. The metric may be `loss`, too."""
    if than is None:
        return True
    return value > than if HIGHER_IS_BETTER.get(metric, False) else value < than


def decided(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The classes that probabilities stand for, in the form of `targets`."""
    return probabilities >= 0.5 if targets.ndim == 2 else probabilities.argmax(axis=1)


def _accuracy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(targets, decided(targets, probabilities)))


def _macro_f1(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    labels = None if targets.ndim == 2 else np.arange(probabilities.shape[1])
    return float(f1_score(targets, decided(targets, probabilities), labels=labels, average="macro", zero_division=0))


def _roc_auc(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    classes = probabilities.shape[1]
    is_one = targets if targets.ndim == 2 else targets[:, None] == np.arange(classes)
    lacking = np.flatnonzero(~is_one.any(axis=0) | (targets.ndim == 2) & is_one.all(axis=0))
    if len(lacking):
        raise TrainingError(
            f"roc_auc: none, or all, of these {len(targets)} rows are of class {lacking[0]} (in the order of `classes`): take "
            "fewer folds, or leave folds.file to the folds step, which gives every fold every class where it can"
        )
    if classes == 2 and targets.ndim == 1:
        return float(roc_auc_score(targets, probabilities[:, 1]))
    each = [roc_auc_score(is_one[:, k], probabilities[:, k]) for k in range(classes)]
    return float(np.mean(each))


def _log_loss(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import log_loss

    # float32 rows sum to 1 within 1e-6, which scikit-learn warns of.
    exact = probabilities.astype(np.float64)
    if targets.ndim == 2:
        return float(log_loss(targets.ravel(), exact.ravel(), labels=[False, True]))
    return float(log_loss(targets, exact / exact.sum(axis=1, keepdims=True), labels=np.arange(probabilities.shape[1])))
