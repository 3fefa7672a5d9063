"""Read pixel CSVs: one row per image, one column per value of a square image in row-major order, 0
to 255.

The columns are numbered from 0 or 1 (pixel0 …, pixel0001 …), or named by row and column (1x1 …
28x28). Three times as many columns as a square has are red, green and blue of each pixel in turn. A
train file has the label in a named column; other columns are ignored. The id of an image is in the
column `data.id`, or in one named id; in a file without it, it is the row's number, from 1, as the
sample submissions of such competitions count. A file whose name ends in .gz is unpacked as it is
read.
"""

import dataclasses
import itertools
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from components.records.sources.columns import Columns, some
from components.records.types import Item, Reader, Row, Subset
from components.storage import objects
from trainer.artifacts.csv_rows import DAMAGED_GZIP, open_bytes, read_rows
from trainer.errors import DataError

# The prefix and the number of a numbered column; the row and the column of a named one.
_NUMBERED, _NAMED = re.compile(r"([A-Za-z_ ]*?)_?([0-9]+)"), re.compile(r"([0-9]+)x([0-9]+)")
_ROWS_AT_A_TIME = 2048


class Layout(NamedTuple):
    """Which columns of a file are pixels.

    Attributes:
        columns: their names, in row-major order, the channels of a pixel next to each other.
        side: side of the images in pixels.
        channels: 1 or 3.
    """

    columns: list[str]
    side: int
    channels: int


