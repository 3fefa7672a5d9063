"""What the examples table says of a data set, as JSON: no image is read again."""

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
from trainer.config.data import LEFT_OUT
from trainer.events import emit

# ITU-R BT.601: what each colour adds to brightness.
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
# What the audit found about duplicates.
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
    """Write, and return, the statistics of a records folder as JSON.

    Args:
        records: a records folder, whole by its manifest.
        folds_table: `folds.csv`.
        audit: the folds' audit, for what it found about duplicates.
        classes: the class names in order.
        out: the JSON file to write.

    Returns:
        what `summary` returns, and `duplicates`.
    """
    about = read_manifest(records, only=(tables.EXAMPLES,))
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"]
    fold = tables.fold_of(train, tables.read_folds(folds_table))
    found = json.loads(Path(audit).read_text(encoding="utf-8"))
    result = summary(examples, fold, about, classes)
    result["duplicates"] = {key: found[key] for key in _DUPLICATES}
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
    """Describe a data set.

    Args:
        examples: the examples table.
        fold: the folds of its training rows, in order.
        about: of the records' manifest.
        classes: the class names in order.

    Returns:
        of the images that have a fold, `pixels` as `by_size` gives them; `classes`, a name to
        images and share; `distributions`, a split (train, test, and external where there are such)
        to a column (width, height, aspect, bytes, brightness, contrast) to its quantiles;
        `common_sizes`, a split to the most frequent [width, height, images]; `missing`, a tabular
        column to the share in each split; `drift`, as `drift` gives it.
    """
    described = description(examples, about)
    splits = kept(examples, fold)
    trained = splits["train"] | splits["external"] if "external" in splits else splits["train"]
    counts = tables.memberships(
        examples["target"].to_numpy()[trained], len(classes), about["task"]
    ).sum(axis=0)
    tabular = [*about["numeric"], *about["categorical"]]
    looked = pd.concat(
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
            name: {split: _missing(looked[name][rows]) for split, rows in splits.items()}
            for name in tabular
        },
        "drift": drift(looked[splits["train"]], looked[splits["test"]]),
    }


def kept(examples: pd.DataFrame, fold: np.ndarray) -> dict[str, np.ndarray]:
    """(n,) which rows are of the competition's own training images, of external ones, and of test;
    what has no fold is left out.

    Args:
        examples: n rows, those of `train` having the folds `fold`, in order.
    """
    train = (examples["split"] == "train").to_numpy()
    in_use = train.copy()
    in_use[train] = fold != LEFT_OUT
    own = (examples["external"] == "").to_numpy()
    splits = {"train": in_use & own, "external": in_use & ~own, "test": ~train}
    return {split: rows for split, rows in splits.items() if split != "external" or rows.any()}


def description(examples: pd.DataFrame, about: Mapping[str, Any]) -> pd.DataFrame:
    """Numbers of each image: width, height, aspect (width over height), bytes, brightness (mean
    luma, 0 to 255), contrast (the standard deviation of its pixel values, all channels
    together)."""
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
    """The few numbers that a list of runs shows beside each other."""
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
