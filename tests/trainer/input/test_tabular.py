import numpy as np
import pandas as pd

from trainer.input.tabular import encode, fit

TABLE = pd.DataFrame(
    {
        "tabular_age": [10.0, 20.0, np.nan, 40.0, 1000.0],
        "tabular_sex": ["m", "f", "", "m", "x"],
        "tabular_empty": [np.nan] * 5,
    }
)
TRAIN = np.array([0, 1, 2, 3])


def test_numbers_are_scaled_and_imputed_by_the_training_rows() -> None:
    encoder = fit(TABLE, TRAIN, ["age"], ["age"])
    found = encode(encoder, TABLE)
    known = np.array([10.0, 20.0, 40.0])
    np.testing.assert_allclose(found[[0, 1, 3], 0], (known - known.mean()) / known.std(), rtol=1e-6)
    assert found[2].tolist() == [0, 1]
    assert found[[0, 1, 3, 4], 1].tolist() == [0] * 4
    # The held-out row's values change nothing.
    other = TABLE.assign(tabular_age=[10.0, 20.0, np.nan, 40.0, -7.0])
    assert fit(other, TRAIN, ["age"], ["age"]) == encoder


def test_categories_are_those_of_the_training_rows() -> None:
    encoder = fit(TABLE, TRAIN, ["sex"], [])
    found = encode(encoder, TABLE)
    assert encoder.width == found.shape[1] == 5
    assert (found.sum(axis=1) == 1).all()
    # A missing value is a category. A value that the training rows lack is unknown, as is one that
    # no row has.
    assert found[2].argmax() == 0
    assert found[4].argmax() == 4
    assert encode(encoder, pd.DataFrame({"tabular_sex": ["never"]})).argmax() == 4
    assert found[0].tolist() == found[3].tolist() != found[1].tolist()


def test_a_column_that_says_nothing_is_zero() -> None:
    found = encode(fit(TABLE, TRAIN, ["empty", "age"], ["empty", "age"]), TABLE)
    assert np.isfinite(found).all()
    assert found[:, 0].tolist() == [0] * 5
    assert found[:, 1].tolist() == [1] * 5
    assert encode(fit(TABLE, TRAIN, [], []), TABLE).shape == (5, 0)
