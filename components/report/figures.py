"""The report's plots."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.html import INK, PALETTE, canvas, svg
from trainer.metrics.names import HIGHER_IS_BETTER

# With more classes, cells have no room for all numbers, and the page lists the errors.
MOST_NUMBERED = 30
# Points of a curve; classes whose curves have a colour and a name.
_POINTS, _NAMED = 150, 8


def learning_curves(history: pd.DataFrame, metric: str) -> str:
    """Plot training and held-out loss, the held-out score, and the learning rate by epoch: one
    colour per member, one thin line per fold.

    Args:
        history: member, fold, epoch, loss, learning_rate; and val_loss and val_<metric> if images
            were held out.
        metric: the competition's metric.

    Returns:
        an `<svg>` element.
    """
    from matplotlib import ticker

    held_out = f"val_{metric}" if f"val_{metric}" in history else ""
    with canvas(1, 3, width=13, height=3.6) as (figure, (loss, score, rates)):
        for colour, (member, rows) in zip(
            itertools.cycle(PALETTE), history.groupby("member", sort=False), strict=False
        ):
            by_epoch = rows.groupby("epoch")
            loss.plot(
                by_epoch["loss"].mean(), color=colour, linestyle=":", label=f"{member}, training"
            )
            rates.plot(by_epoch["learning_rate"].mean(), color=colour, label=str(member))
            if not held_out or rows[held_out].isna().all():
                continue
            loss.plot(by_epoch["val_loss"].mean(), color=colour, label=f"{member}, held out")
            score.plot(by_epoch[held_out].mean(), color=colour, label=str(member))
            for _, fold in rows.groupby("fold"):
                loss.plot(fold["epoch"], fold["val_loss"], color=colour, alpha=0.25, linewidth=0.8)
                score.plot(fold["epoch"], fold[held_out], color=colour, alpha=0.25, linewidth=0.8)
        for axes, title in (
            (loss, "loss"),
            (score, f"held-out {metric}"),
            (rates, "learning rate"),
        ):
            axes.set(title=title, xlabel="epoch")
            if axes.lines:
                axes.legend(frameon=False)
        # Logarithmic, because the large losses of the first epochs would flatten all others.
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.3g"))
        loss.yaxis.set_minor_formatter(ticker.FormatStrFormatter("%.3g"))
        rates.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.2g"))
        rates.set_ylim(0, None)
        if held_out and HIGHER_IS_BETTER[metric]:
            score.set_ylim(max(0.0, float(history[held_out].quantile(0.15)) - 0.005), None)
        return svg(figure)


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    """Plot counts of (truth, prediction), with errors coloured by their share of the truth's row
    and the diagonal uncoloured.

    With more than `MOST_NUMBERED` classes, only errors of at least a tenth of their row have a
    number.

    Args:
        targets: (n,) class indices.
        predicted: (n,) class indices.
        classes: class names in order.

    Returns:
        an `<svg>` element.
    """
    from matplotlib.colors import PowerNorm

    size = len(classes)
    table = np.zeros((size, size), dtype=np.int64)
    np.add.at(table, (targets, predicted), 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    errors = share.copy()
    np.fill_diagonal(errors, 0)
    many = size > MOST_NUMBERED
    side = 2.5 + 0.15 * size if many else min(11.0, 2.2 + 0.42 * size)
    with canvas(1, 1, width=side, height=side) as (figure, axes):
        coloured = np.ma.masked_equal(errors, 0)
        # Scale by the square root, so that one large error does not make all others pale.
        axes.imshow(
            coloured,
            cmap="Oranges",
            norm=PowerNorm(0.5, vmin=0, vmax=max(0.01, float(errors.max()) * 3)),
        )
        small = {"fontsize": 7} if many else {}
        axes.set_xticks(
            range(size),
            _escaped(classes),
            rotation=90 if max(map(len, classes)) > 2 else 0,
            **small,
        )
        axes.set_yticks(range(size), _escaped(classes), **small)
        axes.set(xlabel="prediction", ylabel="truth")
        if many:
            # Grid lines help to find a cell's row and column.
            axes.set_xticks(np.arange(-0.5, size, 5), minor=True)
            axes.set_yticks(np.arange(-0.5, size, 5), minor=True)
            axes.grid(which="minor", color=INK, alpha=0.15, linewidth=0.5)
        for row, column in zip(*np.nonzero(table), strict=True):
            on_colour = errors[row, column] > 0
            if many and (not on_colour or share[row, column] < 0.1):
                continue
            axes.text(
                column,
                row,
                str(table[row, column]),
                ha="center",
                va="center",
                fontsize=6 if many else 9,
                color="#331a00" if on_colour else INK,
                fontweight="bold" if row == column else "normal",
            )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, which="both")
        return svg(figure)


def _escaped(names: Sequence[str]) -> list[str]:
    """Return names as matplotlib can show them.

    Escapes the dollar sign, which starts a formula, and puts a zero-width space before a leading
    underscore, which would hide a line from the legend.
    """
    return [("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def curves(is_one: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """Plot ROC and precision-recall curves of each class against the rest; with two exclusive
    classes, only of the second.

    With more than `_NAMED` classes, only those with the smallest areas under the ROC curve have
    names.

    Args:
        is_one: (n, classes) bool, the classes of each image.
        probabilities: (n, classes) in 0 to 1.
        classes: class names in order.

    Returns:
        an `<svg>` element.
    """
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    drawn = [k for k in range(is_one.shape[1]) if 0 < is_one[:, k].sum() < len(is_one)]
    if is_one.shape[1] == 2 and (is_one.sum(axis=1) == 1).all():
        drawn = [k for k in drawn if k == 1]
    areas = {k: float(roc_auc_score(is_one[:, k], probabilities[:, k])) for k in drawn}
    labelled = sorted(drawn, key=lambda k: areas[k])[:_NAMED]
    colour_of = dict(zip(labelled, itertools.cycle(PALETTE), strict=False))
    with canvas(1, 2, width=11, height=4.6) as (figure, (roc, pr)):
        # Draw the named curves last, on top of the others.
        for k in [*(k for k in drawn if k not in labelled), *reversed(labelled)]:
            style = (
                {"color": colour_of[k], "linewidth": 1.5}
                if k in colour_of
                else {"color": INK, "alpha": 0.15}
            )
            false, true, _ = roc_curve(is_one[:, k], probabilities[:, k])
            precision, recall, _ = precision_recall_curve(is_one[:, k], probabilities[:, k])
            average = average_precision_score(is_one[:, k], probabilities[:, k])
            name = _escaped(classes)[k]
            roc.plot(
                *_thinned(false, true),
                label=f"{name}, area {areas[k]:.3f}" if k in colour_of else None,
                **style,
            )
            pr.plot(
                *_thinned(recall, precision),
                label=f"{name}, average {average:.3f}" if k in colour_of else None,
                **style,
            )
        roc.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
        roc.set(title="ROC", xlabel="false-positive rate", ylabel="true-positive rate")
        pr.set(title="precision and recall", xlabel="recall", ylabel="precision", ylim=(0, 1.03))
        for axes in (roc, pr):
            if drawn:
                axes.legend(frameon=False, fontsize=8)
        return svg(figure)


def _thinned(across: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `_POINTS` points of a curve, evenly spaced along it, with both ends."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    positions = np.unique(
        np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(0, len(across) - 1)
    )
    return across[positions], up[positions]


def reliability(calibration: Mapping[str, Any]) -> str:
    """Plot the share of correct predictions in each bin of confidence, before and after the
    calibration, and the number of predictions in each bin.

    Args:
        calibration: the section of metrics.json.

    Returns:
        an `<svg>` element.
    """
    stages = [stage for stage in ("before", "after") if stage in calibration]
    with canvas(1, 2, width=11, height=4) as (figure, (axes, counts)):
        axes.plot(
            [0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":", label="perfectly calibrated"
        )
        for colour, stage in zip(PALETTE, stages, strict=False):
            points = calibration[stage]["curve"]
            name = f"{stage} calibration" if len(stages) > 1 else "blend"
            error = calibration[stage]["calibration_error"]
            axes.plot(
                [point["confidence"] for point in points],
                [point["accuracy"] for point in points],
                "o-",
                markersize=4,
                color=colour,
                label=f"{name}, error {error:.4f}",
            )
            counts.plot(
                [point["confidence"] for point in points],
                [point["rows"] for point in points],
                "o-",
                markersize=4,
                color=colour,
            )
        axes.set(
            title="reliability",
            xlabel="mean confidence in the bin",
            ylabel="share of correct predictions",
        )
        axes.legend(frameon=False)
        counts.set(title="predictions in the bin", xlabel="mean confidence in the bin")
        counts.set_yscale("log")
        return svg(figure)


def alpha_curve(trace: Sequence[float], metric: str, names: Sequence[str]) -> str:
    """Plot the score of alpha times the first member plus 1 - alpha times the second, as tried by
    `best_alpha`.

    Args:
        trace: the scores, evenly spaced for alpha in 0 to 1.
        metric: the competition's metric.
        names: the two members' names.

    Returns:
        an `<svg>` element.
    """
    with canvas(1, 1, width=6.5, height=3.4) as (figure, axes):
        axes.plot(np.linspace(0, 1, len(trace)), trace, color=PALETTE[0])
        axes.set(
            xlabel=f"alpha: share of {_escaped(names)[0]}, the rest {_escaped(names)[1]}",
            ylabel=metric,
        )
        return svg(figure)


def error_correlation(correlation: Sequence[Sequence[float | None]], names: Sequence[str]) -> str:
    """Plot the correlation of the members' errors.

    Args:
        correlation: (members, members) in -1 to 1, None if undefined; 1 means the same errors.
        names: member names, in the same order.

    Returns:
        an `<svg>` element.
    """
    values = np.array(
        [[np.nan if value is None else value for value in row] for row in correlation], dtype=float
    )
    side = 2.2 + 0.55 * len(names)
    with canvas(1, 1, width=side + 0.6, height=side) as (figure, axes):
        axes.imshow(
            values, cmap="Blues", vmin=min(0.0, float(np.nanmin(values, initial=0))), vmax=1.6
        )
        axes.set_xticks(range(len(names)), _escaped(names), rotation=45, ha="right")
        axes.set_yticks(range(len(names)), _escaped(names))
        for row, column in np.ndindex(*values.shape):
            text = "-" if np.isnan(values[row, column]) else f"{values[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color="#001a33")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return svg(figure)
