"""Checks a submission file for what a leaderboard would refuse. Light: imports neither numpy nor
pandas."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.submission.sample import Sample
from trainer.artifacts.csv_rows import read_rows
from trainer.config.output import Submission
from trainer.errors import DataError

_SHOWN = 20


def check_file(
    path: str | Path,
    sample: Sample,
    submission: Submission,
    classes: Sequence[str],
    *,
    task: str,
    name: str = "",
) -> int:
    """Check a submission file against the sample.

    Args:
        path: the file, as for `breaches`.
        sample: as for `breaches`.
        submission: as for `breaches`.
        classes: class names in order.
        task: the competition's task.
        name: the file's name in messages; "" for its path.

    Returns:
        the number of rows.

    Raises:
        DataError: the file does not conform; the message has the first 20 breaches, one a line, and
            the number of others.
    """
    messages = [
        f"{name or path}: {line}" for line in breaches(path, sample, submission, classes, task=task)
    ]
    if messages:
        more = (
            [f"{name or path}: {len(messages) - _SHOWN} more lines like these"]
            if len(messages) > _SHOWN
            else []
        )
        raise DataError("\n".join([*messages[:_SHOWN], *more]))
    return len(sample.ids)


def breaches(
    path: str | Path, sample: Sample, submission: Submission, classes: Sequence[str], *, task: str
) -> Iterator[str]:
    """Yield a message for each breach, with row (from 1 after the header), id and column.

    Args:
        path: a CSV, gzip-compressed if its name ends in .gz.
        sample: must have the same header, ids, order and number of rows.
        submission: specifies the kind of values.
        classes: class names in order.
        task: the competition's task.
    """
    lines = read_rows(path)
    header, expected = next(lines, []), [sample.id_column, *sample.columns]
    if header != expected:
        yield f"the header is {','.join(header)}, but the sample has {','.join(expected)}"
        return
    value_of = _checker(submission, classes, task)
    rows = list(lines)
    row_of_id: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        where = f"row {number}"
        id_ = row[0]
        where += f", id {id_!r}"
        if len(row) != len(expected):
            column = (
                expected[len(row)] if len(row) < len(expected) else f"number {len(expected) + 1}"
            )
            yield (
                f"{where}, column {column!r}: the row has {len(row)} columns, but the sample has"
                f" {len(expected)}"
            )
            continue
        if id_ in row_of_id:
            yield f"{where}, column {expected[0]!r}: is already in row {row_of_id[id_]}"
        elif number > len(sample.ids):
            yield (
                f"{where}, column {expected[0]!r}: is past the sample's last row, {len(sample.ids)}"
            )
        elif id_ != sample.ids[number - 1]:
            yield f"{where}, column {expected[0]!r}: the sample has {sample.ids[number - 1]!r} here"
        row_of_id.setdefault(id_, number)
        for column, value in zip(expected[1:], row[1:], strict=True):
            if problem := value_of(value):
                yield f"{where}, column {column!r}: {value!r} {problem}"
        if submission.values == "columns" and task != "multilabel":
            yield from _check_sum(
                f"{where}, columns {expected[1]!r} to {expected[-1]!r}", row[1:], submission.digits
            )
    for number in range(len(rows), len(sample.ids)):
        yield (
            f"row {number + 1}, id {sample.ids[number]!r}, column {expected[0]!r}: the sample's row"
            " is missing"
        )


def _checker(
    submission: Submission, classes: Sequence[str], task: str
) -> Callable[[str], str | None]:
    """Return a function that describes what is wrong with a value; None if nothing is."""
    if submission.values in ("probability", "columns"):
        return _not_a_probability
    allowed = set(submission.written_names(classes))
    kind = f"number from 0 to {len(classes) - 1}" if submission.values == "index" else "class"

    def check_one(value: str) -> str | None:
        return None if value in allowed else f"is not a {kind}"

    def check_several(value: str) -> str | None:
        if not value:
            return None  # an image of no class
        parts = value.split(submission.separator)
        unknown = next((part for part in parts if part not in allowed), None)
        if unknown is not None:
            return f"has {unknown!r}, which is not a {kind}"
        return "names a class twice" if len(set(parts)) < len(parts) else None

    return check_several if task == "multilabel" else check_one


def _not_a_probability(value: str) -> str | None:
    """Return what is wrong with a probability, None if nothing is."""
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value, re.ASCII):
        return "is not a finite number"
    return None if 0 <= float(value) <= 1 else "is not in 0 to 1"


def _check_sum(where: str, values: Sequence[str], digits: int) -> Iterator[str]:
    """Yield a message if probabilities do not sum to 1 within their rounding.

    Args:
        where: starts the message.
        values: one per class.
        digits: significant digits of each.
    """
    if any(_not_a_probability(value) for value in values):
        return
    total = math.fsum(map(float, values))
    # Allow for half a unit in each last digit, and for single precision.
    if abs(total - 1) > max(1e-4, len(values) * 10.0**-digits):
        yield f"{where}: the probabilities sum to {total:.6g} instead of 1"
