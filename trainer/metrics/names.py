"""The metrics by name: which there are, what they score, and which direction is better."""

import difflib
import re

# True if a larger score is better.
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
# Metrics of the decided classes: they can score a file of class names.
OF_CLASSES = ("accuracy", "f1", "macro_f1", "weighted_f1", "precision", "recall", "quadratic_kappa")
# Metrics of the order of the rows by the probability of each class.
OF_RANKS = ("roc_auc", "average_precision", "partial_auc_80")
# The metrics in a report. The true-positive rate of the partial area can be any; 80 % is that of
# ISIC 2024.
METRICS = (*OF_CLASSES, *OF_RANKS, "log_loss", "brier", "calibration_error")
# Other names of these metrics, in lower case without separators.
_ALIASES = {
    alias: metric
    for metric, *aliases in map(
        str.split,
        (
            "roc_auc auc rocauc aucroc auroc meanauc",
            "accuracy acc categorizationaccuracy categoricalaccuracy top1",
            "log_loss logloss multiclassloss multiclasslogloss crossentropy nll",
            "quadratic_kappa qwk kappa cohenkappa quadraticweightedkappa",
            "macro_f1 f1macro meanf1",
            "f1 f1score",
            "average_precision ap map prauc aucpr",
            "calibration_error ece",
            "partial_auc_80 pauc partialauc",
        ),
    )
    for alias in aliases
}


def problem(metric: str, task: str) -> str | None:
    """Return what is wrong with a metric for a task, or None.

    Args:
        metric: name of the metric.
        task: `multiclass`, `binary` or `multilabel`.
    """
    if metric not in HIGHER_IS_BETTER:
        meant = _ALIASES.get(re.sub("[^a-z0-9]", "", metric.lower()))
        close = [meant] if meant else difflib.get_close_matches(metric, HIGHER_IS_BETTER, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return (
            f"= {metric!r}: must be one of {', '.join(METRICS)}; partial_auc_1 to partial_auc_99"
            f" set the true-positive rate in percent{hint}"
        )
    if metric == "quadratic_kappa" and task == "multilabel":
        return "= 'quadratic_kappa': requires classes in an order, unlike task = 'multilabel'"
    return None


def needs_every_class(metric: str) -> bool:
    """Return whether a metric has no value for rows that lack a class."""
    return metric in OF_RANKS or metric.startswith("partial_auc")


def candidates_suffice(metric: str) -> bool:
    """Return whether a metric can be computed from the most probable classes of each row and the
    true one, without the probabilities of the others."""
    return metric in ("log_loss", "calibration_error") or (
        metric in OF_CLASSES and metric != "quadratic_kappa"
    )


def listed(metric: str, task: str) -> list[str]:
    """Return the metrics that a report lists, the competition's own first."""
    others = [name for name in METRICS if name != metric and problem(name, task) is None]
    if task != "binary" and metric != "f1":
        others.remove("f1")  # equal to macro_f1
    return [metric, *others]


def better(metric: str, value: float, than: float | None) -> bool:
    """Return whether `value` is a better score than `than`; any score is better than None.

    Args:
        metric: name of a metric, or `loss`.
        value: the new score.
        than: the score to compare with, or None.
    """
    if than is None:
        return True
    return value > than if HIGHER_IS_BETTER.get(metric, False) else value < than


def rate(metric: str) -> float:
    """Return the true-positive rate above which a partial area is computed."""
    match = re.fullmatch(r"partial_auc_(\d+)", metric)
    assert match, metric
    return int(match[1]) / 100
