"""Tables of predictions that another tool made. `check` is light: no numpy, no pandas."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import DAMAGED_GZIP, read_rows
from trainer.config.output import Predictions
from trainer.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# Columns that are no class's.
_OTHERS = ("target", "fold", "prediction")
# How far the probabilities of a row may be from 1 in sum: six digits a class were written, say.
_TOLERANCE = 1e-3


def check(
    given: Predictions,
    classes: Sequence[str],
    ids: Mapping[str, Collection[str]],
    *,
    complete: bool,
) -> None:
    """Look at both tables before anything runs: have they the columns, and a row for each id?
    Parquet is left to the blend.

    Args:
        classes: the class names in order.
        ids: those that must have a row, `oof` and `test`, as far as they are known.
        complete: whether every id must have one.

    Raises:
        DataError: a column or a row is not there.
    """
    for key, path in (("oof", given.oof), ("test", given.test)):
        if path.endswith(".parquet"):
            continue
        rows = read_rows(local_path(path))
        header = next(rows, [])
        check_columns(header, given, key, classes)
        place = header.index(given.id)
        there = {row[place] for row in rows if len(row) > place}
        lacking = [id_ for id_ in ids.get(key, ()) if id_ not in there]
        if complete and lacking:
            raise DataError(
                f"{_where(given, key)}: no row for id {lacking[0]!r} ({len(lacking)} ids lack one):"
                " blend.on_missing says what to do then"
            )


def check_columns(
    header: Sequence[str], given: Predictions, key: str, classes: Sequence[str]
) -> None:
    """The column of ids is there, and one a class; of two classes a single one besides is enough.

    Raises:
        DataError: with the column that is not there.
    """
    where = _where(given, key)
    if given.id not in header:
        raise DataError(f"{where}: no column {given.id!r}; it has {', '.join(map(str, header))}")
    lacking = [name for name in classes if name not in header]
    if lacking and single(header, given, classes) is None:
        raise DataError(
            f"{where}: no column {lacking[0]!r} ({len(lacking)} of {len(classes)} classes lack one)"
        )


def single(header: Sequence[str], given: Predictions, classes: Sequence[str]) -> str | None:
    """The one column that stands for the second of two classes, if the table has but that."""
    others = [str(name) for name in header if name not in (given.id, *_OTHERS)]
    return others[0] if len(classes) == 2 and len(others) == 1 and others[0] != classes[0] else None


def read(given: Predictions, key: str, classes: Sequence[str], task: str) -> "pd.DataFrame":
    """A table: id, target and fold where it has them, a column a class in 0 to 1, summing to 1
    where an image is of one class.

    Args:
        key: `oof` or `test`. task: of the competition.

    Raises:
        DataError: it is no such table; the text names row, id and column.
    """
    import numpy as np
    import pandas as pd

    path, where = getattr(given, key), _where(given, key)
    try:
        here = local_path(path)
        table = (
            pd.read_parquet(here)
            if path.endswith(".parquet")
            else pd.read_csv(here, converters={given.id: str})
        )
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (*DAMAGED_GZIP, ValueError, OSError) as error:
        raise DataError(f"{where}: not a table: {error}") from None
    check_columns(list(table.columns), given, key, classes)
    kept = pd.DataFrame({"id": table[given.id].astype(str)})
    twice = kept["id"][kept["id"].duplicated()]
    if len(twice):
        raise DataError(f"{where}: id {twice.iloc[0]!r} is there more than once")
    for name in ("target", "fold"):
        if name in table and name != given.id:
            kept[name] = table[name].fillna("") if name == "target" else table[name]
    one = single(list(table.columns), given, classes)
    columns = list(classes) if one is None else [one]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    legal = (values >= 0) & (values <= 1)
    if not legal.all():
        row, column = (int(place[0]) for place in np.nonzero(~legal))
        raise DataError(
            f"{where}: row {row + 1}, id {kept['id'].iloc[row]!r}, column {columns[column]!r}: "
            f"{table[columns[column]].iloc[row]!r} is no probability"
        )
    if one is not None:
        values = np.concatenate([1 - values, values], axis=1)
    elif task != "multilabel":
        sums = values.sum(axis=1)
        wrong = np.flatnonzero(np.abs(sums - 1) > _TOLERANCE)
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{where}: row {row + 1}, id {kept['id'].iloc[row]!r}: the probabilities sum to"
                f" {sums[row]:.6g}, where 1 is meant ({len(wrong)} such rows)"
            )
        values = values / sums[:, None]
    return pd.concat([kept, pd.DataFrame(values, columns=list(classes), index=table.index)], axis=1)


def _where(given: Predictions, key: str) -> str:
    return f"blend.external {given.name!r}, {key} = {getattr(given, key)}"
