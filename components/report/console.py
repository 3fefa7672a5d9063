"""The report's figures as kfp's consoles show them: a ROC curve, a confusion matrix, and a page of
Markdown."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.report.page import OutOfFold, score_rows
from trainer.artifacts import tables

# A console keeps the matrix in a row of its database: 65,536 numbers would no longer fit.
MOST_CLASSES = 128
_POINTS = 100


class Roc(NamedTuple):
    """A ROC curve: rates and the thresholds they belong to, from the strictest, all finite."""

    false: list[float]
    true: list[float]
    thresholds: list[float]


def roc(oof: OutOfFold) -> Roc | None:
    """The curve of the second of two classes; of more, every decision about every class in one.
    None where one kind lacks."""
    from sklearn.metrics import roc_curve

    binary = oof.targets.ndim == 1 and oof.is_one.shape[1] == 2
    is_one = oof.is_one[:, 1] if binary else oof.is_one.ravel()
    values = oof.probabilities[:, 1] if binary else oof.probabilities.ravel()
    if not 0 < is_one.sum() < len(is_one):
        return None
    false, true, thresholds = roc_curve(is_one, values)
    # The first threshold is infinite, which is no JSON; the page of the service draws about so many
    # points.
    thresholds[0] = 1.0
    places = np.unique(np.linspace(0, len(false) - 1, _POINTS).astype(int))
    return Roc(false[places].tolist(), true[places].tolist(), thresholds[places].tolist())


def confusion(oof: OutOfFold) -> list[list[int]] | None:
    """(truth, decided) counts; None of many classes, or of any number an image."""
    count = oof.is_one.shape[1]
    if oof.targets.ndim == 2 or count > MOST_CLASSES or not len(oof.targets):
        return None
    table = np.zeros((count, count), dtype=np.int64)
    np.add.at(table, (oof.targets, oof.decided.argmax(axis=1)), 1)
    return [[int(value) for value in row] for row in table]


def markdown(name: str, blended: str | Path, classes: Sequence[str]) -> str:
    """Score, members and weights, as a console shows them beside a run."""
    scores: dict[str, Any] = json.loads(
        (Path(blended) / tables.METRICS).read_text(encoding="utf-8")
    )
    blend = scores["blend"]
    lines = [f"# {_plain(name)}", ""]
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
            cells = " | ".join(f"{value:.4f}" for value in (*row["folds"], row["oof"]))
            lines.append(f"| {_plain(row['name'])} | {cells} |")
        lines.append("")
    lines.append(
        "Weights: "
        + ", ".join(f"{_plain(member)} {weight:.3f}" for member, weight in blend["weights"].items())
    )
    lines += ["", *(f"- {_plain(warning)}" for warning in scores["warnings"])]
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    """Text that means nothing to Markdown or HTML."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in escaped)
