"""The sample submission, which decides the header, the ids and their order. Light: imports neither
numpy nor pandas."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import read_table, read_two_columns
from trainer.config.output import Submission
from trainer.errors import DataError


class Sample(NamedTuple):
    """A sample submission.

    Attributes:
        id_column: name of the first column.
        columns: names of the other columns.
        ids: one per row, in order.
        values: the cells of the other columns, one tuple per row.
    """

    id_column: str
    columns: tuple[str, ...]
    ids: list[str]
    values: list[tuple[str, ...]]


def read(path: str | Path) -> Sample:
    """Read a sample submission, or a file of the same form.

    Raises:
        DataError: as for `read_table`.
    """
    header, rows = read_table(local_path(str(path)))
    return Sample(header[0], header[1:], [row[0] for row in rows], [row[1:] for row in rows])


def without_file(ids: Iterable[str], submission: Submission, classes: Sequence[str]) -> Sample:
    """Return the form of a submission for which there is no sample.

    Args:
        ids: the ids of the test images, in order.
        submission: the settings.
        classes: class names in order.
    """
    single = "probability" if submission.values == "probability" else "label"
    columns = tuple(classes) if submission.values == "columns" else (single,)
    rows = list(ids)
    return Sample("id", columns, rows, [("",) * len(columns)] * len(rows))


def check_form(sample: Sample, submission: Submission, classes: Sequence[str], task: str) -> None:
    """Check that the sample has the columns that `submission.values` writes, and no values of
    another kind.

    Raises:
        DataError: it does not; the message names the setting that would fit.
    """
    where = f"{submission.sample}: submission.values = {submission.values!r}"
    if submission.values == "columns":
        missing = [name for name in classes if name not in sample.columns]
        unknown = [name for name in sample.columns if name not in classes]
        if missing or unknown:
            difference = (
                f"lacks class {missing[0]!r}"
                if missing
                else f"has column {unknown[0]!r}, which is not a class"
            )
            raise DataError(
                f"{where} writes one column per class, but the sample's header {difference}"
            )
        return
    column = sample.columns[0] if sample.columns else ""
    if submission.values == "probability" and column in classes and column != classes[1]:
        raise DataError(
            f"{where} writes the probability of the second class, {classes[1]!r}, but the sample's"
            f" column is {column!r}: list the classes in the other order"
        )
    if len(sample.columns) != 1:
        raise DataError(
            f"{where} writes one column, but the sample has {len(sample.columns)} in addition to"
            " the ids: use values = 'columns'"
        )
    several = task == "multilabel"
    parts = {
        part
        for (value,) in sample.values
        for part in (value.split(submission.separator) if several else [value])
        if part
    }
    names = set(classes)
    are_integers = [re.fullmatch(r"\d+", part) is not None for part in parts]
    if submission.values == "class" and parts and all(are_integers) and not parts & names:
        raise DataError(
            f"{where} writes names such as {classes[0]!r}, but the sample has {min(parts)!r}: use"
            " values = 'index', or put a class name into the sample if its numbers are placeholders"
        )
    if submission.values == "index" and parts and parts <= names and not all(are_integers):
        raise DataError(
            f"{where} writes numbers, but the sample has {min(parts)!r}: use values = 'class'"
        )
    if (
        submission.values == "probability"
        and parts & names
        and not any(_is_number(part) for part in parts)
    ):
        raise DataError(
            f"{where} writes numbers, but the sample has {min(parts)!r}: use values = 'class'"
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
    """Read the true classes of each id, as class indices.

    Args:
        path: a CSV with an id and a class per row: the class's name, or its number from 0 if
            `submission.values` is `index`.
        submission: for its values and its separator.
        classes: class names in order.
        ids: exactly these must have an answer.
        ids_path: the file that the ids come from, for the error message.
        several: whether an image can have any number of classes.

    Raises:
        DataError: the ids differ, or an answer is not a class.
    """
    header, rows = read_two_columns(local_path(path))
    names = list(map(str, range(len(classes)))) if submission.values == "index" else list(classes)
    index_of = {name: index for index, name in enumerate(names)}
    answers = {}
    for row, (id_, label) in enumerate(rows, start=1):
        parts = [part for part in label.split(submission.separator) if part] if several else [label]
        for part in parts:
            if part not in index_of:
                raise DataError(
                    f"{path}: row {row}, column {header[1]!r}: {part!r} (id {id_!r}) is not a class"
                )
        answers[id_] = frozenset(index_of[part] for part in parts)
    check_ids(Sample(header[0], header[1:], [id_ for id_, _ in rows], []), path, ids, ids_path)
    return answers


def check_ids(sample: Sample, path: str, test_ids: Iterable[str], test_path: str | Path) -> None:
    """Check that the sample has the same ids as `test_path`, in any order.

    Args:
        sample: the sample submission.
        path: its path, for the error message.
        test_ids: the ids to compare with.
        test_path: the file that they come from, for the error message.

    Raises:
        DataError: an id has no counterpart; the message names the first one, and its row if it is
            in the sample.
    """
    expected = set(test_ids)
    unknown = [(row, id_) for row, id_ in enumerate(sample.ids, start=1) if id_ not in expected]
    if unknown:
        row, id_ = unknown[0]
        raise DataError(
            f"{path}: row {row}, column {sample.id_column!r}: id {id_!r} is not in {test_path}"
            f" ({len(unknown)} such ids)"
        )
    missing = expected.difference(sample.ids)
    if missing:
        # Sort numbers numerically, and other ids as text after them.
        first = min(
            missing, key=lambda id_: (not id_.isdigit(), int(id_) if id_.isdigit() else 0, id_)
        )
        raise DataError(
            f"{path}: no row for id {first!r}, which is in {test_path} ({len(missing)} such ids)"
        )
