"""The tables that steps pass to each other: their columns, and the functions that read and write
them.

Examples (`examples.parquet`), one row per image:
    id: text, unique within its split.
    split: `train` or `test`.
    external: "" for the competition's own images, else the `use` of the external set, `train` or
        `folds`.
    target: class index, -1 if there is no label; in a multilabel competition a number whose k-th
        bit is set for class k.
    group: text; images of one group are never split over two folds. "" is a group of its own.
    tabular_…: the columns of `data.numeric` (float64, NaN if missing) and `data.categorical` (text,
        "" if missing).
    width, height: pixels of the upright source image.
    bytes, sha256: size and digest of the source file (of the pixels if the image is a row of a
        CSV).
    phash: 64-bit perceptual hash, uint64.
    bits: bits of a value in the source file: 8 of most images, 16, or 32.
    fault: faults of a JPEG that were ignored, "" if there are none.
    shard_S, row_S: for each stored size S, the shard, relative to the manifest's `root` (the
        records folder itself if that is ""), and the record in it, from 0.
    bytes_S: length of the stored JPEG of size S.
    sum_c_S, sumsq_c_S: one list entry per channel, the exact integer sums of the pixel values of
        size S, 0 to 255, and of their squares.

Rejects (`rejects.csv`): id, file, reason, bytes and split of each image that cannot be used. A
labelled one is left out; a test image gets the mean prediction.

Folds (`folds.csv`):
    id: text.
    fold: 0 to count - 1, LEFT_OUT (-1), or ALWAYS_TRAINS (-2) for an image that never validates.

Predictions of a training job: `oof.parquet` has id, target, fold and one probability column per
class. `test.parquet` has id, fold and the same probability columns, one row per image and model;
the blend averages over the folds. If only the most probable classes are kept (`predictions.keep`),
the columns `classes` (a list of class indices) and `probabilities` (a list as long) take the place
of one column per class, in the tables of the blend, too; its CSVs then have the columns class_1,
probability_1, class_2, … instead.

Predictions of the blend: `oof.parquet` also has a column `prediction`, the predicted class in the
form of `target`. `oof.csv` is the same for people: id, target and prediction as class names, with
`data.separator` between several; one column per class; fold. `test.csv` has id and one column per
class. With both CSVs the blend of one run can be a member of another. `metrics.json` has the scores
of the blend, the methods and the members.

History (`history.csv`):
    fold: the fold; NO_FOLD (-3) for a model that trains on all images.
    epoch: from 1.
    loss: mean training loss of the epoch.
    val_loss, val_<metric>: loss and metric of the held-out images.
    learning_rate: of the last step of the epoch.
    seconds: training time of the fold so far.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.artifacts.manifest import atomic_write
from trainer.config.preparation import LEFT_OUT, NO_FOLD
from trainer.errors import IntegrityError
from trainer.metrics.candidates import Predicted, TopClasses

# Suffix of the file next to a model that lists the images that it was trained on.
SEEN = ".seen.npy"
# The file name extension of a linear model, a NumPy archive.
LINEAR_SUFFIX = ".npz"

EXAMPLES = "examples.parquet"
FOLDS = "folds.csv"
REJECTS = "rejects.csv"
OOF = "oof.parquet"
TEST = "test.parquet"
HISTORY = "history.csv"
OOF_CSV = "oof.csv"
TEST_CSV = "test.csv"
METRICS = "metrics.json"

# Columns of lists, where only the most probable classes are kept.
TOP_CLASSES, TOP_PROBABILITIES = "classes", "probabilities"


def model_file(fold: int, suffix: str = ".keras") -> str:
    """Return the file name of the model whose held-out fold is `fold`; NO_FOLD for the model of all
    images."""
    return f"all{suffix}" if fold == NO_FOLD else f"fold{fold}{suffix}"


def seen_images(examples: pd.DataFrame) -> np.ndarray:
    """Return the training images of a model: (n,) uint64, sorted, the first 64 bits of the sha256
    of each image."""
    return np.unique(image_numbers(examples))


def image_numbers(examples: pd.DataFrame) -> np.ndarray:
    """Return the first 64 bits of the sha256 of each image: (n,) uint64."""
    return np.array([int(digest[:16], 16) for digest in examples["sha256"]], dtype=np.uint64)


def memberships(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    """Return which classes each labelled image belongs to: (n, classes) bool.

    Args:
        targets: (n,) the column `target`.
        classes: number of classes.
        task: `multiclass`, `binary` or `multilabel`.
    """
    if task == "multilabel":
        return (targets[:, None] >> np.arange(classes)) & 1 == 1
    return targets[:, None] == np.arange(classes)


def pairs(targets: np.ndarray, classes: int, task: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the same as `memberships` in little memory, as pairs of a row and a class.

    Args:
        targets: (n,) the column `target`.
        classes: number of classes.
        task: `multiclass`, `binary` or `multilabel`.

    Returns:
        rows, (k,) int64 in ascending order; and their classes, (k,) int64.
    """
    if task == "multilabel":
        rows, numbers = np.nonzero(memberships(targets, classes, task))
        return rows, numbers
    return np.arange(len(targets)), targets.astype(np.int64)


