import numpy as np
import pandas as pd
from scipy import stats

from components.statistics.drift import drift


def by_column(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, dict[str, object]]:
    return {entry["column"]: entry for entry in drift(train, test)}


def test_splits_of_one_kind_are_alike_and_others_are_not() -> None:
    generator = np.random.default_rng(0)
    train = pd.DataFrame(
        {"age": generator.normal(40, 10, 3000), "site": generator.choice(["a", "b", "c"], 3000)}
    )
    same = pd.DataFrame(
        {"age": generator.normal(40, 10, 800), "site": generator.choice(["a", "b", "c"], 800)}
    )
    assert {entry["verdict"] for entry in by_column(train, same).values()} == {"alike"}
    other = pd.DataFrame(
        {"age": generator.normal(55, 10, 800), "site": generator.choice(["a", "b"], 800)}
    )
    found = by_column(train, other)
    assert {entry["verdict"] for entry in found.values()} == {"different"}
    # Computed by hand.
    assert found["site"]["statistic"] == abs(
        (train["site"] == "c").mean()
    )  # the share of "c" moves to the others, so half the sum of differences equals it
    expected = stats.ks_2samp(train["age"], other["age"])
    assert found["age"]["statistic"] == expected.statistic


def test_a_real_but_small_difference_is_called_slight() -> None:
    generator = np.random.default_rng(0)
    train, test = (pd.DataFrame({"x": generator.normal(mean, 1, 200_000)}) for mean in (0, 0.05))
    (entry,) = drift(train, test)
    assert entry["verdict"] == "slightly different"
    assert entry["p"] < 1e-6


def test_missing_values_are_a_column_of_their_own() -> None:
    generator = np.random.default_rng(1)
    train = pd.DataFrame(
        {"age": generator.normal(size=1000), "sex": generator.choice(["f", "m"], 1000)}
    )
    test = train.sample(500, random_state=0).reset_index(drop=True)
    test.loc[:249, "age"] = np.nan
    test.loc[:4, "sex"] = ""
    found = by_column(train, test)
    assert found["age"]["verdict"] == "alike"
    assert found["age"]["test"] == 250
    assert found["age (missing or not)"]["verdict"] == "different"
    assert found["age (missing or not)"]["statistic"] == 0.5
    assert "sex (missing or not)" in found
    assert len(found) == 4


def test_chance_findings_are_corrected_for() -> None:
    # Forty columns of noise: without a correction some p-value would be near 1/40.
    generator = np.random.default_rng(2)
    train, test = (
        pd.DataFrame(generator.normal(size=(500, 40)), columns=[f"c{n}" for n in range(40)])
        for _ in range(2)
    )
    assert {entry["verdict"] for entry in drift(train, test)} == {"alike"}


def test_columns_with_nothing_in_them() -> None:
    train = pd.DataFrame({"x": [np.nan] * 5, "y": ["a"] * 5, "z": [1.0] * 5})
    test = pd.DataFrame({"x": [1.0] * 5, "y": ["a"] * 5, "z": [1.0] * 5})
    found = by_column(train, test)
    assert found["x"]["verdict"] == "too few values"
    assert (found["y"]["verdict"], found["z"]["verdict"]) == ("alike", "alike")


def test_a_column_of_names_costs_no_more_than_others() -> None:
    train, test = (pd.DataFrame({"who": [f"{kind}{n}" for n in range(20_000)]}) for kind in "ab")
    (entry,) = drift(train, test)
    # Entirely different, but with one row per value no test can tell that from chance.
    assert (entry["statistic"], entry["verdict"]) == (1.0, "alike")
