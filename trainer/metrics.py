"""Scores over rows of predictions, by scikit-learn: never a mean over batches."""

from collections.abc import Callable

import numpy as np

from trainer.competition import METRICS
from trainer.errors import CompetitionError

# True where a larger score is the better one.
HIGHER_IS_BETTER: dict[str, bool] = {"accuracy": True, "macro_f1": True}


def score(metric: str, targets: np.ndarray, probabilities: np.ndarray) -> float:
    """The score of `probabilities` on `targets`, over all rows at once.

    Args:
        metric: `accuracy` or `macro_f1`; both take the most probable class, the first of equals.
        targets: (n,) integer class indices, each below the number of classes.
        probabilities: (n, classes) values in 0 to 1, each row summing to 1.

    Raises:
        CompetitionError: an unknown metric.
    """
    scorers: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "accuracy": _accuracy,
        "macro_f1": _macro_f1,
    }
    if metric not in scorers:
        raise CompetitionError(f"metric = {metric!r}: must be one of {', '.join(METRICS)}")
    return float(scorers[metric](targets, probabilities))


def _accuracy(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(targets, probabilities.argmax(axis=1)))


def _macro_f1(targets: np.ndarray, probabilities: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    classes = np.arange(probabilities.shape[1])
    return float(f1_score(targets, probabilities.argmax(axis=1), labels=classes, average="macro", zero_division=0))
