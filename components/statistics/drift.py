"""Whether the test images are like the training images, a column at a time."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

# A difference that chance would make less often than this is real; whether it matters is another
# question.
_REAL = 0.01
# Of the statistic, which is the largest difference in share between the splits: below, real but
# small.
_SMALL = 0.1


def drift(train: pd.DataFrame, test: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare each column of two tables.

    A numeric column by the two-sample Kolmogorov-Smirnov test (its statistic: the largest
    difference between the shares of both splits that lie below any value), any other by the
    chi-squared test of homogeneity (its statistic here: half the sum of the differences in share,
    the total variation distance). Missing values are left out of a column and compared as a column
    of their own where there are any. P-values are corrected for the number of columns (Holm, A
    Simple Sequentially Rejective Multiple Test Procedure, 1979).

    Args:
        train, test: the same columns; float64 with NaN, or text with "", for missing values.

    Returns:
        for each column: column, test, statistic (0 to 1), p (corrected), train and test (how many
        values), and a verdict: `alike`, `slightly different` (real, the statistic below 0.1),
        `different`, or `too few values`.
    """
    found: list[dict[str, Any]] = []
    for column in train.columns:
        gone = [table[column].isna() | (table[column] == "") for table in (train, test)]
        here = [table[column][~missing] for table, missing in zip((train, test), gone, strict=True)]
        found.append({"column": column, **_compared(*here)})
        if any(missing.any() for missing in gone):
            words = [missing.map({True: "missing", False: "there"}) for missing in gone]
            found.append({"column": f"{column} (missing or not)", **_compared(*words)})
    _correct(found)
    for entry in found:
        entry["verdict"] = _verdict(entry)
    return found


def _compared(train: pd.Series, test: pd.Series) -> dict[str, Any]:
    counts = {"train": len(train), "test": len(test)}
    if min(len(train), len(test)) < 2:
        return {"test_name": "none", "statistic": 0.0, "p": 1.0, **counts}
    if train.dtype.kind in "fiu":
        result = stats.ks_2samp(train.to_numpy(), test.to_numpy(), method="asymp")
        return {
            "test_name": "Kolmogorov-Smirnov",
            "statistic": float(result.statistic),
            "p": float(result.pvalue),
            **counts,
        }
    both = pd.concat([side.value_counts() for side in (train, test)], axis=1).fillna(0).sort_index()
    table = both.to_numpy().T
    share = table / table.sum(axis=1, keepdims=True)
    distance = min(1.0, float(np.abs(share[0] - share[1]).sum() / 2))
    p = float(stats.chi2_contingency(table).pvalue) if len(both) > 1 else 1.0
    return {"test_name": "chi-squared", "statistic": distance, "p": p, **counts}


def _correct(found: list[dict[str, Any]]) -> None:
    """Holm's step-down correction of the p-values, in place."""
    largest = 0.0
    for rank, entry in enumerate(sorted(found, key=lambda entry: float(entry["p"]))):
        largest = max(largest, min(1.0, float(entry["p"]) * (len(found) - rank)))
        entry["p"] = largest


def _verdict(entry: dict[str, Any]) -> str:
    if entry["test_name"] == "none":
        return "too few values"
    if entry["p"] >= _REAL:
        return "alike"
    return "slightly different" if entry["statistic"] < _SMALL else "different"
