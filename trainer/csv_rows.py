"""CSVs as rows of texts: in UTF-8 with or without a byte-order mark, any line ends, unpacked where the name ends in .gz.

Light: no numpy, no pandas. Whoever needs a large table fast reads it with pandas; headers, ids and small tables are read here.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from trainer.errors import DataError

# What reading a gzip file raises that is cut off or is none.
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)


def open_bytes(path: str | Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path)) if str(path).endswith(".gz") else open(path, "rb")


def read_rows(path: str | Path) -> Iterator[list[str]]:
    """The rows of a CSV, the header first, blank ones left out.

    Raises:
        DataError: the file is missing, a folder, not in UTF-8, no CSV, or no whole gzip file.
    """
    number = 0
    try:
        with open_bytes(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as stream:
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
        raise DataError(f"{path}: not a CSV file in UTF-8 soon after row {max(0, number - 1)}: {error}") from None


def read_two_columns(path: str | Path) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """The header and the rows of a CSV with two columns, the first of which is an id that is there once.

    Raises:
        DataError: it is missing, has no rows or another number of columns, or an id is empty or stands there twice.
    """
    lines = list(read_rows(path))
    if not lines:
        raise DataError(f"{path}: empty, where a header of two columns is meant")
    seen: dict[str, int] = {}
    for number, line in enumerate(lines):
        if len(line) != 2:
            where = f"row {number}" if number else "the header"
            raise DataError(f"{path}: {where} has {len(line)} columns, where two are meant (an id and a value)")
        if number == 0:
            continue
        if not line[0]:
            raise DataError(f"{path}: row {number}, column {lines[0][0]!r}: an empty id")
        if line[0] in seen:
            raise DataError(f"{path}: row {number}, column {lines[0][0]!r}: id {line[0]!r} is already in row {seen[line[0]]}")
        seen[line[0]] = number
    if not seen:
        raise DataError(f"{path}: a header and no rows")
    return (lines[0][0], lines[0][1]), [(line[0], line[1]) for line in lines[1:]]