def layout(path: str, others: Collection[str] = ()) -> Layout:
    """Return which columns of a file are pixels, from the header alone.

    Args:
        path: the file.
        others: columns that are no pixels.

    Raises:
        DataError: the file is missing or empty, or its pixel columns are not those of a square.
    """
    header = _header(path)
    duplicates = [name for name, times in Counter(header).items() if times > 1]
    if duplicates:
        raise DataError(f"{path}: column {duplicates[0]!r} occurs more than once in the header")
    names = [name for name in header if name not in others]
    columns = _named(names) or _numbered(names, path)
    if not columns:
        raise DataError(f"{path}: no pixel columns (pixel0, pixel1, …); it has {some(header)}")
    for channels in (1, 3):
        side = math.isqrt(len(columns) // channels)
        if channels * side * side == len(columns) and side >= channels // 2 + 1:
            return Layout(columns, side, channels)
    raise DataError(
        f"{path}: {len(columns)} pixel columns do not make a square image of 1 or 3 channels"
    )


def _named(names: Sequence[str]) -> list[str]:
    """Return the columns named by row and column, in row-major order; [] if they are no square."""
    found = {(int(m[1]), int(m[2])): name for name in names if (m := _NAMED.fullmatch(name))}
    places = sorted(found)
    side = math.isqrt(len(places))
    first = places[0][0] if places else 0
    wanted = itertools.product(range(first, first + side), repeat=2)
    return [found[place] for place in places] if places == list(wanted) else []


def _numbered(names: Sequence[str], path: str) -> list[str]:
    """Return the numbered columns in order; of several kinds, those named pixel, or most of them.

    Raises:
        DataError: a number is missing, or occurs twice.
    """
    kinds: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if match := _NUMBERED.fullmatch(name):
            number = int(match[2])
            if number in kinds[match[1]]:
                raise DataError(
                    f"{path}: columns {kinds[match[1]][number]!r} and {name!r} are the same pixel"
                )
            kinds[match[1]][number] = name
    if not kinds:
        return []
    prefix = max(kinds, key=lambda kind: (kind.lower().startswith("pix"), len(kinds[kind])))
    numbers = kinds[prefix]
    first = 0 if 0 in numbers else 1
    # Do not build a range up to the largest number: a header can make that arbitrarily long.
    missing = next(number for number in itertools.count(first) if number not in numbers)
    if missing - first != len(numbers):
        raise DataError(
            f"{path}: no column '{prefix}{missing}', though there is a {numbers[max(numbers)]!r}"
        )
    return [numbers[number] for number in sorted(numbers)]


def reader(subset: Subset) -> Reader:
    """Open the images of a subset's file; about 2,000 rows are in memory at once.

    Raises:
        DataError: as `layout`; or a column is missing. While reading: a pixel is not a whole number
            from 0 to 255, for example because its row is cut short; the message names the row and
            the column.
    """
    path = subset.data.train if subset.split == "train" else subset.data.test
    columns, _ = _columns(subset, path)
    layout(path, columns.names)
    position, stream = 0, _items(path, subset, 0)

    def items(first: int, rows: int) -> Iterator[Item]:
        # Blocks mostly follow each other, so parsing continues from where it stopped.
        nonlocal position, stream
        if first != position:
            position, stream = first, _items(path, subset, first)
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


def rows(subset: Subset) -> list[Row]:
    """Return the rows of a subset's file, without its pixels.

    Raises:
        DataError: as for `reader`.
    """
    path = subset.data.train if subset.split == "train" else subset.data.test
    columns, has_ids = _columns(subset, path)
    if not columns.names:
        return [Row(f"{subset.prefix}{row}", "") for row in range(1, count(path) + 1)]
    header = _header(path)
    places = [header.index(name) for name in columns.names]
    found = [
        _row(subset, columns, has_ids, number, cells)
        for number, cells in enumerate(_cells(path, places), start=1)
    ]
    if not found:
        raise DataError(f"{path}: a header and no rows")
    return found


def _cells(path: str, places: Sequence[int]) -> Iterator[list[str]]:
    """Yield the cells at some places of each row, without parsing the others."""
    last, local = max(places) + 1, objects.local_path(path)
    try:
        with open_bytes(local) as stream:
            plain = all(b'"' not in line and b"\r" not in line.rstrip(b"\r\n") for line in stream)
        if not plain:
            # Only a parser can cut a file that has quotes, or lone carriage returns as line ends.
            for row in itertools.islice(read_rows(local), 1, None):
                yield [row[place] if place < len(row) else "" for place in places]
            return
        with open_bytes(local) as stream:
            lines = (line for line in stream if line.strip())
            for line in itertools.islice(lines, 1, None):
                row = line.rstrip(b"\r\n").decode().split(",", last)
                yield [row[place] if place < len(row) else "" for place in places]
    except DAMAGED_GZIP as error:
        raise DataError(f"{path}: not a complete gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from None


def _columns(subset: Subset, path: str) -> tuple[Columns, bool]:
    """Return what converts the columns that are no pixels, and whether one of them has ids."""
    data, header = subset.data, _header(path)
    ids = [name for name in header if name == data.id] or [
        name for name in header if not data.id and name.lower() == "id" and name != data.target
    ]
    if data.id and not ids and subset.split == "test":
        raise DataError(f"{path}: no column {data.id!r} (data.id); it has {some(header)}")
    data = dataclasses.replace(data, id=ids[0] if ids else "")
    return Columns(data, header, path, subset.split), bool(ids)


def _row(subset: Subset, columns: Columns, has_ids: bool, number: int, cells: Sequence[str]) -> Row:
    # The columns were read in this order, not in that of the header.
    cell_of = dict(zip(columns.names, cells, strict=True))
    whole = [""] * (max(columns.place.values(), default=-1) + 1)
    for purpose, place in columns.place.items():
        whole[place] = cell_of[columns.name_of[purpose]]
    row = columns.row(number, whole, id_="" if has_ids else str(number))
    return row._replace(id=subset.prefix + row.id)


def _items(path: str, subset: Subset, first: int) -> Iterator[Item]:
    """Yield the items after the first `first` rows."""
    columns, has_ids = _columns(subset, path)
    found = layout(path, columns.names)
    row = 0
    for chunk in _parsed(path, columns.names):
        # Earlier rows are parsed and dropped: only a parser knows where a row ends.
        if row + len(chunk) > first:
            pixels = _checked(path, chunk[found.columns], row)
            for number, (cells, values) in enumerate(
                zip(chunk[columns.names].to_numpy().tolist(), pixels, strict=True), start=row + 1
            ):
                if first < number:
                    image = values.reshape(found.side, found.side, found.channels)
                    table_row = _row(subset, columns, has_ids, number, cells)
                    yield Item(table_row, "", partial(_identity, image))
        row += len(chunk)


def _parsed(path: str, names: list[str]):  # type: ignore[no-untyped-def]  # an iterator of DataFrames
    """Yield the rows of a file in chunks.

    Raises:
        DataError: the file is malformed, or has no rows.
    """
    import pandas as pd

    rows = 0
    try:
        for chunk in _chunks(path, names):
            yield chunk
            rows += len(chunk)
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        UnicodeDecodeError,
        *DAMAGED_GZIP,
    ) as error:
        raise DataError(f"{path}: {_malformed(path) or f'not a readable CSV: {error}'}") from None
    if rows == 0:
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
