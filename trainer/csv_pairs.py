"""CSVs of two columns, an id and a value: sample submissions, answers, a user's folds. Light: no numpy, no pandas."""

import csv
from pathlib import Path

from trainer.errors import DataError


def read_two_columns(path: str | Path) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """The header and the rows of a CSV with two columns, the first of which is an id that is there once.

    Raises:
        DataError: it is missing, has no rows or another number of columns, or an id is empty or stands there twice.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as stream:
            lines = [line for line in csv.reader(stream) if line]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, where a CSV file is meant") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from None
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
