"""The sample submission: it decides the header, the ids and their order. Light: no numpy, no
pandas."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import read_table, read_two_columns
from trainer.config.output import Submission
from trainer.errors import DataError


class Sample(NamedTuple):
    """The columns' names, the ids in order, and what stands beside each."""

    id_column: str
    columns: tuple[str, ...]
    ids: list[str]
    values: list[tuple[str, ...]]


def read(path: str | Path) -> Sample:
    """Read a sample submission, or a file like it.

    Raises:
        DataError: as `read_table` does.
    """
    header, rows = read_table(local_path(str(path)))
    return Sample(header[0], header[1:], [row[0] for row in rows], [row[1:] for row in rows])


def check_form(sample: Sample, submission: Submission, classes: Sequence[str], task: str) -> None:
    """The sample has the columns that `submission.values` writes, and does not show values of
    another kind.

    Raises:
        DataError: it says which values would fit.
    """
    where = f"{submission.sample}: submission.values = {submission.values!r}"
    if submission.values == "columns":
        lacking = [name for name in classes if name not in sample.columns]
        unknown = [name for name in sample.columns if name not in classes]
        if lacking or unknown:
            what = (
                f"lacks class {lacking[0]!r}"
                if lacking
                else f"has column {unknown[0]!r}, which is no class"
            )
            raise DataError(f"{where} is a column a class, and the sample's header {what}")
        return
    if len(sample.columns) != 1:
        raise DataError(
            f"{where} is one column, and the sample has {len(sample.columns)} besides the ids: use"
            " values = 'columns'"
        )
    several = task == "multilabel"
    shown = {
        part
        for (value,) in sample.values
        for part in (value.split(submission.separator) if several else [value])
        if part
    }
    known, number = set(classes), [re.fullmatch(r"\d+", part) is not None for part in shown]
    if submission.values == "class" and shown and all(number) and not shown & known:
        raise DataError(
            f"{where} writes names as {classes[0]!r}, and the sample has {min(shown)!r}: use values"
            " = 'index', or put a name into the sample if its numbers mean nothing"
        )
    if submission.values == "index" and shown and shown <= known and not all(number):
        raise DataError(
            f"{where} writes numbers, and the sample has {min(shown)!r}: use values = 'class'"
        )
    if (
        submission.values == "probability"
        and shown & known
        and not any(_is_number(part) for part in shown)
    ):
        raise DataError(
            f"{where} writes numbers, and the sample has {min(shown)!r}: use values = 'class'"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_answers(
    path: str,
    submission: Submission,
    classes: Sequence[str],
    ids: Iterable[str],
    ids_path: str | Path,
    *,
    several: bool,
) -> dict[str, frozenset[int]]:
    """The true classes of each id, by their index.

    Args:
        path: a file with an id and a class a row: its name, or its number where the submission has
            numbers.
        submission: its values and separator.
        ids: those that must have an answer, and no others.
        ids_path: where they are from, for the error.
        several: whether an image may be of any number of classes.

    Raises:
        DataError: the ids differ, or an answer is no class.
    """
    header, rows = read_two_columns(local_path(path))
    names = list(map(str, range(len(classes)))) if submission.values == "index" else list(classes)
    index_of = {name: index for index, name in enumerate(names)}
    found = {}
    for row, (id_, label) in enumerate(rows, start=1):
        parts = [part for part in label.split(submission.separator) if part] if several else [label]
        for part in parts:
            if part not in index_of:
                raise DataError(
                    f"{path}: row {row}, column {header[1]!r}: {part!r} (id {id_!r}) is no class"
                )
        found[id_] = frozenset(index_of[part] for part in parts)
    check_ids(Sample(header[0], header[1:], [id_ for id_, _ in rows], []), path, ids, ids_path)
    return found


def check_ids(sample: Sample, path: str, test_ids: Iterable[str], test_path: str | Path) -> None:
    """Every id of the sample is among the ids of `test_path`, and the other way round.

    Raises:
        DataError: with the first id that has no counterpart, and its row in the sample where it has
            one.
    """
    known = set(test_ids)
    unknown = [(row, id_) for row, id_ in enumerate(sample.ids, start=1) if id_ not in known]
    if unknown:
        row, id_ = unknown[0]
        raise DataError(
            f"{path}: row {row}, column {sample.id_column!r}: id {id_!r} is not in {test_path}"
            f" ({len(unknown)} such ids)"
        )
    left_out = known.difference(sample.ids)
    if left_out:
        # Numbers in their own order, other ids as text.
        first = min(
            left_out, key=lambda id_: (not id_.isdigit(), int(id_) if id_.isdigit() else 0, id_)
        )
        raise DataError(
            f"{path}: no row for id {first!r}, which is in {test_path} ({len(left_out)} such ids)"
        )
