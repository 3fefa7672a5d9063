"""Cells of a table -> labels, numbers and categories."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from components.records.types import Row
from trainer.config.data import Data, TargetPart
from trainer.errors import DataError

# As pandas and R write a missing value, in any case of letters.
_MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>"}


class Columns:
    """Turns the cells of a table's rows into `Row` tuples.

    Args:
        data: names the columns.
        header: of the table, its names once each.
        path: of the table, for errors.
        split: in `test` only the id and the tabular columns are looked for.

    Raises:
        DataError: a column is missing, or stands in the header more than once.
    """

    def __init__(self, data: Data, header: Sequence[str], path: str, split: str) -> None:
        self.data, self.path = data, path
        labelled = split == "train"
        wanted = dict(data.columns() if labelled else {"id": data.id} if data.id else {})
        wanted |= {f"numeric {name}": name for name in data.numeric} | {
            f"categorical {name}": name for name in data.categorical
        }
        self.parts = data.target_parts if labelled else []
        wanted |= {
            f"target_parts {part.column}": part.column
            for part in self.parts
            if part.column != "{file}"
        }
        for purpose, name in wanted.items():
            if header.count(name) != 1:
                found = "more than one" if name in header else "no"
                raise DataError(
                    f"{path}: {found} column {name!r} (data.{purpose.split()[0]}); it has"
                    f" {some(header)}"
                )
        self.names = list(wanted.values())
        self.place = {purpose: header.index(name) for purpose, name in wanted.items()}

    def row(self, number: int, cells: Sequence[str], *, id_: str = "", file: str = "") -> Row:
        """The row of these cells.

        Args:
            number: of the row, from 1.
            id_: where the table has no column of ids.
            file: what "{file}" stands for in a part of the label.

        Raises:
            DataError: an id or a label is empty, an id has a character that cannot be printed, a
                number is none; the text has the row and the column.
        """
        where = f"{self.path}: row {number}"
        cell = {purpose: cells[place] for purpose, place in self.place.items()}
        for purpose in ("id", "target"):
            if purpose in cell and not cell[purpose]:
                raise DataError(f"{where}, column {getattr(self.data, purpose)!r}: an empty cell")
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
    """The index of a class that is made of parts, the last one counting fastest.

    Raises:
        DataError: a text is none of the part's values, or no number where it has bins.
    """
    index = 0
    for part, text in zip(parts, texts, strict=True):
        if part.bins:
            value = number_of(text, where, part.column)
            if math.isnan(value):
                raise DataError(f"{where}, column {part.column!r}: an empty cell")
            digit = sum(value >= bound for bound in part.bins)
        else:
            fitting = [
                place for place, pattern in enumerate(part.values) if fnmatchcase(text, pattern)
            ]
            if not fitting:
                raise DataError(
                    f"{where}, column {part.column!r}: {text!r} is none of {', '.join(part.values)}"
                )
            digit = fitting[0]
        index = index * part.count() + digit
    return index


def number_of(text: str, where: str, column: str) -> float:
    """A number, or NaN for a missing one.

    Raises:
        DataError: it is something else, or infinite.
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
            f"{where}, column {column!r}: {text!r} is no number (an empty cell or NA would be a"
            " missing one)"
        )
    return value


def category_of(text: str) -> str:
    """A category, or "" for a missing one."""
    return "" if text.strip().lower() in _MISSING else text


def target_of(row: Row, index_of: Mapping[str, int], column: str, separator: str = "") -> int:
    """The class index of a label, -1 where there is none; where a label names several classes, a
    number with a bit for each.

    Args:
        separator: what is between these; "" where a label is one class.

    Raises:
        DataError: it is no class.
    """
    if row.label == "":
        return -1
    if separator:
        parts = [part.strip() for part in str(row.label).split(separator)]
        return sum(
            {1 << target_of(row._replace(label=part), index_of, column) for part in parts if part}
        )
    if isinstance(row.label, int) and 0 <= row.label < len(index_of):
        return row.label
    if isinstance(row.label, int):
        raise DataError(
            f"{row.where}, {column!r}: {row.label} is no class; there are {len(index_of)}, from 0"
        )
    if row.label not in index_of:
        names = list(index_of)
        raise DataError(
            f"{row.where}, column {column!r}: {row.label!r} is no class; classes are"
            f" {', '.join(names[:20])}"
        )
    return index_of[row.label]


def some(header: Sequence[str]) -> str:
    """The first names of a header, for an error."""
    shown = ", ".join(repr(name) for name in header[:10])
    return shown + (f" and {len(header) - 10} more" if len(header) > 10 else "")
