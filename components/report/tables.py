"""The numbers of the report that blending has not computed: where the blend errs, and how long the
run took."""

import importlib.metadata
import itertools
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, sha256
from trainer.errors import TrainingError
from trainer.metrics.candidates import Predicted, Targets, TopClasses, decisions, scorable
from trainer.metrics.names import OF_CLASSES
from trainer.metrics.scores import score

# Bins of a numeric column; shown values of a text column; rows of a list.
_BINS = 4
_MOST_VALUES = 12
_MOST_ROWS = 20
# Libraries that the report's numbers depend on.
_LIBRARIES = ("foldline", "numpy", "pandas", "scikit-learn", "scipy")


def per_class(
    targets: np.ndarray, decided: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class, with the number of images of the class and of
    images decided for it.

    Args:
        targets: (n,) class indices, or (n, classes) bool.
        decided: the decided classes, in the form of `targets`.
        classes: class names in order.
    """
    if targets.ndim == 2:
        marked = [(targets & decided), targets, decided]
        correct, of_class, decided_for = (values.sum(axis=0) for values in marked)
    else:
        correct, of_class, decided_for = (
            np.bincount(values, minlength=len(classes))
            for values in (targets[targets == decided], targets, decided)
        )
    return [
        {
            "name": name,
            "images": int(of_class[k]),
            "taken": int(decided_for[k]),
            "precision": float(correct[k] / decided_for[k]) if decided_for[k] else None,
            "recall": float(correct[k] / of_class[k]) if of_class[k] else None,
            "f1": float(2 * correct[k] / (of_class[k] + decided_for[k]))
            if of_class[k] + decided_for[k]
            else None,
        }
        for k, name in enumerate(classes)
    ]


def confused(
    targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the most frequent confusions, pairs of true and predicted class, the most frequent
    first.

    Args:
        targets: (n,) class indices.
        predicted: (n,) class indices.
        classes: class names in order.
    """
    wrong = targets != predicted
    pairs, counts = np.unique(
        np.stack([targets[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[:_MOST_ROWS]
    of_class = np.bincount(targets, minlength=len(classes))
    return [
        {
            "truth": classes[pairs[pair_number, 0]],
            "predicted": classes[pairs[pair_number, 1]],
            "images": int(counts[pair_number]),
            "share": float(counts[pair_number] / of_class[pairs[pair_number, 0]]),
        }
        for pair_number in order
    ]


class Scored:
    """The out-of-fold rows, to be scored in parts.

    Attributes:
        metric: the metric.
        targets: the targets, as the metric takes them.
        wrong: (n,) bool, whether the decision differs from the truth.
        values: (n, classes) what is scored: probabilities, or decisions for a metric of decided
            classes.
    """

    def __init__(
        self, metric: str, targets: np.ndarray, predicted: Predicted, decided: np.ndarray
    ) -> None:
        """
        Args:
            metric: the metric.
            targets: (n,) class indices, or (n, classes) bool.
            predicted: (n, classes) probabilities, or the most probable classes.
            decided: the decided classes, in the form of `targets`.
        """
        wrong = targets != decided
        self.metric, self.wrong = metric, wrong.any(axis=1) if wrong.ndim == 2 else wrong
        # Score the decisions themselves, because thresholds may have been applied.
        self.targets: Targets = targets
        if metric not in OF_CLASSES:
            self.targets, self.values = scorable(predicted, targets)
        elif targets.ndim == 2:
            self.values = decided.astype(np.float64)
        else:
            count = predicted.count if isinstance(predicted, TopClasses) else predicted.shape[1]
            self.targets, self.values = decisions(decided, targets, count)

    def of(self, name: str, rows: np.ndarray, **more: Any) -> dict[str, Any]:
        """Return a line of a table: number of rows, share of errors, and the score, None if these
        rows have none.

        Args:
            name: of the line.
            rows: (n,) bool, the rows.
            more: further cells of the line.
        """
        try:
            value: float | None = score(self.metric, self.targets[rows], self.values[rows])
        except TrainingError:
            value = None  # a rank metric, and these rows lack a class
        return {
            "name": name,
            "images": int(rows.sum()),
            "wrong": float(self.wrong[rows].mean()),
            "score": value,
            **more,
        }


def by_column(scored: Scored, values: pd.Series, *, numeric: bool) -> list[dict[str, Any]]:
    """Return the score by a tabular column: by quarters of a number, or by the most frequent values
    of a text. Missing values have a line of their own.

    Args:
        scored: the n rows.
        values: (n,) the column.
        numeric: whether the column is a number.
    """
    missing = (values.isna() if numeric else values == "").to_numpy()
    lines = []
    if numeric:
        present = values[~missing].astype(float)
        edges = (
            np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)))
            if len(present)
            else np.array([])
        )
        if len(edges) == 1:
            edges = np.repeat(edges, 2)
        for number, (low, high) in enumerate(itertools.pairwise(edges)):
            last = number == len(edges) - 2
            rows = (
                ~missing
                & (values >= low).to_numpy()
                & ((values <= high) if last else (values < high)).to_numpy()
            )
            if rows.any():
                lines.append(scored.of(f"{low:g} to {high:g}" if low < high else f"{low:g}", rows))
    else:
        counts = (
            values[~missing].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        )
        for value in counts.index[:_MOST_VALUES]:
            lines.append(scored.of(str(value), (values == value).to_numpy()))
        rest = ~missing & ~values.isin(counts.index[:_MOST_VALUES]).to_numpy()
        if rest.any():
            lines.append(scored.of(f"{len(counts) - _MOST_VALUES} others", rest))
    if missing.any():
        lines.append(scored.of("missing", missing))
    return lines


def by_group(scored: Scored, group: pd.Series) -> dict[str, Any] | None:
    """Return the score by the group's number of images, and the groups with most errors; None if
    there are no groups.

    Args:
        scored: the n rows.
        group: (n,) group names, "" for an image without a group.
    """
    grouped = (group != "").to_numpy()
    if not grouped.any():
        return None
    size = group.map(group[grouped].value_counts()).fillna(1).to_numpy()
    limits: list[tuple[float, float]] = [(1, 1), (2, 5), (6, 20), (21, np.inf)]
    sizes = []
    for low, high in limits:
        rows = (size >= low) & (size <= high)
        if rows.any():
            name = (
                f"{low:g}"
                if low == high
                else f"{low:g} to {high:g}"
                if np.isfinite(high)
                else f"{low:g} and more"
            )
            sizes.append(scored.of(name, rows))
    errors = (
        pd.Series(scored.wrong[grouped]).groupby(group.to_numpy()[grouped]).agg(["sum", "size"])
    )
    worst = errors[errors["sum"] > 0].sort_values(
        ["sum", "size"], ascending=[False, True], kind="stable"
    )[:10]
    return {
        "groups": int(group[grouped].nunique()),
        "sizes": sizes,
        "worst": [
            {"name": str(name), "wrong": int(row["sum"]), "images": int(row["size"])}
            for name, row in worst.iterrows()
        ],
    }


def duplicate_sets(train: pd.DataFrame) -> list[list[str]]:
    """Return sets of ids of identical images, the largest sets first, at most `_MOST_ROWS`."""
    many = train[train["sha256"].duplicated(keep=False)]
    sets = [group["id"].tolist() for _, group in many.groupby("sha256", sort=True)]
    return sorted(sets, key=lambda ids: (-len(ids), ids))[:_MOST_ROWS]


def durations(
    history: pd.DataFrame, tasks: Sequence[Mapping[str, Any]], price: float
) -> dict[str, Any]:
    """Return training time, devices and cost, by member and in total.

    Args:
        history: one row per epoch, with member, fold and seconds since the fold's start.
        tasks: the entry `tasks` of the blend's manifest, one item per training job.
        price: of an hour of a job's machine, 0 if it is not given.
    """
    last = history.groupby(["member", "fold"], sort=False)["seconds"].max()
    members: list[dict[str, Any]] = []
    for member, seconds in last.groupby("member", sort=False):
        jobs = [task for task in tasks if task["member"] == member]
        hours = float(seconds.sum()) / 3600
        members.append(
            {
                "name": str(member),
                "devices": sorted({str(task["device"]) for task in jobs}),
                "parameters": int(jobs[0]["parameters"]) if jobs else 0,
                "folds": len(seconds),
                "hours": hours,
                "minutes_a_fold": float(seconds.mean()) / 60,
                "cost": hours * price,
            }
        )
    total = sum(float(line["hours"]) for line in members)
    return {"members": members, "hours": total, "price": price, "cost": total * price}


def versions(tasks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions of this step's libraries and of the training jobs', by name."""
    libraries = {"Python": platform.python_version()}
    libraries |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
    for job in tasks:
        libraries |= job["libraries"]
    return libraries


def digests(records: str | Path, blended: str | Path, submission: str | Path) -> dict[str, str]:
    """Return the sha256 of the run's main results, by which they can be recognised."""
    paths = {
        "records": Path(records) / MANIFEST,
        "out-of-fold predictions": Path(blended) / tables.OOF_CSV,
        "submission": Path(submission),
    }
    return {name: sha256(path) for name, path in paths.items()}
