"""Rows that some members did not predict: an error, or an average in their place."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from components.blending.methods import ranks
from trainer.config.output import Blend
from trainer.errors import DataError


def missing_rows(
    oof: Mapping[str, np.ndarray], test: Mapping[str, np.ndarray]
) -> dict[str, dict[str, int]]:
    """Return how many out-of-fold and test rows each member lacks, without complete members."""
    missing = {
        name: {
            "oof": int(np.isnan(oof[name][:, 0]).sum()) if name in oof else 0,
            "test": int(np.isnan(values[:, 0]).sum()),
        }
        for name, values in test.items()
    }
    return {name: counts for name, counts in missing.items() if any(counts.values())}


def resolve_missing(
    oof: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    missing: Mapping[str, Mapping[str, int]],
    blend: Blend,
    ids: pd.Series,
    test_ids: pd.Series,
    *,
    exclusive: bool,
) -> np.ndarray:
    """Drop or fill missing rows, as `blend.on_missing` specifies.

    Args:
        oof: (n, classes) by member, NaN in missing rows; filled in place.
        test: (m, classes) by member, NaN in missing rows; filled in place.
        missing: number of missing `oof` and `test` rows, by member.
        blend: the settings.
        ids: the n labelled ids.
        test_ids: the m test ids.
        exclusive: whether each row has exactly one class.

    Returns:
        (n,) bool: which labelled rows are kept.

    Raises:
        DataError: `on_missing` does not allow the missing rows.
    """
    for name, counts in missing.items():
        for split, values, split_ids in (
            ("out-of-fold", oof.get(name), ids),
            ("test", test[name], test_ids),
        ):
            count = counts["test" if split == "test" else "oof"]
            if count and (
                blend.on_missing == "error" or (blend.on_missing == "drop_rows" and split == "test")
            ):
                assert values is not None  # its rows were counted
                first = split_ids[np.isnan(values[:, 0])].iloc[0]
                options = "'impute_rank_mean' to fill them" + (
                    "" if split == "test" else ", or to 'drop_rows' to leave them out"
                )
                raise DataError(
                    f"member {name!r}: no {split} row for id {first!r} ({count} ids lack one):"
                    f" set blend.on_missing to {options}"
                )
    kept = np.ones(len(ids), dtype=bool)
    if blend.on_missing == "drop_rows":
        for values in oof.values():
            kept &= ~np.isnan(values[:, 0])
    else:
        impute(oof, test, exclusive=exclusive)
    return kept


def impute(oof: dict[str, np.ndarray], test: dict[str, np.ndarray], *, exclusive: bool) -> None:
    """Fill missing rows in place: take the mean of the ranks that the other members give the row,
    and the values that have this rank among the member's own predictions.

    All ranks are among a member's out-of-fold predictions, also those of test rows; a member that
    has none is ranked among its test predictions.

    Args:
        oof: (n, classes) by member, NaN in missing rows.
        test: (m, classes) by member, NaN in missing rows.
        exclusive: whether each row has exactly one class; filled rows are then normalised to sum
            to 1.

    Raises:
        DataError: all members lack a row.
    """
    reference = {
        name: np.sort(values[~np.isnan(values[:, 0])], axis=0)
        for name, values in {**test, **oof}.items()
    }
    for tables_ in (oof, test):
        missing = {name: np.isnan(values[:, 0]) for name, values in tables_.items()}
        before = {name: values.copy() for name, values in tables_.items()}
        for name, rows in missing.items():
            if not rows.any():
                continue
            total, count = (
                np.zeros((int(rows.sum()), before[name].shape[1])),
                np.zeros((int(rows.sum()), 1)),
            )
            for other, values in before.items():
                present = ~missing[other][rows]
                total[present] += ranks(reference[other], values[rows][present])
                count += present[:, None]
            if (count == 0).any():
                raise DataError(
                    f"member {name!r}: {int((count == 0).sum())} of its missing rows are missing"
                    " from every other member, too"
                )
            filled = np.stack(
                [
                    np.quantile(reference[name][:, k], share)
                    for k, share in enumerate((total / count).T)
                ],
                axis=1,
            )
            if exclusive:
                sums = filled.sum(axis=1, keepdims=True)
                filled = np.divide(
                    filled, sums, out=np.full_like(filled, 1 / filled.shape[1]), where=sums > 0
                )
            tables_[name][rows] = filled
