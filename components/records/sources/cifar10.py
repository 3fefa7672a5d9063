"""Read CIFAR-10 batches, python or binary: 32 × 32 colour images with class indices as labels.

The layouts are documented at https://www.cs.toronto.edu/~kriz/cifar.html. A binary batch is a
sequence of 3,073-byte records: the label, then 1,024 red, 1,024 green and 1,024 blue values. A
python batch is a pickled dictionary with `data`, (n, 3072) uint8 in the same order, and `labels`.
The id of an image is its number, from 1, over the batches of its split sorted by name.
"""

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
    """Stand in for `_codecs.encode`, with which Python 3 pickles bytes in old protocols."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}, expected latin1")
    return text.encode("latin1")


# The only globals that a batch needs; any other in a pickle could run code.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


# Exceptions that the unpickler raises on a file that is not a batch; the last, if the file requests
# more memory than there is.
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
                f"it would load {module}.{name}, which no batch needs"
            ) from None


def reader(subset: Subset) -> Reader:
    """Open the batches of a subset.

    Raises:
        DataError: there is no batch, or a file is damaged or not a batch.
    """
    paths = [entry.path for entry in batches(subset)]
    counts = [len(_batch(path)[1]) for path in paths]
    return Reader(sum(counts), lambda first, count: _items(subset, paths, counts, first, count))


def batches(subset: Subset) -> list[MatchedFile]:
    """Return the batches of a subset, sorted by name.

    Raises:
        DataError: no file matches the pattern.
    """
    data = subset.data
    pattern = (data.train if subset.split == "train" else data.test).removeprefix(data.root + "/")
    matches = located(data.root, pattern, follow=data.follow_links)
    if not matches:
        raise DataError(f"{data.root}: no file matches {pattern!r}")
    return matches


def _items(
    subset: Subset, paths: list[str], counts: list[int], first: int, count: int
) -> Iterator[Item]:
    offset = 0
    for path, length in zip(paths, counts, strict=True):
        if offset + length > first and offset < first + count:
            pixels, labels = _batch(path)
            for index in range(max(0, first - offset), min(length, first + count - offset)):
                label = int(labels[index]) if subset.split == "train" else ""
                row = Row(
                    f"{subset.prefix}{offset + index + 1}",
                    label,
                    where=f"{path}: image {index + 1}",
                )
                yield Item(row, path, partial(_image, pixels[index]))
        offset += length


def _image(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes.reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def _batch(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels, (n, 3072) uint8, and the labels, (n,) int, of a batch."""
    local = Path(objects.local_path(path))
    if local.suffix == ".bin":
        values = np.fromfile(local, dtype=np.uint8)
        if len(values) == 0 or len(values) % (1 + _PIXELS):
            raise DataError(
                f"{path}: {len(values)} bytes are not a whole number of {1 + _PIXELS}-byte records"
            )
        rows = values.reshape(-1, 1 + _PIXELS)
        return rows[:, 1:], rows[:, 0].astype(np.int64)
    try:
        with open(local, "rb") as stream:
            batch = _Unpickler(stream, encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except _DAMAGE as error:
        raise DataError(f"{path}: not a python batch of CIFAR-10: {error!r}") from None
    if (
        pixels.dtype != np.uint8
        or pixels.shape != (len(labels), _PIXELS)
        or labels.dtype.kind != "i"
        or len(labels) == 0
    ):
        raise DataError(
            f"{path}: `data` is {pixels.dtype} {pixels.shape} and `labels` {labels.shape}: not a"
            " batch of CIFAR-10"
        )
    return pixels, labels
