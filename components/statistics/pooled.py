"""Pooled pixel statistics from the examples table: no image is read again, and every sum is
exact."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.config.data import LEFT_OUT


def by_size(examples: pd.DataFrame, fold: np.ndarray, sizes: Sequence[int]) -> dict[str, Any]:
    """The pixels of each split and of each fold's training images, in each size; of those that are
    left out, nowhere.

    A fold's own images are left out of what its model is standardised with: nothing of the
    validation reaches training.

    Args:
        examples: the examples table.
        fold: the folds of its training rows, in order.
        sizes: that the images are stored in.

    Returns:
        a size as text to `splits` (train, test) and `folds` (the fold left out, as text), each as
        `pooled` gives it.
    """
    train = (examples["split"] == "train").to_numpy()
    rows = np.flatnonzero(train)
    of_splits = {"train": rows[fold != LEFT_OUT], "test": np.flatnonzero(~train)}
    of_folds = {
        str(held_out): rows[tables.training_rows(fold, held_out)]
        for held_out in sorted(set(fold.tolist()))
        if held_out >= 0
    }
    found = {}
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
            for sets in (of_splits, of_folds)
        )
        found[str(size)] = {"splits": splits, "folds": folds}
    return found


def pooled(sums: np.ndarray, squares: np.ndarray, pixels_an_image: int) -> dict[str, Any]:
    """Mean and standard deviation of all pixels of all images together, a channel.

    The deviation is that of the pooled pixels, sqrt(E[x²] - E[x]²), from integer sums in Python's
    own integers: neither the mean of the images' deviations, which understates it, nor a float sum,
    which loses digits.

    Args:
        sums, squares: (n, channels) int64, of the pixel values of each image and of their squares.
        pixels_an_image: how many pixels each has.

    Returns:
        images, pixels (a channel), mean and std (lists, a value a channel, 0 to 255); None in both
        for no images.
    """
    pixels = len(sums) * pixels_an_image
    if pixels == 0:
        return {"images": 0, "pixels": 0, "mean": None, "std": None}
    # 2**63 is far: a million images of 1024 by 1024 are 2**56.
    totals = [int(value) for value in sums.sum(axis=0)]
    wholes = [int(value) for value in squares.sum(axis=0)]
    # n Σx² - (Σx)² is an exact integer; only the last division and root round.
    variances = [
        pixels * whole - total * total for total, whole in zip(totals, wholes, strict=True)
    ]
    return {
        "images": len(sums),
        "pixels": pixels,
        "mean": [total / pixels for total in totals],
        "std": [math.sqrt(variance) / pixels for variance in variances],
    }
