"""The report's plots."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.pages import INK, PALETTE, canvas, svg


def learning_curves(history: pd.DataFrame) -> str:
    """Training and held-out loss, and held-out accuracy, by epoch: a colour a member, a thin line a fold.

    Args:
        history: member, fold, epoch, loss, val_loss, val_accuracy.
    """
    from matplotlib import ticker

    with canvas(1, 2, width=10, height=3.6) as (figure, (loss, accuracy)):
        for colour, (member, rows) in zip(itertools.cycle(PALETTE), history.groupby("member", sort=False), strict=False):
            by_epoch = rows.groupby("epoch")
            loss.plot(by_epoch["loss"].mean(), color=colour, linestyle=":", label=f"{member}, training")
            loss.plot(by_epoch["val_loss"].mean(), color=colour, label=f"{member}, held out")
            accuracy.plot(by_epoch["val_accuracy"].mean(), color=colour, label=str(member))
            for _, fold in rows.groupby("fold"):
                loss.plot(fold["epoch"], fold["val_loss"], color=colour, alpha=0.25, linewidth=0.8)
                accuracy.plot(fold["epoch"], fold["val_accuracy"], color=colour, alpha=0.25, linewidth=0.8)
        for axes, title in ((loss, "loss"), (accuracy, "held-out accuracy")):
            axes.set(title=title, xlabel="epoch")
            axes.legend(frameon=False)
        # The first epochs would press the rest into a line.
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(ticker.FormatStrFormatter("%.3g"))
        loss.yaxis.set_minor_formatter(ticker.FormatStrFormatter("%.3g"))
        accuracy.set_ylim(max(0.0, float(history["val_accuracy"].quantile(0.15)) - 0.005), None)
        return svg(figure)


def confusion_matrix(targets: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> str:
    """Counts of (truth, prediction), coloured by the share of the truth's row; the diagonal is left pale.

    Args:
        targets, predicted: (n,) class indices.
    """
    size = len(classes)
    table = np.zeros((size, size), dtype=np.int64)
    np.add.at(table, (targets, predicted), 1)
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    errors = share.copy()
    np.fill_diagonal(errors, 0)
    side = min(11.0, 2.2 + 0.42 * size)
    with canvas(1, 1, width=side, height=side) as (figure, axes):
        shown = np.ma.masked_equal(errors, 0)
        axes.imshow(shown, cmap="Oranges", vmin=0, vmax=max(0.01, float(errors.max()) * 1.6))
        # A dollar sign would start a formula.
        names = [name.replace("$", r"\$") for name in classes]
        axes.set_xticks(range(size), names, rotation=90 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(range(size), names)
        axes.set(xlabel="prediction", ylabel="truth")
        for row, column in zip(*np.nonzero(table), strict=True):
            on_colour = errors[row, column] > 0
            axes.text(
                column,
                row,
                str(table[row, column]),
                ha="center",
                va="center",
                fontsize=9,
                color="#331a00" if on_colour else INK,
                fontweight="bold" if row == column else "normal",
            )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return svg(figure)
