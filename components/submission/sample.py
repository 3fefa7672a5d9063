"""The sample submission, which decides the header, the ids and their order. Light: imports neither
numpy nor pandas."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import read_table
from trainer.config.output import Submission
from trainer.errors import DataError, shown

# What marks a class, or does not, in a table with a column for each.
_ONE, _ZERO = ("1", "1.0", "True", "true"), ("0", "0.0", "False", "false", "")


# How messages call the test images that no table lists.
TEST_IMAGES = "the test images"


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
        DataError: as for `read_table`; or the first column is the row numbers that pandas writes.
    """
    header, rows = read_table(local_path(str(path)))
    if len(header) > 2 and header[0] in ("", "Unnamed: 0") and _are_ids([row[1] for row in rows]):
        raise DataError(
            f"{path}: the first column, {header[0]!r}, only numbers the rows, as pandas writes its"
            f" index; the ids seem to be in {header[1]!r}: delete the first column, or write the"
            " file again with to_csv(…, index=False)"
        )
    return Sample(header[0], header[1:], [row[0] for row in rows], [row[1:] for row in rows])


def _are_ids(cells: Sequence[str]) -> bool:
    """Return whether cells differ from each other, and are no probabilities."""
    return len(set(cells)) == len(cells) and not all(map(_is_share, cells))


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
        if missing and unknown and len(sample.columns) == 1:
            single = "'probability'" if task == "binary" else "'class' and a metric of classes"
            raise DataError(
                f"{where} writes one column per class, but the sample has the single column"
                f" {unknown[0]!r}: use values = {single}"
            )
        if missing or unknown:
            difference = (
                f"lacks class {missing[0]!r}"
                if missing
                else f"has column {unknown[0]!r}, which is not a class"
            )
            if missing and unknown:
                difference += f" and has {unknown[0]!r}, which is not one"
            raise DataError(
                f"{where} writes one column per class, but the sample's header {difference}:"
                " write the classes in `classes` as the header does"
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
    shown = _shown(sample, submission, task)
    misfit = _misfit(shown, submission, classes, task) if shown else ""
    if misfit:
        raise DataError(f"{where} writes {misfit}")


def remarks(
    sample: Sample, submission: Submission, classes: Sequence[str], task: str
) -> Iterator[str]:
    """Yield what is odd about a sample that passes `check_form`."""
    if submission.values in ("probability", "columns"):
        return
    names = submission.written_names(classes)
    unknown = sorted(_shown(sample, submission, task).difference(names))
    if unknown:
        yield (
            f"{submission.sample}: {unknown[0]!r} is not a class"
            f"{f' ({len(unknown)} such values)' if len(unknown) > 1 else ''}: taken as a"
            f" placeholder; the submission will have {names[0]!r} and the like"
        )


def _shown(sample: Sample, submission: Submission, task: str) -> set[str]:
    """Return the values in a sample of one column, without empty ones; several of one cell are
    split."""
    several = task == "multilabel" and submission.values not in ("probability", "columns")
    return {
        part
        for (value,) in sample.values
        for part in (value.split(submission.separator) if several else [value])
        if part
    }


def _misfit(shown: set[str], submission: Submission, classes: Sequence[str], task: str) -> str:
    """Return how the values of a sample differ in kind from those that are written, and what to do;
    "" if they do not."""
    first, names = min(shown), set(classes)
    integers = all(re.fullmatch(r"\d+", part) for part in shown)
    if submission.values in ("auto", "class") and not shown & names:
        numbered = [name for name in classes if name.isdecimal()]
        if integers and len(numbered) == len(classes):
            # Positions would be wrong here, whatever the sample has: these names are numbers.
            if {int(part) for part in shown} <= set(map(int, classes)):
                return (
                    f"names such as {classes[0]!r}, but the sample has {first!r}: write the classes"
                    " in `classes` as the sample does"
                )
        elif integers:
            return (
                f"names such as {classes[0]!r}, but the sample has {first!r}: use values = 'index',"
                " or put a class name into the sample if its numbers are placeholders"
            )
        elif task == "binary" and not integers and all(map(_is_share, shown)):
            return (
                f"names such as {classes[0]!r}, but the sample has {first!r}: use values ="
                " 'probability', or put a class name into the sample if it is a placeholder"
            )
    if submission.values == "index":
        if not integers and shown <= names:
            return f"numbers, but the sample has {first!r}: use values = 'class'"
        if integers and (highest := max(map(int, shown))) >= len(classes):
            return (
                f"the numbers 0 to {len(classes) - 1}, but the sample has '{highest}': use values ="
                " 'class', or correct `classes`"
            )
    if submission.values == "probability" and shown & names and not any(map(_is_number, shown)):
        return (
            f"numbers, but the sample has {first!r}: use values = 'class' and a metric of classes,"
            " or put a number into the sample if it is a placeholder"
        )
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_share(text: str) -> bool:
    return _is_number(text) and 0 <= float(text) <= 1


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
            `submission.values` is `index`, or 0 or 1 if it is `probability`; or with an id and a
            column for each class, in which 1 marks the class.
        submission: for its values and its separator.
        classes: class names in order.
        ids: exactly these must have an answer.
        ids_path: the file that the ids come from, for the error message.
        several: whether an image can have any number of classes.

    Raises:
        DataError: the ids differ, or an answer is not a class.
    """
    found = read(path)
    names = submission.written_names(classes)
    index_of = {name: index for index, name in enumerate(names)}
    if submission.values == "probability" and not index_of.keys() & {"0", "1"}:
        # Where probabilities are submitted, the answers mostly are 0 and 1.
        index_of |= {"0": 0, "1": 1}
    answers = {}
    position = {name: index for index, name in enumerate(classes)}
    wide = len(found.columns) > 1
    if wide and set(found.columns) != set(classes):
        raise DataError(
            f"{path}: its columns are {', '.join(map(repr, found.columns[:20]))} in addition to the"
            " ids; expected one with the class, or one with 0 or 1 for each class"
        )
    for row, (id_, values) in enumerate(zip(found.ids, found.values, strict=True), start=1):
        if wide:
            marked = _marked(f"{path}: row {row} (id {id_!r})", found.columns, values, several)
            answers[id_] = frozenset(position[name] for name in marked)
            continue
        (label,) = values
        parts = [part for part in label.split(submission.separator) if part] if several else [label]
        for part in parts:
            if part not in index_of:
                raise DataError(
                    f"{path}: row {row}, column {found.columns[0]!r}: {part!r} (id {id_!r}) is not"
                    f" a class; classes are {', '.join(names[:20])}"
                )
        answers[id_] = frozenset(index_of[part] for part in parts)
    check_ids(found, path, ids, ids_path)
    return answers


def _marked(where: str, columns: Sequence[str], values: Sequence[str], several: bool) -> list[str]:
    """Return the classes that a row of a table with one column for each class marks.

    Raises:
        DataError: a cell is neither 0 nor 1, or not exactly one is 1 although `several` is False.
    """
    odd = [value for value in values if value not in _ONE + _ZERO]
    marked = [name for name, value in zip(columns, values, strict=True) if value in _ONE]
    if odd or (not several and len(marked) != 1):
        expected = "0 or 1 in each column" if odd else "1 in exactly one column"
        raise DataError(f"{where}: expected {expected}, but they have {', '.join(values[:20])}")
    return marked


def check_ids(
    sample: Sample,
    path: str,
    test_ids: Iterable[str],
    test_path: str | Path,
    *,
    may_lack_images: bool = False,
) -> list[str]:
    """Check that the sample has the same ids as `test_path`, in any order.

    Args:
        sample: the sample submission.
        path: its path, for the error message.
        test_ids: the ids to compare with.
        test_path: the file that they come from, for the error message.
        may_lack_images: whether some of the sample's ids, at most half of them, may have no image.

    Returns:
        the ids of the sample that have none.

    Raises:
        DataError: an id has no counterpart; the message names the first ones, and the row if it is
            in the sample.
    """
    expected = set(test_ids)
    unknown = [(row, id_) for row, id_ in enumerate(sample.ids, start=1) if id_ not in expected]
    if unknown and not (may_lack_images and 2 * len(unknown) <= len(sample.ids)):
        row, id_ = unknown[0]
        hint = _missing_hint(len(unknown), sample) if test_path == TEST_IMAGES else ""
        others = [other for _, other in unknown[1:]]
        raise DataError(
            f"{path}: row {row}, column {sample.id_column!r}: id {id_!r} is not in {test_path}"
            f" ({len(unknown)} such ids{f', also {shown(others)}' if others else ''})"
            f"{_ending_hint(id_, expected) or hint}"
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
    return [id_ for _, id_ in unknown]


def _missing_hint(unknown: int, sample: Sample) -> str:
    """Return what to do if few ids of a sample have no image."""
    if 2 * unknown > len(sample.ids):
        return ""
    return (
        ": if their images are missing, records.on_bad_test_image = 'prior' gives them the mean"
        " prediction"
    )


def _ending_hint(id_: str, expected: Collection[str]) -> str:
    """Return what to do if an id only differs from an expected one by a file name's ending; "" if
    none is so close."""
    stem, dot, ending = id_.rpartition(".")
    if dot and stem in expected:
        return (
            f"; there is {stem!r}, without {dot + ending!r}: let {{id}} cover the ending, as in"
            f" test_images = 'test/{{id}}', or write the ids of both files alike"
        )
    longer = next((other for other in sorted(expected) if other.rpartition(".")[0] == id_), None)
    if longer is None:
        return ""
    ending = longer[len(id_) :]
    return (
        f"; there is {longer!r}: put the ending after {{id}}, as in test_images ="
        f" 'test/{{id}}{ending}', or write the ids of both files alike"
    )
