"""What a leaderboard would refuse in a submission file, a line each. Light: no numpy, no pandas."""

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
    """Check a submission file against the sample; returns its number of rows. name: of the file in
    messages, if not its own.

    Raises:
        DataError: the first 20 breaches, a line each, and how many there are.
    """
    found = [
        f"{name or path}: {line}" for line in breaches(path, sample, submission, classes, task=task)
    ]
    if found:
        more = (
            [f"{name or path}: {len(found) - _SHOWN} more lines like these"]
            if len(found) > _SHOWN
            else []
        )
        raise DataError("\n".join([*found[:_SHOWN], *more]))
    return len(sample.ids)


def breaches(
    path: str | Path, sample: Sample, submission: Submission, classes: Sequence[str], *, task: str
) -> Iterator[str]:
    """Each breach with its row, from 1 after the header, id and column.

    Args:
        path: a CSV, packed where it ends in .gz.
        sample: what it must agree with in header, ids, their order and number.
        submission: what its values are. classes: the class names in order. task: of the
            competition.
    """
    lines = read_rows(path)
    header, wanted = next(lines, []), [sample.id_column, *sample.columns]
    if header != wanted:
        yield f"the header is {','.join(header)}, where the sample has {','.join(wanted)}"
        return
    value_of = _checker(submission, classes, task)
    rows = list(lines)
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        where = f"row {number}"
        id_ = row[0]
        where += f", id {id_!r}"
        if len(row) != len(wanted):
            column = wanted[len(row)] if len(row) < len(wanted) else f"number {len(wanted) + 1}"
            yield (
                f"{where}, column {column!r}: the row has {len(row)} columns, where the sample has"
                f" {len(wanted)}"
            )
            continue
        if id_ in seen:
            yield f"{where}, column {wanted[0]!r}: is already in row {seen[id_]}"
        elif number > len(sample.ids):
            yield f"{where}, column {wanted[0]!r}: is past the sample's last row, {len(sample.ids)}"
        elif id_ != sample.ids[number - 1]:
            yield f"{where}, column {wanted[0]!r}: the sample has {sample.ids[number - 1]!r} here"
        seen.setdefault(id_, number)
        for column, value in zip(wanted[1:], row[1:], strict=True):
            if said := value_of(value):
                yield f"{where}, column {column!r}: {value!r} {said}"
        if submission.values == "columns" and task != "multilabel":
            yield from _check_sum(
                f"{where}, columns {wanted[1]!r} to {wanted[-1]!r}", row[1:], submission.digits
            )
    for number in range(len(rows), len(sample.ids)):
        yield (
            f"row {number + 1}, id {sample.ids[number]!r}, column {wanted[0]!r}: the sample's row"
            " is missing"
        )


def _checker(
    submission: Submission, classes: Sequence[str], task: str
) -> Callable[[str], str | None]:
    """What is wrong with a value, in words; None where it is good."""
    if submission.values in ("probability", "columns"):
        return _not_a_probability
    allowed = (
        {str(index) for index in range(len(classes))}
        if submission.values == "index"
        else set(classes)
    )
    kind = f"no number from 0 to {len(classes) - 1}" if submission.values == "index" else "no class"

    def one(value: str) -> str | None:
        return None if value in allowed else f"is {kind}"

    def several(value: str) -> str | None:
        parts = value.split(submission.separator)
        wrong = next((part for part in parts if part not in allowed), None)
        if wrong is not None:
            return f"has {wrong!r}, which is {kind}"
        return "names a class twice" if len(set(parts)) < len(parts) else None

    return several if task == "multilabel" else one


def _not_a_probability(value: str) -> str | None:
    if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value, re.ASCII):
        return "is no finite number"
    return None if 0 <= float(value) <= 1 else "is not in 0 to 1"


def _check_sum(where: str, values: Sequence[str], digits: int) -> Iterator[str]:
    if any(_not_a_probability(value) for value in values):
        return
    total = math.fsum(map(float, values))
    # Half a unit of the last digit each, and what single precision adds.
    if abs(total - 1) > max(1e-4, len(values) * 10.0**-digits):
        yield f"{where}: the probabilities sum to {total:.6g}, where 1 is meant"
