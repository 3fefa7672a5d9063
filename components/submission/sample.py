"""The sample submission: it decides the header, the ids and their order. Light: no numpy, no pandas."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.storage import near
from trainer.csv_rows import read_two_columns
from trainer.errors import DataError


class Sample(NamedTuple):
    """The two columns' names and the ids, in order."""

    id_column: str
    target_column: str
    ids: list[str]


def read(path: str) -> Sample:
    """Read a sample submission of two columns.

    Raises:
        DataError: it is missing, has no rows or another number of columns, or an id is empty or stands there twice.
    """
    header, rows = read_two_columns(near(path))
    return Sample(header[0], header[1], [id_ for id_, _ in rows])


def read_answers(path: str, classes: Sequence[str], ids: Iterable[str], ids_path: str | Path) -> dict[str, str]:
    """The true class name of each id.

    Args:
        path: a file of the submission's form.
        classes: what an answer may be.
        ids: those that must have an answer, and no others.
        ids_path: where they are from, for the error.

    Raises:
        DataError: the ids differ, or an answer is no class.
    """
    header, rows = read_two_columns(near(path))
    known = set(classes)
    for row, (id_, label) in enumerate(rows, start=1):
        if label not in known:
            raise DataError(f"{path}: row {row}, column {header[1]!r}: {label!r} (id {id_!r}) is no class")
    check_ids(Sample(*header, [id_ for id_, _ in rows]), path, ids, ids_path)
    return dict(rows)


def check_ids(sample: Sample, path: str, test_ids: Iterable[str], test_path: str | Path) -> None:
    """Every id of the sample is among the ids of `test_path`, and the other way round.

    Raises:
        DataError: with the first id that has no counterpart, and its row in the sample where it has one.
    """
    known = set(test_ids)
    unknown = [(row, id_) for row, id_ in enumerate(sample.ids, start=1) if id_ not in known]
    if unknown:
        row, id_ = unknown[0]
        raise DataError(
            f"{path}: row {row}, column {sample.id_column!r}: id {id_!r} is not in {test_path} ({len(unknown)} such ids)"
        )
    left_out = known.difference(sample.ids)
    if left_out:
        # Numbers in their own order, other ids as text.
        first = min(left_out, key=lambda id_: (not id_.isdigit(), int(id_) if id_.isdigit() else 0, id_))
        raise DataError(f"{path}: no row for id {first!r}, which is in {test_path} ({len(left_out)} such ids)")
