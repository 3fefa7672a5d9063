"""Which metrics a report has: the competition's, and others where they are cheap."""

import numpy as np

from components.blending.methods import Rows
from trainer.metrics.candidates import Candidates, Targets
from trainer.metrics.names import candidates_suffice, listed, needs_every_class

# Metrics that nobody asked for are computed for at most this many probabilities, if they sort them
# class by class, and for at most this many classes, if they count pairs of classes: a few seconds.
_MOST_SORTED, _MOST_PAIRED = 20_000_000, 1000


def usable(task: str, rows: Rows) -> list[str]:
    """Return the metrics of the report: the competition's, and others that are cheap."""
    count, classes = rows.predictions.shape[1], rows.classes
    kept = isinstance(rows.targets, Candidates)
    return [
        name
        for name in listed(rows.metric, task)
        if name == rows.metric
        or (
            (candidates_suffice(name) or not kept)
            and _is_cheap(name, count, classes)
            and (not needs_every_class(name) or has_every_class(rows.targets, classes))
        )
    ]


def _is_cheap(metric: str, rows: int, classes: int) -> bool:
    if needs_every_class(metric):
        return rows * classes <= _MOST_SORTED
    return metric != "quadratic_kappa" or classes <= _MOST_PAIRED


def has_every_class(targets: Targets, classes: int) -> bool:
    """Return whether some, but not all rows belong to each class, as metrics of ranks need."""
    if isinstance(targets, Candidates):
        return False  # no metric of ranks is computed for them
    counts = targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=classes)
    return bool(((counts > 0) & (counts < len(targets))).all())
