"""Compute the strata that are to be spread evenly over the folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trainer.artifacts import tables


def strata(
    train: pd.DataFrame,
    groups: np.ndarray,
    labels: np.ndarray | None,
    columns: Sequence[str] = (),
    bins: int = 4,
) -> np.ndarray:
    """Return the strata of each row.

    These are its class or classes; the number of images in its group, in powers of two; where the
    image is from; and the user's columns.

    Args:
        train: n rows of the examples table.
        groups: (n,) group numbers, from 0.
        labels: (n, classes) bool: which classes each image has; None if each has exactly one. If
            each has one, its class is a stratum; otherwise its combination of classes is, and after
            that each of them.
        columns: tabular columns. A missing value is a stratum of its own.
        bins: how many ranges, with equally many values each, a numeric column is cut into.

    Returns:
        (n, 3 + columns) int64 codes; (n, 3 + columns + classes) if some image does not have exactly
        one class.
    """
    codes = [
        pd.factorize(train["target"], sort=True)[0].astype(np.int64),
        np.log2(np.bincount(groups))[groups].astype(np.int64),
        pd.factorize(train["external"])[0].astype(np.int64),
    ]
    for name in columns:
        values = train[tables.tabular(name)]
        if values.dtype.kind == "f":
            present = values.dropna().to_numpy()
            bounds = (
                np.unique(np.quantile(present, np.arange(1, bins) / bins))
                if len(present)
                else np.empty(0)
            )
            code = np.where(
                values.isna(),
                -1,
                np.searchsorted(bounds, values.fillna(0).to_numpy(), side="right"),
            )
        else:
            code = pd.factorize(values)[0]
        codes.append(code.astype(np.int64))
    if labels is not None and (labels.sum(axis=1) != 1).any():
        codes += list(labels.T.astype(np.int64))
    return np.stack(codes, axis=1)