def truth(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    """Return the targets for the metrics: (n,) class indices, or (n, classes) bool for multilabel.

    Args:
        targets: (n,) the column `target`.
        classes: number of classes.
        task: `multiclass`, `binary` or `multilabel`.
    """
    return memberships(targets, classes, task) if task == "multilabel" else targets


def names(target: int, classes: Sequence[str], task: str, separator: str = " ") -> str:
    """Return the class names of a label, with `separator` between them; "" for no class."""
    if task != "multilabel":
        return classes[target] if target >= 0 else ""
    belongs = memberships(np.array([target]), len(classes), task)[0]
    return separator.join(name for name, is_one in zip(classes, belongs, strict=True) if is_one)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Return labels as values of the column `target`, (n,) int64, from (n,) class indices or (n,
    classes) bool."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    return (labels.astype(np.int64) << np.arange(labels.shape[1], dtype=np.int64)).sum(
        axis=1, dtype=np.int64
    )


def size_name(size: int) -> str:
    """Return the folder name of the shards of a size, such as `384x384`."""
    return f"{size}x{size}"


def tabular(name: str) -> str:
    """Return the name in the examples table of one of the user's tabular columns."""
    return f"tabular_{name}"


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table atomically; equal tables give equal bytes."""
    with atomic_write(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV atomically. Nine significant digits represent a float32 exactly."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def read_examples(records: str | Path) -> pd.DataFrame:
    """Return the examples table of a records folder."""
    return pd.read_parquet(Path(records) / EXAMPLES)


def read_rejects(path: str | Path) -> pd.DataFrame:
    """Return a rejects table; all columns but bytes are text."""
    return pd.read_csv(
        path,
        dtype={"id": str, "file": str, "reason": str, "bytes": np.int64, "split": str},
        keep_default_na=False,
    )


def read_folds(path: str | Path) -> pd.DataFrame:
    """Return a folds table; ids are text, so that "007" does not become 7."""
    return pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)


def read_history(path: str | Path) -> pd.DataFrame:
    """Return a training history; member names are text, even "07" or "nan", and empty cells, as of
    a member without held-out images, are NaN."""
    numbers = [name for name in pd.read_csv(path, nrows=0).columns if name != "member"]
    empty = {name: [""] for name in numbers}
    return pd.read_csv(path, dtype={"member": str}, keep_default_na=False, na_values=empty)


def fold_of(examples: pd.DataFrame, folds: pd.DataFrame) -> np.ndarray:
    """Return the fold of each row of `examples`, joined by id: (n,) int64.

    Raises:
        IntegrityError: an image has no fold.
    """
    fold = examples["id"].map(folds.set_index("id")["fold"])
    if fold.isna().any():
        missing = examples["id"][fold.isna()].iloc[0]
        raise IntegrityError(
            f"folds table: no fold for id {missing!r} ({int(fold.isna().sum())} ids lack one)"
        )
    return fold.to_numpy(dtype=np.int64)


def training_rows(fold: np.ndarray, held_out: int) -> np.ndarray:
    """Return whether each row trains the model whose held-out fold is `held_out`: (n,) bool. These
    are all rows of other folds that are not left out."""
    return (fold != held_out) & (fold != LEFT_OUT)


def predictions(
    examples: pd.DataFrame,
    fold: int,
    probabilities: Predicted,
    classes: Sequence[str],
    *,
    with_target: bool,
) -> pd.DataFrame:
    """Return the predictions of one model as a table, one row per row of `examples`.

    Args:
        examples: n rows of the examples table.
        fold: the fold that was held out from the model.
        probabilities: (n, classes) float32, or the most probable classes of n rows.
        classes: the class names, in the order of the columns.
        with_target: whether the rows are out-of-fold rows, which include their target.
    """
    table = pd.DataFrame({"id": examples["id"].to_numpy()})
    if with_target:
        table["target"] = examples["target"].to_numpy()
    table["fold"] = np.int64(fold)
    return pd.concat([table, probability_columns(probabilities, classes)], axis=1)


def probability_columns(probabilities: Predicted, classes: Sequence[str]) -> pd.DataFrame:
    """Return the columns of a Parquet table that hold the probabilities of n rows.

    Args:
        probabilities: (n, classes) in 0 to 1, or the most probable classes of n rows.
        classes: the class names, in the order of the columns.
    """
    if isinstance(probabilities, np.ndarray):
        return pd.DataFrame(probabilities.astype(np.float32), columns=list(classes))
    return pd.DataFrame(
        {
            TOP_CLASSES: list(probabilities.classes.astype(np.int32)),
            TOP_PROBABILITIES: list(probabilities.probabilities),
        }
    )


def csv_columns(probabilities: Predicted, classes: Sequence[str]) -> pd.DataFrame:
    """Return the columns of a CSV that hold the probabilities of n rows: one per class; or class_1,
    probability_1, class_2, … from the most probable class on.

    Args:
        probabilities: (n, classes) in 0 to 1, or the most probable classes of n rows.
        classes: the class names, in order.
    """
    if isinstance(probabilities, np.ndarray):
        return probability_columns(probabilities, classes)
    names = np.array([*classes, ""], dtype=object)
    columns: dict[str, np.ndarray] = {}
    for place in range(probabilities.classes.shape[1]):
        columns[f"class_{place + 1}"] = names[probabilities.classes[:, place]]
        columns[f"probability_{place + 1}"] = probabilities.probabilities[:, place]
    return pd.DataFrame(columns)


def probabilities_of(table: pd.DataFrame, classes: Sequence[str]) -> Predicted:
    """Return the probabilities of a table that `probability_columns` is part of: (n, classes), or
    the most probable classes of n rows.

    Args:
        table: n rows.
        classes: the class names, in order.
    """
    if not keeps_top(table):
        return table[list(classes)].to_numpy()
    if not len(table):
        return TopClasses(np.empty((0, 1), np.int64), np.empty((0, 1), np.float32), len(classes))
    return TopClasses(
        np.stack(table[TOP_CLASSES].to_list()).astype(np.int64),
        np.stack(table[TOP_PROBABILITIES].to_list()).astype(np.float32),
        len(classes),
    )


def keeps_top(table: pd.DataFrame) -> bool:
    """Return whether a table of predictions has the most probable classes only."""
    # A class may be named like one of these columns, but its probabilities are no lists.
    return all(
        name in table and table[name].dtype == object for name in (TOP_CLASSES, TOP_PROBABILITIES)
    )
