"""Pixel CSVs: a row an image, columns pixel0 … pixel<n-1> of one grey square image in row-major
order, 0 to 255.

A train file has the label in a named column; a file may have other columns, which are left alone.
Rows have no id of their own: an image's id is its row number, from 1, in its own file, as the
sample submissions of such competitions count. A file whose name ends in .gz is unpacked as it is
read."""

import itertools
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice

import numpy as np

from components.records.sources.columns import Columns, some
from components.records.types import Item, Reader, Subset
from components.storage import objects
from trainer.artifacts.csv_rows import DAMAGED_GZIP, open_bytes, read_rows
from trainer.errors import DataError

_PIXEL = re.compile(r"pixel(0|[1-9][0-9]*)")
_ROWS_AT_A_TIME = 2048


def side(path: str) -> int:
    """The side of the images in pixels, from the header alone.

    Raises:
        DataError: the file is missing or empty, or its pixel columns are not 0 … side² - 1.
    """
    header = _header(path)
    twice = [name for name, times in Counter(header).items() if times > 1]
    if twice:
        raise DataError(f"{path}: column {twice[0]!r} stands in the header more than once")
    numbers = {int(match[1]) for name in header if (match := _PIXEL.fullmatch(name))}
    if not numbers:
        raise DataError(f"{path}: no pixel columns (pixel0, pixel1, …); it has {some(header)}")
    # Not by a range up to the largest, which a header may make as long as it likes.
    first_missing = next(number for number in itertools.count() if number not in numbers)
    if first_missing != len(numbers):
        raise DataError(
            f"{path}: no column 'pixel{first_missing}', though there is a 'pixel{max(numbers)}'"
        )
    length = math.isqrt(len(numbers))
    if length * length != len(numbers):
        raise DataError(f"{path}: {len(numbers)} pixel columns make no square image")
    return length


def reader(subset: Subset) -> Reader:
    """The images of a subset's file; about 2,000 rows are in memory at once.

    Raises:
        DataError: as `side`; a column is missing. When read: a pixel is no whole number from 0 to
            255, as where a row is cut short; the text has row and column.
    """
    path = subset.data.train if subset.split == "train" else subset.data.test
    columns = Columns(subset.data, _header(path), path, subset.split)
    side(path)
    place, stream = 0, _items(path, subset, columns.names, 0)

    def items(first: int, rows: int) -> Iterator[Item]:
        # Blocks mostly follow each other, and parsing goes on where it was.
        nonlocal place, stream
        if first != place:
            place, stream = first, _items(path, subset, columns.names, first)
        for item in islice(stream, rows):
            place += 1
            yield item

    return Reader(count(path), items)


def count(path: str) -> int:
    """How many images the file has: its rows less the header, blank ones left out."""
    rows, plain = 0, True
    try:
        with open_bytes(objects.local_path(path)) as stream:
            for line in stream:
                rows += bool(line.strip())
                # Only a parser knows the rows of a file that quotes, or that ends its lines as no
                # system does today.
                plain = plain and b'"' not in line and b"\r" not in line.rstrip(b"\r\n")
    except DAMAGED_GZIP as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    if not plain:
        rows = sum(1 for _ in read_rows(objects.local_path(path)))
    return max(0, rows - 1)


def _items(path: str, subset: Subset, names: list[str], first: int) -> Iterator[Item]:
    """The rows after the first `first`."""
    import pandas as pd

    length = side(path)
    pixel_names = [f"pixel{index}" for index in range(length * length)]
    columns = Columns(subset.data, names, path, subset.split)
    row = 0
    try:
        for chunk in _chunks(path, names):
            # Rows before the first are parsed and left: only a parser knows where a row ends.
            if row + len(chunk) > first:
                pixels = _checked(path, chunk[pixel_names], row)
                for number, (cells, values) in enumerate(
                    zip(chunk[names].to_numpy().tolist(), pixels, strict=True), start=row + 1
                ):
                    if first < number:
                        made = columns.row(number, cells, id_=str(number))
                        square = values.reshape(length, length, 1)
                        yield Item(
                            made._replace(id=subset.prefix + made.id), "", partial(_same, square)
                        )
            row += len(chunk)
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
        *DAMAGED_GZIP,
    ) as error:
        raise DataError(f"{path}: {_malformed(path) or f'not a readable CSV: {error}'}") from None
    if row == 0:
        raise DataError(f"{path}: a header and no rows")


def _same(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _chunks(path: str, names: list[str]):  # type: ignore[no-untyped-def]  # an iterator of DataFrames
    import pandas as pd

    with (
        warnings.catch_warnings(),
        pd.read_csv(
            objects.local_path(path),
            chunksize=_ROWS_AT_A_TIME,
            dtype=dict.fromkeys(names, str),
            keep_default_na=False,
            index_col=False,
        ) as chunks,
    ):
        # pandas only warns of rows longer than the header, and drops what is too much.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield from chunks


def _checked(path: str, cells, first_row: int) -> np.ndarray:  # type: ignore[no-untyped-def]  # a DataFrame
    """(n, pixels) uint8 of a chunk of rows, the first of which comes after `first_row` others."""
    import pandas as pd

    values = cells.to_numpy()
    if values.dtype.kind not in "iu":
        numbers = (
            pd.to_numeric(pd.Series(values.ravel().astype(str)), errors="coerce")
            .to_numpy(dtype=np.float64)
            .copy()
        )
        numbers = numbers.reshape(values.shape)
        wrong = ~(np.floor(numbers) == numbers)  # also where not a number
        numbers[wrong] = -1
    else:
        numbers = values
    wrong = (numbers < 0) | (numbers > 255)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        cell = str(values[row, column])
        raise DataError(
            f"{path}: row {first_row + row + 1}, column {cells.columns[column]!r}: "
            f"{'an empty cell' if cell in ('', 'nan') else cell} is no whole number from 0 to 255"
        )
    return numbers.astype(np.uint8, order="C")


def _malformed(path: str) -> str:
    """What is wrong with the first row that is longer than the header; "" where none is. Raises
    DataError as `read_rows`."""
    rows = read_rows(objects.local_path(path))
    header = next(rows)
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header):
            return f"row {number} has {len(row)} cells, the header {len(header)}"
    return ""


def _header(path: str) -> list[str]:
    header = next(read_rows(objects.local_path(path)), None)
    if header is None:
        raise DataError(f"{path}: empty, where a header is meant")
    return header
