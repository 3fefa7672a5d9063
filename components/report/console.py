"""The report's figures for kfp's consoles: a ROC curve, a confusion matrix, and a page of
Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.report.page import OutOfFold, score_rows
from trainer.artifacts import tables

# A console stores the matrix in a row of its database; 65,536 numbers would not fit.
MOST_CLASSES = 128
# Points of a ROC curve; the console draws about as many.
_POINTS = 100


class Roc(NamedTuple):
    """A ROC curve, the strictest threshold first.

    Attributes:
        false: false-positive rates, 0 to 1.
        true: true-positive rates, 0 to 1.
        thresholds: the threshold of each point, all finite.
    """

    false: list[float]
    true: list[float]
    thresholds: list[float]


def roc(oof: OutOfFold) -> Roc | None:
    """Return the ROC curve of the second of two classes, or one curve pooled over all classes; None
    if all pooled targets are equal, or there are too many classes for the report's curves."""
    from sklearn.metrics import roc_curve

    complete = oof.complete()
    if complete is None:
        return None
    binary = oof.targets.ndim == 1 and complete[0].shape[1] == 2
    is_one, values = (array[:, 1] if binary else array.ravel() for array in complete)
    if not 0 < is_one.sum() < len(is_one):
        return None
    false, true, thresholds = roc_curve(is_one, values)
    # The first threshold is infinite, which JSON cannot represent.
    thresholds[0] = 1.0
    positions = np.unique(np.linspace(0, len(false) - 1, _POINTS).astype(int))
    return Roc(false[positions].tolist(), true[positions].tolist(), thresholds[positions].tolist())


def confusion(oof: OutOfFold, count: int) -> list[list[int]] | None:
    """Return (truth, decided) counts; None for no rows, more than `MOST_CLASSES` classes, or images
    with any number of classes; `count` is the number of classes."""
    if oof.targets.ndim == 2 or count > MOST_CLASSES or not len(oof.targets):
        return None
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (oof.targets, oof.decided), 1)
    return [[int(value) for value in row] for row in table]


def markdown(name: str, blended: str | Path, classes: Sequence[str]) -> str:
    """Return score, members and weights as Markdown, for a console's page of a run.

    Args:
        name: the competition's name.
        blended: the folder that blending wrote.
        classes: class names in order.
    """
    scores: dict[str, Any] = json.loads(
        (Path(blended) / tables.METRICS).read_text(encoding="utf-8")
    )
    blend = scores["blend"]
    lines = [f"# {_escaped(name)}", ""]
    if blend["oof"] is None:
        lines += ["Every member is trained on all images: there is nothing to score.", ""]
    else:
        between = (
            ""
            if blend["low"] is None
            else f" (95 % from {blend['low']:.4f} to {blend['high']:.4f})"
        )
        lines += [
            (
                f"**{blend['oof']:.4f}** {scores['metric']} out of fold{between}, {len(classes)}"
                f" classes, by {blend['method']}. On the rows it was fitted on:"
                f" {blend['naive']:.4f}."
            ),
            "",
        ]
        folds = range(len(blend["folds"]))
        lines += [
            "| | " + " | ".join(f"fold {k}" for k in folds) + " | out of fold |",
            "|---|" + "---:|" * (len(folds) + 1),
        ]
        for row in score_rows(scores):
            values = (*row["folds"], row["oof"])
            cells = " | ".join("" if value is None else f"{value:.4f}" for value in values)
            lines.append(f"| {_escaped(row['name'])} | {cells} |")
        lines.append("")
    lines.append(
        "Weights: "
        + ", ".join(
            f"{_escaped(member)} {weight:.3f}" for member, weight in blend["weights"].items()
        )
    )
    lines += ["", *(f"- {_escaped(warning)}" for warning in scores["warnings"])]
    return "\n".join(lines).rstrip() + "\n"


def _escaped(text: str) -> str:
    """Return text with the special characters of Markdown and HTML escaped."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in escaped)
