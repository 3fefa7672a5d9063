"""The numbers of the report that blending did not make already: where the blend errs, and what the
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
from trainer.metrics import OF_CLASSES, score

_BINS = 4
_MOST_VALUES = 12
_MOST_ROWS = 20
# Libraries that the numbers of a report depend on.
_LIBRARIES = ("foldline", "numpy", "pandas", "scikit-learn", "scipy")


def per_class(
    is_one: np.ndarray, decided: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class, with how many images are of it and were taken for it.

    Args:
        is_one, decided: (n, classes) bool.
    """
    right, there, taken = (is_one & decided).sum(axis=0), is_one.sum(axis=0), decided.sum(axis=0)
    return [
        {
            "name": name,
            "images": int(there[k]),
            "taken": int(taken[k]),
            "precision": float(right[k] / taken[k]) if taken[k] else None,
            "recall": float(right[k] / there[k]) if there[k] else None,
            "f1": float(2 * right[k] / (there[k] + taken[k])) if there[k] + taken[k] else None,
        }
        for k, name in enumerate(classes)
    ]


def confused(
    targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The pairs of classes that were taken for each other most often, the commonest first; (n,)
    class indices."""
    wrong = targets != predicted
    pairs, counts = np.unique(
        np.stack([targets[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[:_MOST_ROWS]
    there = np.bincount(targets, minlength=len(classes))
    return [
        {
            "truth": classes[pairs[place, 0]],
            "predicted": classes[pairs[place, 1]],
            "images": int(counts[place]),
            "share": float(counts[place] / there[pairs[place, 0]]),
        }
        for place in order
    ]


class Scored:
    """The out-of-fold rows, to be scored in parts: (n, classes) probabilities, and what was
    decided, bool."""

    def __init__(
        self, metric: str, targets: np.ndarray, probabilities: np.ndarray, decided: np.ndarray
    ) -> None:
        is_one = targets if targets.ndim == 2 else targets[:, None] == np.arange(decided.shape[1])
        self.metric, self.targets, self.wrong = metric, targets, (is_one != decided).any(axis=1)
        # What was decided may have been decided by thresholds.
        self.told = decided.astype(np.float64) if metric in OF_CLASSES else probabilities

    def of(self, name: str, rows: np.ndarray, **more: Any) -> dict[str, Any]:
        """A line: how many rows, the share that is wrong, and the score where these rows have
        one."""
        try:
            value: float | None = score(self.metric, self.targets[rows], self.told[rows])
        except TrainingError:
            value = None  # a metric of ranks, and a class is lacking here
        return {
            "name": name,
            "images": int(rows.sum()),
            "wrong": float(self.wrong[rows].mean()),
            "score": value,
            **more,
        }


def by_column(scored: Scored, values: pd.Series, *, numeric: bool) -> list[dict[str, Any]]:
    """The score in the quarters of a number, or at each of the commonest values of a text; missing
    values by themselves."""
    missing = (values.isna() if numeric else values == "").to_numpy()
    found = []
    if numeric:
        known = values[~missing].astype(float)
        edges = (
            np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
            if len(known)
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
                found.append(scored.of(f"{low:g} to {high:g}" if low < high else f"{low:g}", rows))
    else:
        counts = (
            values[~missing].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        )
        for value in counts.index[:_MOST_VALUES]:
            found.append(scored.of(str(value), (values == value).to_numpy()))
        rest = ~missing & ~values.isin(counts.index[:_MOST_VALUES]).to_numpy()
        if rest.any():
            found.append(scored.of(f"{len(counts) - _MOST_VALUES} others", rest))
    if missing.any():
        found.append(scored.of("missing", missing))
    return found


def by_group(scored: Scored, group: pd.Series) -> dict[str, Any] | None:
    """The score by how many images a group has, and the groups with most errors; None where there
    are no groups."""
    named = (group != "").to_numpy()
    if not named.any():
        return None
    size = group.map(group[named].value_counts()).fillna(1).to_numpy()
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
    errors = pd.Series(scored.wrong[named]).groupby(group.to_numpy()[named]).agg(["sum", "size"])
    worst = errors[errors["sum"] > 0].sort_values(
        ["sum", "size"], ascending=[False, True], kind="stable"
    )[:10]
    return {
        "groups": int(group[named].nunique()),
        "sizes": sizes,
        "worst": [
            {"name": str(name), "wrong": int(row["sum"]), "images": int(row["size"])}
            for name, row in worst.iterrows()
        ],
    }


def duplicate_sets(train: pd.DataFrame) -> list[list[str]]:
    """The ids of images that are identical, the largest sets first."""
    many = train[train["sha256"].duplicated(keep=False)]
    sets = [group["id"].tolist() for _, group in many.groupby("sha256", sort=True)]
    return sorted(sets, key=lambda ids: (-len(ids), ids))[:_MOST_ROWS]


def durations(
    history: pd.DataFrame, tasks: Sequence[Mapping[str, Any]], price: float
) -> dict[str, Any]:
    """What training took, a member: hours of a task, its device, and what that cost.

    Args:
        history: member, fold, seconds (since the fold began), an epoch a row.
        tasks: of the blend's manifest, a training task each.
        price: of an hour of a task's machine, 0 where it was not given.
    """
    last = history.groupby(["member", "fold"], sort=False)["seconds"].max()
    members: list[dict[str, Any]] = []
    for member, seconds in last.groupby("member", sort=False):
        own = [task for task in tasks if task["member"] == member]
        hours = float(seconds.sum()) / 3600
        members.append(
            {
                "name": str(member),
                "devices": sorted({str(task["device"]) for task in own}),
                "parameters": int(own[0]["parameters"]) if own else 0,
                "folds": len(seconds),
                "hours": hours,
                "minutes_a_fold": float(seconds.mean()) / 60,
                "cost": hours * price,
            }
        )
    total = sum(float(one["hours"]) for one in members)
    return {"members": members, "hours": total, "price": price, "cost": total * price}


def versions(tasks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The libraries of this step and of training, by name."""
    found = {"Python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _LIBRARIES}
    for task in tasks:
        found |= task["libraries"]
    return found


def digests(records: str | Path, blended: str | Path, submission: str | Path) -> dict[str, str]:
    """sha256 of what the run made, so that a result is known again."""
    paths = {
        "records": Path(records) / MANIFEST,
        "out-of-fold predictions": Path(blended) / tables.OOF_CSV,
        "submission": Path(submission),
    }
    return {name: sha256(path) for name, path in paths.items()}
