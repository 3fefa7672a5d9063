"""Read the user's files about single images: which are left out, and which have a given fold.

This module is light: it imports neither numpy nor pandas.
"""

from collections.abc import Collection, Iterable

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import read_rows, read_two_columns
from trainer.config.preparation import Folds
from trainer.errors import DataError

_LOWEST = -2


def excluded(folds: Folds, known: Collection[str]) -> set[str]:
    """Return the ids in `exclude` and `exclude_file`.

    Args:
        folds: names the ids and the file.
        known: the ids of all labelled images, including rejected ones.

    Raises:
        DataError: an id is not one of `known`, or the file is not a list of ids.
    """
    ids_of = {"folds.exclude": list(folds.exclude)}
    if folds.exclude_file:
        lines = [row[0] for row in read_rows(local_path(folds.exclude_file))]
        # A file with only ids has no header.
        ids_of[folds.exclude_file] = lines[1:] if lines[:1] == ["id"] else lines
    for where, ids in ids_of.items():
        unknown = sorted(set(ids).difference(known))
        if unknown:
            raise DataError(
                f"{where}: {unknown[0]!r} is not a labelled image ({len(unknown)} such ids)"
            )
    return {id_ for ids in ids_of.values() for id_ in ids}


def own_folds(
    path: str, ids: Iterable[str], never_validate: Collection[str], *, count: int
) -> dict[str, int]:
    """Read the folds in a user's file.

    Args:
        path: a CSV file with the columns id and fold.
        ids: the ids of all labelled images; each must have a fold, and no other id may have one.
        never_validate: the ids in external sets that always train.
        count: the number of folds.

    Returns:
        the fold of each id: 0 to count - 1, -1 (left out) or -2 (always trains).

    Raises:
        DataError: the columns are others; an id occurs twice, is unknown or is missing; or a fold
            is out of range, or lets an image validate that never may. The message names the row.
    """
    header, rows = read_two_columns(local_path(path))
    if header != ("id", "fold"):
        raise DataError(
            f"{path}: its columns are {', '.join(map(repr, header))}; expected 'id' and 'fold'"
        )
    allowed = {str(number): number for number in range(_LOWEST, count)}
    ids = list(ids)
    known_ids = set(ids)
    fold_of: dict[str, int] = {}
    for number, (id_, fold) in enumerate(rows, start=1):
        if id_ not in known_ids:
            raise DataError(f"{path}: row {number}, column 'id': {id_!r} is not a labelled image")
        if fold not in allowed:
            raise DataError(
                f"{path}: row {number}, column 'fold': {fold!r} is not a whole number from -2 to"
                f" {count - 1}"
            )
        if id_ in never_validate and allowed[fold] >= 0:
            raise DataError(
                f"{path}: row {number}, column 'fold': {fold}, but {id_!r} belongs to an external"
                " set that never validates"
            )
        fold_of[id_] = allowed[fold]
    missing = [id_ for id_ in ids if id_ not in fold_of]
    if missing:
        raise DataError(
            f"{path}: no fold for id {missing[0]!r} ({len(missing)} labelled images lack one; use"
            " -1 to leave an image out)"
        )
    return fold_of
