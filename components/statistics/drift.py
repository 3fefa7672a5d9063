"""Check whether the test images are like the training images, one column at a time."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

# A difference with a p-value below this is real: chance would rarely cause it. Whether it matters
# is another question.
_REAL = 0.01
# A real difference is small if the statistic, the largest difference in share between the splits,
# is below this.
_SMALL = 0.1


def drift(train: pd.DataFrame, test: pd.DataFrame) -> list[dict[str, Any]]:
    """Compare each column of two tables.

    Numeric columns are compared by the two-sample Kolmogorov-Smirnov test, whose statistic is the
    largest difference between the shares of both splits that are below any value. Other columns are
    compared by the chi-squared test of homogeneity; the statistic reported is half the sum of the
    differences in share, the total variation distance. Missing values are left out of a column and,
    if there are any, compared as a column of their own. P-values are corrected for the number of
    columns (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979).

    Args:
        train: one row per training image; a missing value is NaN in float64 columns, "" in text
            columns.
        test: one row per test image, with the same columns.

    Returns:
        for each column a dictionary:
        column: its name.
        test_name: the test, "none" for too few values.
        statistic: 0 to 1.
        p: the corrected p-value, 0 to 1.
        train: the number of values in train.
        test: the number of values in test.
        verdict: `alike`; `slightly different`, a real difference with a statistic below 0.1;
            `different`; or `too few values`.
    """
    results: list[dict[str, Any]] = []
    for column in train.columns:
        missing_in = [table[column].isna() | (table[column] == "") for table in (train, test)]
        present = [
            table[column][~missing]
            for table, missing in zip((train, test), missing_in, strict=True)
        ]
        results.append({"column": column, **_compared(*present)})
        if any(missing.any() for missing in missing_in):
            labels = [missing.map({True: "missing", False: "there"}) for missing in missing_in]
            results.append({"column": f"{column} (missing or not)", **_compared(*labels)})
    _correct(results)
    for entry in results:
        entry["verdict"] = _verdict(entry)
    return results


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
    counts_by_value = (
        pd.concat([side.value_counts() for side in (train, test)], axis=1).fillna(0).sort_index()
    )
    table = counts_by_value.to_numpy().T
    share = table / table.sum(axis=1, keepdims=True)
    distance = min(1.0, float(np.abs(share[0] - share[1]).sum() / 2))
    p = float(stats.chi2_contingency(table).pvalue) if len(counts_by_value) > 1 else 1.0
    return {"test_name": "chi-squared", "statistic": distance, "p": p, **counts}


def _correct(results: list[dict[str, Any]]) -> None:
    """Apply Holm's step-down correction to the p-values, in place."""
    largest = 0.0
    for rank, entry in enumerate(sorted(results, key=lambda entry: float(entry["p"]))):
        largest = max(largest, min(1.0, float(entry["p"]) * (len(results) - rank)))
        entry["p"] = largest


def _verdict(entry: dict[str, Any]) -> str:
    if entry["test_name"] == "none":
        return "too few values"
    if entry["p"] >= _REAL:
        return "alike"
    return "slightly different" if entry["statistic"] < _SMALL else "different"
