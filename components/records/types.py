"""What a source gives: rows, what each row's image is loaded from, and what became of those that
cannot be used."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from trainer.config.data import Data


class Row(NamedTuple):
    """One labelled or unlabelled image by its table.

    id: unique within its split. label: a class name, or the index of a class; "" where there is
    none. group: "" where there is none. numeric: NaN where missing; categorical: "" where missing.
    where: the file and row, for errors."""

    id: str
    label: str | int
    group: str = ""
    numeric: tuple[float, ...] = ()
    categorical: tuple[str, ...] = ()
    where: str = ""


class Item(NamedTuple):
    """A row, the file its image is in ("" where there is none), and what loads it, in any thread: a
    file's bytes, or (height, width, 1 or 3) uint8 pixels. Loading raises BadImage or OSError."""

    row: Row
    file: str
    load: Callable[[], bytes | np.ndarray]


class Rejected(NamedTuple):
    """A row whose image cannot be used: its file ("" where there is none), why, and the file's size
    in bytes."""

    id: str
    file: str
    reason: str
    bytes: int


class Subset(NamedTuple):
    """The images of one split, or of one external set.

    external: "" for the competition's own, else what the external set is for (`train`, `folds`).
    prefix: before every id.
    group_prefix: before every group that is named.
    """

    data: Data
    split: str
    external: str = ""
    prefix: str = ""
    group_prefix: str = ""


class Reader(NamedTuple):
    """A subset opened: how many rows it has, and some of them, from row `first`, in order."""

    rows: int
    items: Callable[[int, int], Iterator[Item]]


def subsets(data: Data) -> list[Subset]:
    """The training images, the external sets, the test images if there are any."""
    externals = []
    for external in data.external:
        name = f"{external.name}/"
        group = name if external.groups == "own" else ""
        externals.append(Subset(data.of(external), "train", external.use, name, group))
    return [Subset(data, "train"), *externals, *([Subset(data, "test")] if data.tests()[1] else [])]
