"""What the user's files say of single images: which are left out, and whose folds are given. Light:
no numpy, no pandas."""

from collections.abc import Collection, Iterable

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import read_rows, read_two_columns
from trainer.config.data import Folds
from trainer.errors import DataError

_LOWEST = -2


def excluded(folds: Folds, known: Collection[str]) -> set[str]:
    """The ids of `exclude` and `exclude_file`.

    Args:
        known: the ids of all labelled images, those included that were rejected.

    Raises:
        DataError: one is none of these; or the file is no list of ids.
    """
    named = {"folds.exclude": list(folds.exclude)}
    if folds.exclude_file:
        lines = [row[0] for row in read_rows(local_path(folds.exclude_file))]
        # A file of nothing but ids has no header.
        named[folds.exclude_file] = lines[1:] if lines[:1] == ["id"] else lines
    for where, wanted in named.items():
        unknown = sorted(set(wanted).difference(known))
        if unknown:
            raise DataError(
                f"{where}: {unknown[0]!r} is no labelled image ({len(unknown)} such ids)"
            )
    return {id_ for wanted in named.values() for id_ in wanted}


def own_folds(
    path: str, ids: Iterable[str], never_validate: Collection[str], *, count: int
) -> dict[str, int]:
    """The folds of a user's file by id.

    Args:
        path: a CSV of the columns id and fold.
        ids: of all labelled images; each must have a fold, and no other.
        never_validate: those of external sets that train always.
        count: how many folds.

    Raises:
        DataError: it has other columns, an id twice, unknown or missing, or a fold that is none, or
            that lets an image validate that never does; the text has the row.
    """
    header, rows = read_two_columns(local_path(path))
    if header != ("id", "fold"):
        raise DataError(
            f"{path}: its columns are {', '.join(map(repr, header))}, where 'id' and 'fold' are"
            " meant"
        )
    allowed = {str(number): number for number in range(_LOWEST, count)}
    ids = list(ids)
    known = set(ids)
    found: dict[str, int] = {}
    for number, (id_, fold) in enumerate(rows, start=1):
        if id_ not in known:
            raise DataError(f"{path}: row {number}, column 'id': {id_!r} is no labelled image")
        if fold not in allowed:
            raise DataError(
                f"{path}: row {number}, column 'fold': {fold!r} is no whole number from -2 to"
                f" {count - 1}"
            )
        if id_ in never_validate and allowed[fold] >= 0:
            raise DataError(
                f"{path}: row {number}, column 'fold': {fold}, though {id_!r} is of an external set"
                " that never validates"
            )
        found[id_] = allowed[fold]
    lacking = [id_ for id_ in ids if id_ not in found]
    if lacking:
        raise DataError(
            f"{path}: no fold for id {lacking[0]!r} ({len(lacking)} labelled images lack one; -1"
            " leaves out)"
        )
    return found
