"""Reads a CSV as rows of strings: UTF-8 with or without a byte-order mark, any line ends, plain or
gzip.

It imports neither numpy nor pandas. It is for headers, ids and small tables; read a large table
with pandas.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from trainer.errors import DataError

# The first bytes of a gzip file.
_GZIP = b"\x1f\x8b"
# What a file is that is no CSV, by its first bytes.
_OTHERS = {
    b"PK\3\4": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet table",
    b'{"': "a JSON document",
    b"{\n": "a JSON document",
    b"[{": "a JSON document",
}
# The errors of reading a gzip file that is truncated, damaged or not gzip at all.
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


def open_bytes(path: str | Path) -> IO[bytes]:
    """Open a file for reading bytes; it is decompressed if its name or its first bytes are those of
    gzip."""
    stream = open(path, "rb")  # noqa: SIM115  # whoever asked closes it
    if not str(path).endswith(".gz") and stream.peek(2)[:2] != _GZIP:
        return stream
    stream.close()
    return cast(IO[bytes], gzip.open(path))


def read_rows(path: str | Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV, the header first; blank rows are left out.

    Raises:
        DataError: the file does not exist, is a directory, is not a CSV in UTF-8, or is a truncated
            or damaged gzip file.
    """
    number = 0
    try:
        with open(path, "rb") as plain:
            start = plain.read(4)
        if kind := next((kind for first, kind in _OTHERS.items() if start.startswith(first)), ""):
            raise DataError(f"{path}: {kind}, not a CSV file: save the table as CSV")
        with (
            open_bytes(path) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as stream,
        ):
            for row in csv.reader(stream):
                if row:
                    yield row
                    number += 1
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory; expected a CSV file") from None
    except DAMAGED_GZIP as error:
        raise DataError(f"{path}: not a complete gzip file: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a CSV file in UTF-8 soon after row {max(0, number - 1)}: {error}"
        ) from None


def read_table(path: str | Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and the rows of a CSV of two or more columns, the first of which is a
    unique id.

    Raises:
        DataError: the file cannot be read (see `read_rows`), has no rows, has fewer than two
            columns, has a duplicate column, has a row of another length, or has an empty or
            duplicate id.
    """
    lines = read_rows(path)
    header = tuple(next(lines, ()))
    if not header:
        raise DataError(f"{path}: empty; expected a header of two columns")
    if len(header) < 2:
        raise DataError(
            f"{path}: the header has {len(header)} columns; expected an id and one or more values"
        )
    if len(set(header)) < len(header):
        duplicate = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: the header has column {duplicate!r} more than once")
    row_of: dict[str, int] = {}
    rows = []
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise DataError(f"{path}: row {number} has {len(line)} columns; expected {len(header)}")
        if not line[0]:
            raise DataError(f"{path}: row {number}, column {header[0]!r}: an empty id")
        if line[0] in row_of:
            raise DataError(
                f"{path}: row {number}, column {header[0]!r}: id {line[0]!r} is already in row"
                f" {row_of[line[0]]}"
            )
        row_of[line[0]] = number
        rows.append(tuple(line))
    if not rows:
        raise DataError(f"{path}: a header and no rows")
    return header, rows


def read_two_columns(path: str | Path) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Return the header and the rows of a CSV of exactly two columns.

    Raises:
        DataError: see `read_table`; or there are more than two columns.
    """
    header, rows = read_table(path)
    if len(header) != 2:
        raise DataError(
            f"{path}: the header has {len(header)} columns; expected two (an id and a value)"
        )
    return (header[0], header[1]), [(row[0], row[1]) for row in rows]
