"""Pooled pixel statistics from the examples table: no image is read again, and every sum is exact."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer import tables
from trainer.manifest import read_manifest, write_json
from trainer.progress import tell


def statistics(records: str | Path, folds_table: str | Path, *, out: str | Path) -> dict[str, Any]:
    """Write, and return, the statistics of each split and of each fold's training images as JSON.

    A fold's own images are left out of what its model is standardised with: nothing of the validation reaches training.

    Args:
        records: a records folder, whole by its manifest.
        folds_table: `folds.csv`.
        out: the JSON file to write.

    Returns:
        `splits` (train, test) and `folds` (the fold left out, as text), each with images, pixels, mean and std a channel
        (in 0 to 255).
    """
    read_manifest(records)
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"]
    fold = tables.fold_of(train, tables.read_folds(folds_table))
    result: dict[str, Any] = {
        "splits": {split: pooled(examples[examples["split"] == split]) for split in ("train", "test")},
        "folds": {
            str(held_out): pooled(train[tables.training_rows(fold, held_out)])
            for held_out in sorted(set(fold.tolist()))
            if held_out >= 0
        },
    }
    write_json(out, result)
    mean, std = (", ".join(f"{value:.2f}" for value in result["splits"]["train"][key]) for key in ("mean", "std"))
    tell("note", "statistics", f"train pixels: mean {mean}, standard deviation {std}")
    return result


def pooled(examples: pd.DataFrame) -> dict[str, Any]:
    """Mean and standard deviation of all pixels of all images together, a channel.

    The deviation is that of the pooled pixels, sqrt(E[x²] - E[x]²), from integer sums in Python's own integers: neither
    the mean of the images' deviations, which understates it, nor a float sum, which loses digits.

    Args:
        examples: n rows with width, height, sum_c and sumsq_c.

    Returns:
        images, pixels (a channel), mean and std (lists, a value a channel, 0 to 255); None in both for no images.
    """
    pixels = sum(int(w) * int(h) for w, h in zip(examples["width"], examples["height"], strict=True))
    if pixels == 0:
        return {"images": 0, "pixels": 0, "mean": None, "std": None}
    totals = [int(value) for value in np.stack(examples["sum_c"].to_list()).sum(axis=0, dtype=object)]
    squares = [int(value) for value in np.stack(examples["sumsq_c"].to_list()).sum(axis=0, dtype=object)]
    # n Σx² - (Σx)² is an exact integer; only the last division and root round.
    variances = [pixels * square - total * total for total, square in zip(totals, squares, strict=True)]
    return {
        "images": len(examples),
        "pixels": pixels,
        "mean": [total / pixels for total in totals],
        "std": [math.sqrt(variance) / pixels for variance in variances],
    }
