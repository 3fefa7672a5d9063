"""Convert the cells of a table to labels, numbers and categories."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from components.records.types import Row
from trainer.config.data import Data, TargetPart
from trainer.errors import DataError

# How pandas and R write a missing value; case does not matter.
_MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>"}


class Columns:
    """Converts the cells of a table to `Row` tuples.

    Args:
        data: names the columns.
        header: the column names of the table.
        path: the path of the table, for error messages.
        split: `train` or `test`; `test` requires only the id and the tabular columns.

    Raises:
        DataError: a column is missing, or occurs more than once in the header.
    """

    def __init__(self, data: Data, header: Sequence[str], path: str, split: str) -> None:
        self.data, self.path = data, path
        labelled = split == "train"
        name_of = dict(data.columns() if labelled else {"id": data.id} if data.id else {})
        name_of |= {f"numeric {name}": name for name in data.numeric} | {
            f"categorical {name}": name for name in data.categorical
        }
        self.parts = data.target_parts if labelled else []
        name_of |= {
            f"target_parts {part.column}": part.column
            for part in self.parts
            if part.column != "{file}"
        }
        for purpose, name in name_of.items():
            if header.count(name) != 1:
                how_many = "more than one" if name in header else "no"
                raise DataError(
                    f"{path}: {how_many} column {name!r} (data.{purpose.split()[0]}); it has"
                    f" {some(header)}"
                )
        self.name_of = name_of
        self.names = list(dict.fromkeys(name_of.values()))
        self.place = {purpose: header.index(name) for purpose, name in name_of.items()}

    def row(self, number: int, cells: Sequence[str], *, id_: str = "", file: str = "") -> Row:
        """Convert the cells of one row.

        Args:
            number: the number of the row, from 1.
            cells: the cells in the order of the header.
            id_: the id, if the table has no column of ids.
            file: the text that "{file}" stands for in a part of the label.

        Raises:
            DataError: an id is empty or has a character that cannot be printed, or a cell that
                should be a number is not; the message names the row and the column.
        """
        where = f"{self.path}: row {number}"
        cell = {purpose: cells[place] for purpose, place in self.place.items()}
        if cell.get("id") == "":
            raise DataError(f"{where}, column {self.data.id!r}: an empty cell")
        id_ = cell.get("id", id_)
        if not id_.isprintable():
            raise DataError(
                f"{where}, column {self.data.id!r}: id {id_!r} has a character that cannot be"
                " printed"
            )
        numeric = tuple(
            number_of(cell[f"numeric {name}"], where, name) for name in self.data.numeric
        )
        categorical = tuple(
            category_of(cell[f"categorical {name}"]) for name in self.data.categorical
        )
        label: str | int = cell.get("target", "")
        if self.parts:
            texts = [
                file if part.column == "{file}" else cell[f"target_parts {part.column}"]
                for part in self.parts
            ]
            label = composed(self.parts, texts, where)
        return Row(id_, label, category_of(cell.get("group", "")), numeric, categorical, where)


def composed(parts: Sequence[TargetPart], texts: Sequence[str], where: str) -> int:
    """Return the index of a class that is composed of parts, the last part counting fastest.

    Args:
        parts: the parts of the label.
        texts: the text of each part.
        where: the file and row, for error messages.

    Raises:
        DataError: a text is not one of the part's values, or not a number if the part has bins.
    """
    index = 0
    for part, text in zip(parts, texts, strict=True):
        if part.bins:
            value = number_of(text, where, part.column)
            if math.isnan(value):
                raise DataError(f"{where}, column {part.column!r}: an empty cell")
            digit = sum(value >= bound for bound in part.bins)
        else:
            matches = [
                choice for choice, pattern in enumerate(part.values) if fnmatchcase(text, pattern)
            ]
            if not matches:
                raise DataError(
                    f"{where}, column {part.column!r}: {text!r} is not one of"
                    f" {', '.join(part.values)}"
                )
            digit = matches[0]
        index = index * part.count() + digit
    return index


def number_of(text: str, where: str, column: str) -> float:
    """Return the number in a cell, NaN if it is missing.

    Raises:
        DataError: the text is not a number, or is infinite.
    """
    if text.strip().lower() in _MISSING:
        return math.nan
    try:
        # Python would also read 1_000.
        value = float(text) if "_" not in text else math.inf
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise DataError(
            f"{where}, column {column!r}: {text!r} is not a number (use an empty cell or NA for a"
            " missing value)"
        )
    return value


def category_of(text: str) -> str:
    """Return the category in a cell, "" if it is missing."""
    return "" if text.strip().lower() in _MISSING else text


def target_of(row: Row, index_of: Mapping[str, int], column: str, separator: str = "") -> int:
    """Return the class index of a label.

    If a label may name several classes, return a number with one bit set per class: 0 for an empty
    label, an image of no class.

    Args:
        row: the row with the label.
        index_of: the index of each class name.
        column: the name of the label column, for error messages.
        separator: the text between several classes; "" if a label is one class.

    Raises:
        DataError: the label is empty, or not a class.
    """
    if separator:
        parts = [part.strip() for part in str(row.label).split(separator)]
        return sum(
            {1 << target_of(row._replace(label=part), index_of, column) for part in parts if part}
        )
    if row.label == "":
        raise DataError(
            f"{row.where}, column {column!r}: an empty cell: write a class, or delete the row"
        )
    if isinstance(row.label, int) and 0 <= row.label < len(index_of):
        return row.label
    if isinstance(row.label, int):
        raise DataError(
            f"{row.where}, {column!r}: {row.label} is not a class index; there are {len(index_of)}"
            " classes, numbered from 0"
        )
    if row.label not in index_of:
        names = list(index_of)
        raise DataError(
            f"{row.where}, column {column!r}: {row.label!r} is not a class; classes are"
            f" {', '.join(names[:20])}"
        )
    return index_of[row.label]


def some(header: Sequence[str]) -> str:
    """Return the first names of a header as text, for an error message."""
    names = ", ".join(repr(name) for name in header[:10])
    return names + (f" and {len(header) - 10} more" if len(header) > 10 else "")
