import numpy as np
import pandas as pd

from components.folds.strata import strata

LABELS = np.array([0, 1, 1, 0, 1, 0])[:, None] == np.arange(2)


def table(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"target": [0, 1, 1, 0, 1, 0], "external": "", **columns})


def test_class_group_size_and_origin() -> None:
    made = strata(
        table(external=["", "", "", "", "folds", "folds"]), np.array([0, 1, 1, 1, 1, 2]), LABELS
    )
    assert made[:, 0].tolist() == [0, 1, 1, 0, 1, 0]
    # Groups of one image, and of four.
    assert made[:, 1].tolist() == [0, 2, 2, 2, 2, 0]
    assert made[:, 2].tolist() == [0, 0, 0, 0, 1, 1]


def test_numbers_are_cut_into_ranges_of_equal_counts_and_missing_ones_are_one_more() -> None:
    ages = [1.0, 2.0, np.nan, 3.0, 4.0, np.nan]
    made = strata(
        table(tabular_age=ages, tabular_sex=["f", "m", "", "f", "", "m"]),
        np.arange(6),
        LABELS,
        ["age", "sex"],
        bins=2,
    )
    assert made[:, 3].tolist() == [0, 0, -1, 1, 1, -1]
    assert made[:, 4].tolist() == [0, 1, 2, 0, 2, 1]


def test_a_column_of_one_value_or_of_none() -> None:
    made = strata(
        table(tabular_a=[5.0] * 6, tabular_b=[np.nan] * 6), np.arange(6), LABELS, ["a", "b"]
    )
    assert len(set(made[:, 3])) == 1
    assert set(made[:, 4]) == {-1}


def test_several_classes_are_a_stratum_together_and_one_each() -> None:
    labels = np.array(
        [[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool
    )
    rows = table().assign(target=labels @ np.array([1, 2, 4]))
    made = strata(rows, np.arange(6), labels)
    assert made.shape == (6, 6)
    assert len(set(made[:, 0])) == 4
    assert made[1, 0] == made[3, 0]
    np.testing.assert_array_equal(made[:, 3:], labels)
