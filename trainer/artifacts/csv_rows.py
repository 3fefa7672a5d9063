"""CSVs as rows of texts: in UTF-8 with or without a byte-order mark, any line ends, unpacked where
they are gzip.

Light: no numpy, no pandas. Whoever needs a large table fast reads it with pandas; headers, ids and
small tables are read here."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from trainer.errors import DataError

# What a gzip file begins with.
_GZIP = b"\x1f\x8b"
# What reading a gzip file raises that is cut off or is none.
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


def open_bytes(path: str | Path) -> IO[bytes]:
    """The bytes of a file, unpacked where it is gzip by its name or its first bytes."""
    stream = open(path, "rb")  # noqa: SIM115  # whoever asked closes it
    if not str(path).endswith(".gz") and stream.peek(2)[:2] != _GZIP:
        return stream
    stream.close()
    return cast(IO[bytes], gzip.open(path))


def read_rows(path: str | Path) -> Iterator[list[str]]:
    """The rows of a CSV, the header first, blank ones left out.

    Raises:
        DataError: the file is missing, a folder, not in UTF-8, no CSV, or no whole gzip file.
    """
    number = 0
    try:
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
        raise DataError(f"{path}: a folder, where a CSV file is meant") from None
    except DAMAGED_GZIP as error:
        raise DataError(f"{path}: not a whole gzip file: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: not a CSV file in UTF-8 soon after row {max(0, number - 1)}: {error}"
        ) from None


def read_table(path: str | Path) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The header and the rows of a CSV of two or more columns, the first of which is an id that is
    there once.

    Raises:
        DataError: it is missing, has no rows, a single column or a row of another length, a column
            twice, or an id is empty or stands there twice.
    """
    lines = read_rows(path)
    header = tuple(next(lines, ()))
    if not header:
        raise DataError(f"{path}: empty, where a header of two columns is meant")
    if len(header) < 2:
        raise DataError(
            f"{path}: the header has {len(header)} columns, where two are meant (an id and a value)"
        )
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: the header has column {twice!r} more than once")
    seen: dict[str, int] = {}
    rows = []
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(line)} columns, where {len(header)} are meant"
            )
        if not line[0]:
            raise DataError(f"{path}: row {number}, column {header[0]!r}: an empty id")
        if line[0] in seen:
            raise DataError(
                f"{path}: row {number}, column {header[0]!r}: id {line[0]!r} is already in row"
                f" {seen[line[0]]}"
            )
        seen[line[0]] = number
        rows.append(tuple(line))
    if not rows:
        raise DataError(f"{path}: a header and no rows")
    return header, rows


def read_two_columns(path: str | Path) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """`read_table` of two columns.

    Raises:
        DataError: as `read_table` does, or there are more columns.
    """
    header, rows = read_table(path)
    if len(header) != 2:
        raise DataError(
            f"{path}: the header has {len(header)} columns, where two are meant (an id and a value)"
        )
    return (header[0], header[1]), [(row[0], row[1]) for row in rows]
