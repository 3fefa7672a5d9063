"""What a source yields: rows, how to load their images, and the rows that cannot be used."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from trainer.config.data import Data


class Row(NamedTuple):
    """One labelled or unlabelled image as its table describes it.

    Attributes:
        id: unique within its split.
        label: a class name, or the index of a class; "" if there is none.
        group: the name of the group; "" if there is none.
        numeric: the values of the numeric columns, NaN if missing.
        categorical: the values of the categorical columns, "" if missing.
        where: the file and row, for error messages.
    """

    id: str
    label: str | int
    group: str = ""
    numeric: tuple[float, ...] = ()
    categorical: tuple[str, ...] = ()
    where: str = ""


class Item(NamedTuple):
    """A row with its image.

    Attributes:
        row: the row.
        file: the file that the image is in, "" if there is none.
        load: returns the bytes of the file, or (height, width, 1 or 3) uint8 pixels; it may be
            called in any thread, and raises BadImage or OSError.
    """

    row: Row
    file: str
    load: Callable[[], bytes | np.ndarray]


class Rejected(NamedTuple):
    """A row whose image cannot be used.

    Attributes:
        id: the id of the row.
        file: the file that the image is in, "" if there is none.
        reason: why the image cannot be used.
        bytes: the size of the file in bytes.
        split: `train` or `test`.
    """

    id: str
    file: str
    reason: str
    bytes: int
    split: str = "train"

    def message(self) -> str:
        """Return which image cannot be used, and why."""
        where = f"{self.file}: id" if self.file else "id"
        # Many images may be in one file, and the id need not be in its name.
        named = self.file and self.id.rpartition("/")[2] in self.file.rpartition("/")[2]
        return f"{self.file}: {self.reason}" if named else f"{where} {self.id!r}: {self.reason}"


class Subset(NamedTuple):
    """The images of one split, or of one external set.

    Attributes:
        data: the `[data]` section, adapted to the external set if there is one.
        split: `train` or `test`.
        external: "" for the competition's own images, else the use of the external set (`train` or
            `folds`).
        prefix: prepended to every id.
        group_prefix: prepended to every group that is not "".
    """

    data: Data
    split: str
    external: str = ""
    prefix: str = ""
    group_prefix: str = ""


class Reader(NamedTuple):
    """An opened subset.

    Attributes:
        rows: the number of rows.
        items: called with the index of the first row, from 0, and a number of rows; yields their
            items in order.
    """

    rows: int
    items: Callable[[int, int], Iterator[Item]]


def subsets(data: Data) -> list[Subset]:
    """Return the training images, the external sets, and the test images if there are any."""
    externals = []
    for external in data.external:
        name = f"{external.name}/"
        group = name if external.groups == "own" else ""
        externals.append(Subset(data.of(external), "train", external.use, name, group))
    return [Subset(data, "train"), *externals, *([Subset(data, "test")] if data.tests()[1] else [])]
