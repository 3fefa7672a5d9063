"""The tables that steps hand to each other: their columns, and the one way to read and write them.

Examples (`examples.parquet`), a row an image:
    id            text, unique within its split split         `train` or `test` external      "" for
    the competition's own images; else `train` or `folds`, what an external set's are for target
    class index, -1 where there is no label; of a multilabel competition a number whose k-th bit
    says class k group         text; images of one group never stand in two folds; "" is a group of
    its own tabular_…     the columns of `data.numeric` (float64, NaN where missing) and
    `data.categorical` (text, "" where missing) width, height pixels of the source image, upright
    bytes, sha256 of the source file (of the pixels where it is a row of a CSV) phash         64-bit
    perceptual hash, uint64 for each size S that images are stored in: shard_S, row_S  the shard,
    below the manifest's `root` (the records folder itself where that is ""), and the record in it,
    from 0 bytes_S       length of the stored JPEG sum_c_S, sumsq_c_S  a list a channel: exact
    integer sums of the pixel values, 0 to 255, of size S, and of their squares
Rejects (`rejects.csv`): id, file, reason, bytes of each labelled image that was left out. Folds
(`folds.csv`): id, fold: 0 to count - 1, LEFT_OUT (-1), or ALWAYS_TRAINS (-2), which never
validates. Predictions: `oof.parquet` has id, target, fold and one probability column a class;
`test.parquet` id, fold and the same columns, a row for each (image, model): averaging over folds is
left to whoever blends. The blend's `oof.parquet` has a column `prediction` besides, what was
decided, as `target`; `oof.csv` is the same for people: id, target and prediction as class names, a
column a class, fold; `test.csv`: id and a column a class. With both, one run's blend joins
another's as a member. `metrics.json` has the scores of the blend, the methods and the members.
History (`history.csv`): fold, epoch (from 1), loss, val_loss and val_<metric> of the held-out
images, learning_rate of the epoch's last step, seconds that the fold has trained. NO_FOLD (-3) is
the fold of a model that trains on all images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from trainer.artifacts.manifest import atomic_write
from trainer.config.data import LEFT_OUT, NO_FOLD
from trainer.errors import IntegrityError

# The end of the name of the file beside a model that says which images it was trained on.
SEEN = ".seen.npy"

EXAMPLES = "examples.parquet"
FOLDS = "folds.csv"
REJECTS = "rejects.csv"
OOF = "oof.parquet"
TEST = "test.parquet"
HISTORY = "history.csv"
OOF_CSV = "oof.csv"
TEST_CSV = "test.csv"
METRICS = "metrics.json"


def model_file(fold: int) -> str:
    """The file of the model that did not see a fold; of the one that saw all images."""
    return "all.keras" if fold == NO_FOLD else f"fold{fold}.keras"


def seen_images(examples: pd.DataFrame) -> np.ndarray:
    """(n,) uint64, sorted: the first 64 bits of each image's sha256, so that a model is known by
    what it has seen."""
    return np.unique(image_numbers(examples))


def image_numbers(examples: pd.DataFrame) -> np.ndarray:
    """(n,) uint64: the first 64 bits of each image's sha256."""
    return np.array([int(digest[:16], 16) for digest in examples["sha256"]], dtype=np.uint64)


def memberships(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    """(n, classes) bool: which classes each labelled image is of.

    Args:
        targets: (n,) the column `target`.
        classes: how many there are. task: of the competition.
    """
    if task == "multilabel":
        return (targets[:, None] >> np.arange(classes)) & 1 == 1
    return targets[:, None] == np.arange(classes)


def truth(targets: np.ndarray, classes: int, task: str) -> np.ndarray:
    """What scores take: (n,) class indices, or for multilabel (n, classes) bool."""
    return memberships(targets, classes, task) if task == "multilabel" else targets


def names(target: int, classes: Sequence[str], task: str) -> str:
    """A label as text; several, one after the other."""
    here = memberships(np.array([target]), len(classes), task)[0]
    return " ".join(name for name, is_one in zip(classes, here, strict=True) if is_one)


def numbered(labels: np.ndarray) -> np.ndarray:
    """(n,) class indices, or (n, classes) bool, as the numbers of the column `target`: int64."""
    if labels.ndim == 1:
        return labels.astype(np.int64)
    return (labels.astype(np.int64) << np.arange(labels.shape[1], dtype=np.int64)).sum(
        axis=1, dtype=np.int64
    )


def size_name(size: int) -> str:
    """The folder of the shards of a size: `384x384`."""
    return f"{size}x{size}"


def tabular(name: str) -> str:
    """The column of the examples table for a tabular column of the user's."""
    return f"tabular_{name}"


def write_parquet(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table, whole or not at all; equal tables give equal bytes."""
    with atomic_write(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all. Nine significant digits carry a float32
    exactly."""
    with atomic_write(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def read_examples(records: str | Path) -> pd.DataFrame:
    """The examples table of a records folder."""
    return pd.read_parquet(Path(records) / EXAMPLES)


def read_rejects(path: str | Path) -> pd.DataFrame:
    """A rejects table: all but the length is text."""
    return pd.read_csv(
        path,
        dtype={"id": str, "file": str, "reason": str, "bytes": np.int64},
        keep_default_na=False,
    )


def read_folds(path: str | Path) -> pd.DataFrame:
    """A folds table: ids stay text, so that "007" is not 7."""
    return pd.read_csv(path, dtype={"id": str, "fold": np.int64}, keep_default_na=False)


def read_history(path: str | Path) -> pd.DataFrame:
    """A training history: a member's name stays text, also where it is "07" or "nan"; a member that
    had no images held out has no scores of them."""
    numbers = [name for name in pd.read_csv(path, nrows=0).columns if name != "member"]
    empty = {name: [""] for name in numbers}
    return pd.read_csv(path, dtype={"member": str}, keep_default_na=False, na_values=empty)


def fold_of(examples: pd.DataFrame, folds: pd.DataFrame) -> np.ndarray:
    """(n,) the fold of each row of `examples`, joined by id.

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
    """(n,) whether each row trains the model that does not see the fold `held_out`: all others that
    are not left out."""
    return (fold != held_out) & (fold != LEFT_OUT)


def predictions(
    examples: pd.DataFrame,
    fold: int,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    with_target: bool,
) -> pd.DataFrame:
    """One model's predictions for the rows of `examples`.

    Args:
        examples: n rows of the examples table.
        fold: the fold that the model did not see.
        probabilities: (n, classes) float32.
        classes: the class names, in the order of the columns.
        with_target: whether the rows are out-of-fold rows, which carry their target.
    """
    table = pd.DataFrame({"id": examples["id"].to_numpy()})
    if with_target:
        table["target"] = examples["target"].to_numpy()
    table["fold"] = np.int64(fold)
    columns = pd.DataFrame(probabilities.astype(np.float32), columns=list(classes))
    return pd.concat([table, columns], axis=1)
