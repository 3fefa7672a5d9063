"""The report's plots."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.html import INK, PALETTE, canvas, svg
from trainer.metrics import HIGHER_IS_BETTER

# Above, a cell has no room for its number, and the page shows the errors as a list.
MOST_NUMBERED = 30
# Points that a curve is drawn by, and classes that have a name beside theirs.
_POINTS, _NAMED = 150, 8


def learning_curves(history: pd.DataFrame, metric: str) -> str:
    """Training and held-out loss, the held-out score, and the learning rate, by epoch: a colour a
    member, a thin line a fold.

    Args:
        history: member, fold, epoch, loss, learning_rate, and where images were held out val_loss
            and val_<metric>.
        metric: of the competition.
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
        # The first epochs would press the rest into a line.
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.3g"))
        loss.yaxis.set_minor_formatter(ticker.FormatStrFormatter("%.3g"))
        rates.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.2g"))
        rates.set_ylim(0, None)
        if held_out and HIGHER_IS_BETTER[metric]:
            score.set_ylim(max(0.0, float(history[held_out].quantile(0.15)) - 0.005), None)
        return svg(figure)


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    """Counts of (truth, prediction), coloured by the share of the truth's row; the diagonal is left
    pale.

    Of many classes only the errors that are a tenth of their row and more have their number.

    Args:
        targets, predicted: (n,) class indices.
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
        shown = np.ma.masked_equal(errors, 0)
        # By the root, so that one large error does not pale all others.
        axes.imshow(
            shown,
            cmap="Oranges",
            norm=PowerNorm(0.5, vmin=0, vmax=max(0.01, float(errors.max()) * 3)),
        )
        small = {"fontsize": 7} if many else {}
        axes.set_xticks(
            range(size), _plain(classes), rotation=90 if max(map(len, classes)) > 2 else 0, **small
        )
        axes.set_yticks(range(size), _plain(classes), **small)
        axes.set(xlabel="prediction", ylabel="truth")
        if many:
            # Lines by which the eye finds the row and the column.
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


def _plain(names: Sequence[str]) -> list[str]:
    # A dollar sign would start a formula, and an underscore hides a line from the legend: a space
    # without width goes before it.
    return [("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$") for name in names]


def curves(is_one: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """ROC and precision-recall curves of each class against the rest; of two classes, of the
    second.

    Of many classes those with the smallest area under the ROC curve have their names.

    Args:
        is_one: (n, classes) bool. probabilities: (n, classes).
    """
    from sklearn.metrics import (
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    shown = [k for k in range(is_one.shape[1]) if 0 < is_one[:, k].sum() < len(is_one)]
    if is_one.shape[1] == 2 and (is_one.sum(axis=1) == 1).all():
        shown = [k for k in shown if k == 1]
    areas = {k: float(roc_auc_score(is_one[:, k], probabilities[:, k])) for k in shown}
    named = sorted(shown, key=lambda k: areas[k])[:_NAMED]
    colour_of = dict(zip(named, itertools.cycle(PALETTE), strict=False))
    with canvas(1, 2, width=11, height=4.6) as (figure, (roc, pr)):
        # The named ones last, on top of the others.
        for k in [*(k for k in shown if k not in named), *reversed(named)]:
            style = (
                {"color": colour_of[k], "linewidth": 1.5}
                if k in colour_of
                else {"color": INK, "alpha": 0.15}
            )
            false, true, _ = roc_curve(is_one[:, k], probabilities[:, k])
            precision, recall, _ = precision_recall_curve(is_one[:, k], probabilities[:, k])
            average = average_precision_score(is_one[:, k], probabilities[:, k])
            name = _plain(classes)[k]
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
            if shown:
                axes.legend(frameon=False, fontsize=8)
        return svg(figure)


def _thinned(across: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of a curve, evenly along it, both ends among them."""
    along = np.concatenate([[0], np.cumsum(np.abs(np.diff(across)) + np.abs(np.diff(up)))])
    places = np.unique(
        np.searchsorted(along, np.linspace(0, along[-1], _POINTS)).clip(0, len(across) - 1)
    )
    return across[places], up[places]


def reliability(calibration: Mapping[str, Any]) -> str:
    """The share that was right in each bin of confidence, before and after the calibration, and how
    many rows a bin has.

    Args:
        calibration: of metrics.json.
    """
    stages = [stage for stage in ("before", "after") if stage in calibration]
    with canvas(1, 2, width=11, height=4) as (figure, (axes, counts)):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":", label="as it says")
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
            title="reliability", xlabel="mean confidence in the bin", ylabel="share that was right"
        )
        axes.legend(frameon=False)
        counts.set(title="predictions in the bin", xlabel="mean confidence in the bin")
        counts.set_yscale("log")
        return svg(figure)


def alpha_curve(trace: Sequence[float], metric: str, names: Sequence[str]) -> str:
    """The score of alpha times the first member and 1 - alpha times the second, as `best_alpha`
    found it."""
    with canvas(1, 1, width=6.5, height=3.4) as (figure, axes):
        axes.plot(np.linspace(0, 1, len(trace)), trace, color=PALETTE[0])
        axes.set(
            xlabel=f"alpha: share of {_plain(names)[0]}, the rest {_plain(names)[1]}", ylabel=metric
        )
        return svg(figure)


def error_correlation(correlation: Sequence[Sequence[float | None]], names: Sequence[str]) -> str:
    """How the members' errors go together: 1 is the same errors."""
    values = np.array(
        [[np.nan if value is None else value for value in row] for row in correlation], dtype=float
    )
    side = 2.2 + 0.55 * len(names)
    with canvas(1, 1, width=side + 0.6, height=side) as (figure, axes):
        axes.imshow(
            values, cmap="Blues", vmin=min(0.0, float(np.nanmin(values, initial=0))), vmax=1.6
        )
        axes.set_xticks(range(len(names)), _plain(names), rotation=45, ha="right")
        axes.set_yticks(range(len(names)), _plain(names))
        for row, column in np.ndindex(*values.shape):
            text = "-" if np.isnan(values[row, column]) else f"{values[row, column]:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color="#001a33")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return svg(figure)
