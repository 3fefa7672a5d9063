"""Read pixel CSVs: one row per image, columns pixel0 … pixel<n-1> of one grey square image in
row-major order, 0 to 255.

A train file has the label in a named column; other columns in a file are ignored. Rows have no id
of their own: the id of an image is its row number, from 1, in its own file, as the sample
submissions of such competitions count. A file whose name ends in .gz is unpacked as it is read.
"""

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
    """Return the side of the images in pixels, from the header alone.

    Raises:
        DataError: the file is missing or empty, or its pixel columns are not 0 … side² - 1.
    """
    header = _header(path)
    duplicates = [name for name, times in Counter(header).items() if times > 1]
    if duplicates:
        raise DataError(f"{path}: column {duplicates[0]!r} occurs more than once in the header")
    numbers = {int(match[1]) for name in header if (match := _PIXEL.fullmatch(name))}
    if not numbers:
        raise DataError(f"{path}: no pixel columns (pixel0, pixel1, …); it has {some(header)}")
    # Do not build a range up to the largest number: a header can make that arbitrarily long.
    first_missing = next(number for number in itertools.count() if number not in numbers)
    if first_missing != len(numbers):
        raise DataError(
            f"{path}: no column 'pixel{first_missing}', though there is a 'pixel{max(numbers)}'"
        )
    length = math.isqrt(len(numbers))
    if length * length != len(numbers):
        raise DataError(f"{path}: {len(numbers)} pixel columns do not make a square image")
    return length


def reader(subset: Subset) -> Reader:
    """Open the images of a subset's file; about 2,000 rows are in memory at once.

    Raises:
        DataError: as `side`; or a column is missing. While reading: a pixel is not a whole number
            from 0 to 255, for example because its row is cut short; the message names the row and
            the column.
    """
    path = subset.data.train if subset.split == "train" else subset.data.test
    columns = Columns(subset.data, _header(path), path, subset.split)
    side(path)
    position, stream = 0, _items(path, subset, columns.names, 0)

    def items(first: int, rows: int) -> Iterator[Item]:
        # Blocks mostly follow each other, so parsing continues from where it stopped.
        nonlocal position, stream
        if first != position:
            position, stream = first, _items(path, subset, columns.names, first)
        for item in islice(stream, rows):
            position += 1
            yield item

    return Reader(count(path), items)


def count(path: str) -> int:
    """Return the number of images in the file: its rows without the header and blank rows."""
    rows, plain = 0, True
    try:
        with open_bytes(objects.local_path(path)) as stream:
            for line in stream:
                rows += bool(line.strip())
                # Only a parser can count the rows of a file that has quotes, or lone carriage
                # returns as line ends.
                plain = plain and b'"' not in line and b"\r" not in line.rstrip(b"\r\n")
    except DAMAGED_GZIP as error:
        raise DataError(f"{path}: not a complete gzip file: {error}") from None
    if not plain:
        rows = sum(1 for _ in read_rows(objects.local_path(path)))
    return max(0, rows - 1)


def _items(path: str, subset: Subset, names: list[str], first: int) -> Iterator[Item]:
    """Yield the items after the first `first` rows."""
    import pandas as pd

    length = side(path)
    pixel_names = [f"pixel{index}" for index in range(length * length)]
    columns = Columns(subset.data, names, path, subset.split)
    row = 0
    try:
        for chunk in _chunks(path, names):
            # Earlier rows are parsed and dropped: only a parser knows where a row ends.
            if row + len(chunk) > first:
                pixels = _checked(path, chunk[pixel_names], row)
                for number, (cells, values) in enumerate(
                    zip(chunk[names].to_numpy().tolist(), pixels, strict=True), start=row + 1
                ):
                    if first < number:
                        table_row = columns.row(number, cells, id_=str(number))
                        image = values.reshape(length, length, 1)
                        yield Item(
                            table_row._replace(id=subset.prefix + table_row.id),
                            "",
                            partial(_identity, image),
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


def _identity(pixels: np.ndarray) -> np.ndarray:
    """Return the pixels of an item, which are in memory already."""
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
        # pandas only warns about rows longer than the header, and drops the excess cells.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        yield from chunks


def _checked(path: str, cells, first_row: int) -> np.ndarray:  # type: ignore[no-untyped-def]  # a DataFrame
    """Return the pixels of a chunk of rows, (n, pixels) uint8, after checking their range.

    Args:
        path: the file, for error messages.
        cells: the pixel columns of the chunk.
        first_row: the number of rows before the chunk.
    """
    import pandas as pd

    values = cells.to_numpy()
    if values.dtype.kind not in "iu":
        numbers = (
            pd.to_numeric(pd.Series(values.ravel().astype(str)), errors="coerce")
            .to_numpy(dtype=np.float64)
            .copy()
        )
        numbers = numbers.reshape(values.shape)
        wrong = ~(np.floor(numbers) == numbers)  # also if not a number
        numbers[wrong] = -1
    else:
        numbers = values
    wrong = (numbers < 0) | (numbers > 255)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        cell = str(values[row, column])
        raise DataError(
            f"{path}: row {first_row + row + 1}, column {cells.columns[column]!r}: "
            f"{'an empty cell' if cell in ('', 'nan') else cell} is not a whole number from 0 to"
            " 255"
        )
    return numbers.astype(np.uint8, order="C")


def _malformed(path: str) -> str:
    """Say what is wrong with the first row that is longer than the header; "" if there is none.

    Raises:
        DataError: as `read_rows`.
    """
    rows = read_rows(objects.local_path(path))
    header = next(rows)
    for number, row in enumerate(rows, start=1):
        if len(row) > len(header):
            return f"row {number} has {len(row)} cells, but the header has {len(header)}"
    return ""


def _header(path: str) -> list[str]:
    header = next(read_rows(objects.local_path(path)), None)
    if header is None:
        raise DataError(f"{path}: empty; expected a header")
    return header
