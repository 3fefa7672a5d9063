"""Tables of predictions made by another tool. `check` is light: it imports neither numpy nor
pandas."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from components.storage.objects import local_path
from trainer.artifacts.csv_rows import DAMAGED_GZIP, read_rows
from trainer.config.output import Predictions
from trainer.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# Columns that do not belong to a class.
_OTHERS = ("target", "fold", "prediction")
# How far the sum of a row's probabilities may be from 1, as after rounding to a few digits.
_TOLERANCE = 1e-3


def check(
    given: Predictions,
    classes: Sequence[str],
    ids: Mapping[str, Collection[str]],
    *,
    complete: bool,
) -> None:
    """Check the columns of both tables, and that there is a row for each id, before anything runs.
    Parquet tables are left to the blend.

    Args:
        given: the external member.
        classes: class names in order.
        ids: ids that need a row in `oof` and in `test`, as far as they are known.
        complete: whether every id must have a row.

    Raises:
        DataError: a column or a row is missing.
    """
    for key, path in (("oof", given.oof), ("test", given.test)):
        if path.endswith(".parquet"):
            continue
        rows = read_rows(local_path(path))
        header = next(rows, [])
        check_columns(header, given, key, classes)
        column = header.index(given.id)
        present = {row[column] for row in rows if len(row) > column}
        missing = [id_ for id_ in ids.get(key, ()) if id_ not in present]
        if complete and missing:
            raise DataError(
                f"{_where(given, key)}: no row for id {missing[0]!r} ({len(missing)} ids lack one):"
                " blend.on_missing sets how missing rows are handled"
            )


def check_columns(
    header: Sequence[str], given: Predictions, key: str, classes: Sequence[str]
) -> None:
    """Check that the table has the id column and one column per class. With two classes, a single
    column in addition to the ids is enough.

    Raises:
        DataError: a column is missing; the message names it.
    """
    where = _where(given, key)
    if given.id not in header:
        raise DataError(
            f"{where}: no column {given.id!r}; the columns are {', '.join(map(str, header))}"
        )
    missing = [name for name in classes if name not in header]
    if missing and "class_1" in header:
        raise DataError(
            f"{where}: has the most probable classes only: run it again with predictions.keep ="
            f" {len(classes)}"
        )
    if missing and single(header, given, classes) is None:
        raise DataError(
            f"{where}: no column {missing[0]!r} ({len(missing)} of {len(classes)} classes lack one)"
        )


def single(header: Sequence[str], given: Predictions, classes: Sequence[str]) -> str | None:
    """Return the column with the probability of the second of two classes, if it is the table's
    only one; else None."""
    others = [str(name) for name in header if name not in (given.id, *_OTHERS)]
    return others[0] if len(classes) == 2 and len(others) == 1 and others[0] != classes[0] else None


def read(given: Predictions, key: str, classes: Sequence[str], task: str) -> "pd.DataFrame":
    """Read a table.

    Args:
        given: the external member.
        key: `oof` or `test`.
        classes: class names in order.
        task: the competition's task.

    Returns:
        id; target and fold if the table has them; and one column per class, float64 in 0 to 1,
        with rows summing to 1 unless the task is multilabel.

    Raises:
        DataError: the table cannot be read or is invalid; the message names row, id and column.
    """
    import numpy as np
    import pandas as pd

    path, where = getattr(given, key), _where(given, key)
    try:
        local = local_path(path)
        table = (
            pd.read_parquet(local)
            if path.endswith(".parquet")
            else pd.read_csv(local, converters={given.id: str})
        )
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except (*DAMAGED_GZIP, ValueError, OSError) as error:
        raise DataError(f"{where}: not a table: {error}") from None
    check_columns(list(table.columns), given, key, classes)
    result = pd.DataFrame({"id": table[given.id].astype(str)})
    duplicated = result["id"][result["id"].duplicated()]
    if len(duplicated):
        raise DataError(f"{where}: id {duplicated.iloc[0]!r} occurs more than once")
    for name in ("target", "fold"):
        if name in table and name != given.id:
            result[name] = table[name].fillna("") if name == "target" else table[name]
    only_column = single(list(table.columns), given, classes)
    columns = list(classes) if only_column is None else [only_column]
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    valid = (values >= 0) & (values <= 1)
    if not valid.all():
        row, column = (int(indices[0]) for indices in np.nonzero(~valid))
        raise DataError(
            f"{where}: row {row + 1}, id {result['id'].iloc[row]!r}, column {columns[column]!r}: "
            f"{table[columns[column]].iloc[row]!r} is not a probability"
        )
    if only_column is not None:
        values = np.concatenate([1 - values, values], axis=1)
    elif task != "multilabel":
        sums = values.sum(axis=1)
        wrong = np.flatnonzero(np.abs(sums - 1) > _TOLERANCE)
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{where}: row {row + 1}, id {result['id'].iloc[row]!r}: the probabilities sum to"
                f" {sums[row]:.6g} instead of 1 ({len(wrong)} such rows)"
            )
        values = values / sums[:, None]
    return pd.concat(
        [result, pd.DataFrame(values, columns=list(classes), index=table.index)], axis=1
    )


def _where(given: Predictions, key: str) -> str:
    """Return the member, key and path that start an error message."""
    return f"blend.external {given.name!r}, {key} = {getattr(given, key)}"
