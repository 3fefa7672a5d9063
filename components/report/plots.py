"""The report's plots."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.pages import INK, PALETTE, canvas, svg
from trainer.metrics import HIGHER_IS_BETTER


def learning_curves(history: pd.DataFrame, metric: str) -> str:
    """Training and held-out loss, the held-out score, and the learning rate, by epoch: a colour a member, a thin line a fold.

    Args:
        history: member, fold, epoch, loss, learning_rate, and where images were held out val_loss and val_<metric>.
        metric: of the competition.
    """
    from matplotlib import ticker

    held_out = f"val_{metric}" if f"val_{metric}" in history else ""
    with canvas(1, 3, width=13, height=3.6) as (figure, (loss, score, rates)):
        for colour, (member, rows) in zip(itertools.cycle(PALETTE), history.groupby("member", sort=False), strict=False):
            by_epoch = rows.groupby("epoch")
            loss.plot(by_epoch["loss"].mean(), color=colour, linestyle=":", label=f"{member}, training")
            rates.plot(by_epoch["learning_rate"].mean(), color=colour, label=str(member))
            if not held_out or rows[held_out].isna().all():
                continue
            loss.plot(by_epoch["val_loss"].mean(), color=colour, label=f"{member}, held out")
            score.plot(by_epoch[held_out].mean(), color=colour, label=str(member))
            for _, fold in rows.groupby("fold"):
                loss.plot(fold["epoch"], fold["val_loss"], color=colour, alpha=0.25, linewidth=0.8)
                score.plot(fold["epoch"], fold[held_out], color=colour, alpha=0.25, linewidth=0.8)
        for axes, title in ((loss, "loss"), (score, f"held-out {metric}"), (rates, "learning rate")):
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
