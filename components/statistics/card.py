"""Show the statistics as a page for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.html import PALETTE, canvas, render, svg
from components.statistics.summary import description, kept
from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, read_manifest

# With more bars a chart is unreadable; the page states how many classes it leaves out.
_BARS = 40
_BINS = 40
_TITLES = {
    "width": "width, pixels",
    "height": "height, pixels",
    "aspect": "width / height",
    "bytes": "bytes of the file",
    "brightness": "brightness, 0 to 255",
    "contrast": "contrast, 0 to 128",
}


def write_card(
    found: Mapping[str, Any], records: str | Path, folds_table: str | Path, *, out: str | Path
) -> None:
    """Write the page.

    Args:
        found: the statistics, as `statistics` returns them.
        records: the records folder.
        folds_table: the file `folds.csv`.
        out: the HTML file to write.
    """
    about = read_manifest(records, only=(tables.EXAMPLES,))
    examples = tables.read_examples(records)
    rejects = tables.read_rejects(Path(records) / tables.REJECTS)
    described = description(examples, about)
    fold = tables.fold_of(examples[examples["split"] == "train"], tables.read_folds(folds_table))
    splits = kept(examples, fold)
    page = render(
        Path(__file__).with_name("card.html"),
        found=found,
        counts={split: int(rows.sum()) for split, rows in splits.items()},
        balance=class_balance(found["classes"]),
        left_out=max(0, len(found["classes"]) - _BARS),
        distributions=distributions(described[splits["train"]], described[splits["test"]]),
        differing=[entry for entry in found["drift"] if entry["verdict"] == "different"],
        rejects=int((rejects["split"] == "train").sum()),
        bad_tests=int((rejects["split"] == "test").sum()),
        deep=int((examples["bits"] > 8).sum()),
        white_level=about["white_level"],
    )
    with atomic_write(out) as partial:
        partial.write_text(page, encoding="utf-8")


def class_balance(classes: Mapping[str, Mapping[str, float]]) -> str:
    """Return an SVG with one bar per class, in the order of the classes.

    If there are more than 40 classes, it shows only the 40 most frequent, in that order.

    Args:
        classes: the name of each class to its number of `images` and its `share`, 0 to 1.
    """
    names = list(classes)
    if len(names) > _BARS:
        names = sorted(names, key=lambda name: -classes[name]["images"])[:_BARS]
    with canvas(1, 1, width=8, height=0.6 + 0.24 * len(names)) as (figure, axes):
        counts = [classes[name]["images"] for name in names]
        # A dollar sign would start a formula.
        axes.barh([name.replace("$", r"\$") for name in names], counts, color=PALETTE[0])
        for position, name in enumerate(names):
            text = f"{counts[position]:,}, {100 * classes[name]['share']:.1f} %"
            axes.annotate(
                text,
                (counts[position], position),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([])
        return svg(figure)


def distributions(train: pd.DataFrame, test: pd.DataFrame) -> str:
    """Return an SVG with a histogram of each column that varies, for both splits.

    Each histogram has an area of 1.

    Args:
        train: the training images, as `description` returns them.
        test: the test images, as `description` returns them.

    Returns:
        the SVG; "" if no column varies.
    """
    combined = pd.concat([train, test])
    varying = [column for column in _TITLES if combined[column].nunique() > 1]
    if not varying:
        return ""
    across = min(3, len(varying))
    down = -(-len(varying) // across)
    with canvas(down, across, width=3.7 * across, height=0.4 + 2.4 * down, squeeze=False) as (
        figure,
        grid,
    ):
        for axes in grid.ravel()[len(varying) :]:
            axes.set_axis_off()
        for axes, column in zip(grid.ravel(), varying, strict=False):
            edges = np.linspace(combined[column].min(), combined[column].max(), _BINS + 1)
            for values, colour, name in (
                (train[column], PALETTE[0], "train"),
                (test[column], PALETTE[1], "test"),
            ):
                axes.hist(
                    values,
                    edges,
                    density=True,
                    histtype="stepfilled",
                    color=colour,
                    alpha=0.45,
                    label=name,
                )
            axes.set_title(_TITLES[column], fontsize=10)
            axes.set_yticks([])
        figure.legend(
            *grid[0, 0].get_legend_handles_labels(),
            loc="outside upper right",
            frameon=False,
            ncols=2,
        )
        return svg(figure)
