"""Describe a data set as JSON from the examples table: no image is read again."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.statistics.drift import drift
from components.statistics.pooled import by_size
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest, write_json
from trainer.config.preparation import LEFT_OUT
from trainer.events import emit

# ITU-R BT.601: the weight of red, green and blue in brightness.
_LUMA = np.array([0.299, 0.587, 0.114])
_QUANTILES = {
    "min": 0.0,
    "5 %": 0.05,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "95 %": 0.95,
    "max": 1.0,
}
_FREQUENT = 5
# Findings of the audit about duplicates.
_DUPLICATES = (
    "duplicate_sets",
    "near_duplicate_sets",
    "largest_near_duplicate_set",
    "identical_in_test",
    "near_in_test",
    "label_conflicts",
)


def statistics(
    records: str | Path,
    folds_table: str | Path,
    audit: str | Path,
    *,
    classes: Sequence[str],
    out: str | Path,
) -> dict[str, Any]:
    """Write the statistics of a records folder as JSON, and return them.

    Args:
        records: a records folder that is complete according to its manifest.
        folds_table: the file `folds.csv`.
        audit: the JSON file with the audit of the folds, which has the findings about duplicates.
        classes: the class names in order.
        out: the JSON file to write.

    Returns:
        what `summary` returns, and the findings of the audit under `duplicates`.
    """
    about = read_manifest(records, only=(tables.EXAMPLES,))
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"]
    fold = tables.fold_of(train, tables.read_folds(folds_table))
    audit_findings = json.loads(Path(audit).read_text(encoding="utf-8"))
    result = summary(examples, fold, about, classes)
    result["duplicates"] = {key: audit_findings[key] for key in _DUPLICATES}
    write_json(out, result)
    size = str(max(about["sizes"]))
    pixels = result["pixels"][size]["splits"]["train"]
    mean, std = (", ".join(f"{value:.2f}" for value in pixels[key]) for key in ("mean", "std"))
    drifting = [entry["column"] for entry in result["drift"] if entry["verdict"] == "different"]
    differ = (
        f"; test differs from train in {', '.join(drifting)}"
        if drifting
        else "; test is like train in every column"
    )
    if not (examples["split"] == "test").any():
        differ = ""
    emit("note", "statistics", f"train pixels: mean {mean}, standard deviation {std}{differ}")
    return result


def summary(
    examples: pd.DataFrame, fold: np.ndarray, about: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, Any]:
    """Describe the images of a data set that have a fold, and the test images.

    Args:
        examples: the examples table.
        fold: the fold of each of its training rows, in order.
        about: the manifest of the records.
        classes: the class names in order.

    Returns:
        pixels: as `by_size` returns them.
        classes: for each class name, `images` (a number) and `share` (0 to 1).
        distributions: for each split (train, test, and external if there are such images) and each
            column (width, height, aspect, bytes, brightness, contrast), the quantiles.
        common_sizes: for each split, the most frequent sizes as [width, height, images].
        missing: for each tabular column, the share of missing values in each split, 0 to 1.
        drift: as `drift` returns it.
    """
    described = description(examples, about)
    splits = kept(examples, fold)
    in_training = splits["train"] | splits["external"] if "external" in splits else splits["train"]
    targets = examples["target"].to_numpy()[in_training]
    counts = np.bincount(
        tables.pairs(targets, len(classes), about["task"])[1], minlength=len(classes)
    )
    tabular = [*about["numeric"], *about["categorical"]]
    compared = pd.concat(
        [described, examples[[tables.tabular(name) for name in tabular]].set_axis(tabular, axis=1)],
        axis=1,
    )
    return {
        "pixels": by_size(examples, fold, about["sizes"]),
        "classes": {
            name: {"images": int(count), "share": float(count / max(1, counts.sum()))}
            for name, count in zip(classes, counts, strict=True)
        },
        "distributions": {split: _quantiles(described[rows]) for split, rows in splits.items()},
        "common_sizes": {
            split: [
                [int(width), int(height), images]
                for (width, height), images in _sizes(examples[rows]).most_common(_FREQUENT)
            ]
            for split, rows in splits.items()
        },
        "missing": {
            name: {split: _missing(compared[name][rows]) for split, rows in splits.items()}
            for name in tabular
        },
        "drift": drift(compared[splits["train"]], compared[splits["test"]]),
    }


def kept(examples: pd.DataFrame, fold: np.ndarray) -> dict[str, np.ndarray]:
    """Return which rows are the competition's own training images, external images and test images.

    Images without a fold are left out.

    Args:
        examples: n rows of the examples table.
        fold: the fold of each of its training rows, in order.

    Returns:
        (n,) bool for `train`, for `test`, and for `external` if there are such images.
    """
    train = (examples["split"] == "train").to_numpy()
    in_use = train.copy()
    in_use[train] = fold != LEFT_OUT
    own = (examples["external"] == "").to_numpy()
    splits = {"train": in_use & own, "external": in_use & ~own, "test": ~train}
    return {split: rows for split, rows in splits.items() if split != "external" or rows.any()}


def description(examples: pd.DataFrame, about: Mapping[str, Any]) -> pd.DataFrame:
    """Describe each image by numbers.

    Args:
        examples: n rows of the examples table.
        about: the manifest of the records.

    Returns:
        n rows, with the columns
        width: in pixels, of the source image.
        height: in pixels, of the source image.
        aspect: width over height.
        bytes: the size of the source file.
        brightness: mean luma, 0 to 255.
        contrast: the standard deviation of the pixel values, all channels together.
    """
    size = max(about["sizes"])
    sums, squares = (
        np.array(examples[f"{name}_{size}"].tolist(), dtype=np.float64)
        for name in ("sum_c", "sumsq_c")
    )
    luma = _LUMA if sums.shape[1] == 3 else np.ones(1)
    values = size * size * sums.shape[1]
    mean = sums.sum(axis=1) / values
    return pd.DataFrame(
        {
            "width": examples["width"].astype(float),
            "height": examples["height"].astype(float),
            "aspect": examples["width"] / examples["height"],
            "bytes": examples["bytes"].astype(float),
            "brightness": sums @ luma / (size * size),
            "contrast": np.sqrt(np.maximum(0, squares.sum(axis=1) / values - mean * mean)),
        },
        index=examples.index,
    )


def _quantiles(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    values = table.quantile(list(_QUANTILES.values())) if len(table) else table
    return {
        column: {
            name: float(value)
            for name, value in zip(_QUANTILES, values[column], strict=len(table) > 0)
        }
        for column in table
    }


def _sizes(examples: pd.DataFrame) -> Counter[tuple[int, int]]:
    return Counter(zip(examples["width"].tolist(), examples["height"].tolist(), strict=True))


def _missing(values: pd.Series) -> float:
    return float((values.isna() | (values == "")).mean()) if len(values) else 0.0


def figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the few numbers that a list of runs shows next to each other."""
    splits = found["pixels"][max(found["pixels"], key=int)]["splits"]
    shares = [entry["share"] for entry in found["classes"].values()]
    return {
        "train_images": splits["train"]["images"],
        "test_images": splits["test"]["images"],
        "smallest_class_share": min(shares),
        "largest_class_share": max(shares),
        "mean": float(np.mean(splits["train"]["mean"])),
        "std": float(np.mean(splits["train"]["std"])),
        "duplicate_sets": found["duplicates"]["duplicate_sets"],
        "near_duplicate_sets": found["duplicates"]["near_duplicate_sets"],
        "columns_that_differ_in_test": sum(
            entry["verdict"] == "different" for entry in found["drift"]
        ),
    }
