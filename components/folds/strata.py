"""What is to be spread evenly over the folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from trainer.artifacts import tables


def strata(
    train: pd.DataFrame,
    groups: np.ndarray,
    labels: np.ndarray,
    columns: Sequence[str] = (),
    bins: int = 4,
) -> np.ndarray:
    """The class or classes; how many images a group has, in powers of two; where the images are
    from; and the user's columns.

    Args:
        train: n rows of the examples table.
        groups: (n,) group numbers, from 0.
        labels: (n, classes) bool: which classes each is of. Where that is one, its class is a
            stratum; where it may be several, what it is altogether, and after that each of them.
        columns: tabular columns; a numeric one is cut into `bins` ranges that hold equally many, a
            missing value is one more.

    Returns:
        (n, 3 + columns) int64 codes; (n, 3 + columns + classes) where labels are several.
    """
    codes = [
        pd.factorize(train["target"], sort=True)[0].astype(np.int64),
        np.log2(np.bincount(groups))[groups].astype(np.int64),
        pd.factorize(train["external"])[0].astype(np.int64),
    ]
    for name in columns:
        values = train[tables.tabular(name)]
        if values.dtype.kind == "f":
            known = values.dropna().to_numpy()
            bounds = (
                np.unique(np.quantile(known, np.arange(1, bins) / bins))
                if len(known)
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
    if (labels.sum(axis=1) != 1).any():
        codes += list(labels.T.astype(np.int64))
    return np.stack(codes, axis=1)
