"""CIFAR-10's batches, python or binary: 32 × 32 colour images, their labels as indices.

The layouts are those of https://www.cs.toronto.edu/~kriz/cifar.html. A binary batch is records of
3,073 bytes: the label, then 1,024 red, green and blue values. A python batch is a pickled
dictionary with `data`, (n, 3072) uint8 of the same order, and `labels`. An image's id is its
number, from 1, over the batches of its split in the order of their names."""

import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.records.sources.patterns import MatchedFile, located
from components.records.types import Item, Reader, Row, Subset
from components.storage import objects
from trainer.errors import DataError

SIDE = 32
_PIXELS = 3 * SIDE * SIDE


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the old protocol."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes as {encoding!r}, where latin1 is meant")
    return text.encode("latin1")


# All that a batch needs; anything else in a pickle could run code.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


# What a file that is no batch makes the unpickler raise; the last, if it asks for more memory than
# there is.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    MemoryError,
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _HARMLESS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it would use {module}.{name}, which no batch needs"
            ) from None


def reader(subset: Subset) -> Reader:
    """The images of a subset's batches.

    Raises:
        DataError: there is none, or one is damaged, or no batch.
    """
    paths = [entry.path for entry in batches(subset)]
    counts = [len(_batch(path)[1]) for path in paths]
    return Reader(sum(counts), lambda first, count: _items(subset, paths, counts, first, count))


def batches(subset: Subset) -> list[MatchedFile]:
    """A subset's batches, in the order of their names."""
    data = subset.data
    pattern = (data.train if subset.split == "train" else data.test).removeprefix(data.root + "/")
    found = located(data.root, pattern)
    if not found:
        raise DataError(f"{data.root}: no file fits {pattern!r}")
    return found


def _items(
    subset: Subset, paths: list[str], counts: list[int], first: int, count: int
) -> Iterator[Item]:
    before = 0
    for path, held in zip(paths, counts, strict=True):
        if before + held > first and before < first + count:
            pixels, labels = _batch(path)
            for place in range(max(0, first - before), min(held, first + count - before)):
                label = int(labels[place]) if subset.split == "train" else ""
                row = Row(
                    f"{subset.prefix}{before + place + 1}",
                    label,
                    where=f"{path}: image {place + 1}",
                )
                yield Item(row, path, partial(_image, pixels[place]))
        before += held


def _image(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes.reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def _batch(path: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3072) uint8 and (n,) labels."""
    near = Path(objects.local_path(path))
    if near.suffix == ".bin":
        values = np.fromfile(near, dtype=np.uint8)
        if len(values) == 0 or len(values) % (1 + _PIXELS):
            raise DataError(
                f"{path}: {len(values)} bytes are no whole number of records of {1 + _PIXELS}"
            )
        rows = values.reshape(-1, 1 + _PIXELS)
        return rows[:, 1:], rows[:, 0].astype(np.int64)
    try:
        with open(near, "rb") as stream:
            batch = _Unpickler(stream, encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except _DAMAGE as error:
        raise DataError(f"{path}: no python batch of CIFAR-10: {error!r}") from None
    if (
        pixels.dtype != np.uint8
        or pixels.shape != (len(labels), _PIXELS)
        or labels.dtype.kind != "i"
        or len(labels) == 0
    ):
        raise DataError(
            f"{path}: `data` is {pixels.dtype} {pixels.shape} and `labels` {labels.shape}: no batch"
            " of CIFAR-10"
        )
    return pixels, labels
