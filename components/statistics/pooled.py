"""Compute pooled pixel statistics from the examples table: no image is read again, and every sum is
exact.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.config.preparation import LEFT_OUT


def by_size(examples: pd.DataFrame, fold: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """Pool the pixels of each split, and of the training images of each fold, in each size.

    Images that are left out count nowhere. The images of a fold are excluded from the statistics
    that standardise the model which it validates, so nothing about them reaches training.

    Args:
        examples: the examples table.
        fold: the fold of each of its training rows, in order.
        sizes: the sides in pixels that the images are stored in.

    Returns:
        for each size, as text, a dictionary:
        splits: `train` and `test`, each as `pooled` returns it.
        folds: for each held-out fold, as text, the images that train its model, as `pooled` returns
            it.
    """
    train = (examples["split"] == "train").to_numpy()
    rows = np.flatnonzero(train)
    rows_by_split = {"train": rows[fold != LEFT_OUT], "test": np.flatnonzero(~train)}
    rows_by_fold = {
        str(held_out): rows[tables.training_rows(fold, held_out)]
        for held_out in sorted(set(fold.tolist()))
        if held_out >= 0
    }
    result = {}
    for size in sizes:
        sums = [
            np.array(examples[f"{name}_{size}"].tolist(), dtype=np.int64)
            for name in ("sum_c", "sumsq_c")
        ]
        splits, folds = (
            {
                name: pooled(sums[0][chosen], sums[1][chosen], size * size)
                for name, chosen in sets.items()
            }
            for sets in (rows_by_split, rows_by_fold)
        )
        result[str(size)] = {"splits": splits, "folds": folds}
    return result


def pooled(sums: np.ndarray, squares: np.ndarray, pixels_an_image: int) -> dict[str, Any]:
    """Return the mean and the standard deviation of all pixels of all images together, per channel.

    The deviation is that of the pooled pixels, sqrt(E[x²] - E[x]²), from integer sums in Python's
    unbounded integers: the mean of the deviations of the images would understate it, and a float
    sum would lose digits.

    Args:
        sums: (n, channels) int64, the sum of the pixel values of each image.
        squares: (n, channels) int64, the sum of the squares of the pixel values of each image.
        pixels_an_image: the number of pixels in each image.

    Returns:
        images: the number of images.
        pixels: the number of pixels per channel.
        mean: a list with one value per channel, 0 to 255; None if there are no images.
        std: a list with one value per channel, in the same unit; None if there are no images.
    """
    pixels = len(sums) * pixels_an_image
    if pixels == 0:
        return {"images": 0, "pixels": 0, "mean": None, "std": None}
    # int64 does not overflow at 2**63: a million images of 1024 by 1024 reach only 2**56.
    totals = [int(value) for value in sums.sum(axis=0)]
    square_totals = [int(value) for value in squares.sum(axis=0)]
    # n Σx² - (Σx)² is an exact integer; only the last division and root round.
    variances = [
        pixels * square_total - total * total
        for total, square_total in zip(totals, square_totals, strict=True)
    ]
    return {
        "images": len(sums),
        "pixels": pixels,
        "mean": [total / pixels for total in totals],
        "std": [math.sqrt(variance) / pixels for variance in variances],
    }
