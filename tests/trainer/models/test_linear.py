from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from trainer.config.network import Linear
from trainer.models import linear


def digits(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.data[:count] / 16).astype(np.float32), data.target[:count]


@pytest.mark.parametrize("classes", [10, 2])
def test_it_is_scikit_learns_regression_on_standardised_pixels(classes: int) -> None:
    features, targets = digits()
    targets = targets if classes == 10 else (targets == 3).astype(int)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(targets))
    model = linear.fit(features, targets, weights, Linear(strength=0.1), classes=classes)
    scaler = StandardScaler().fit(features)
    expected = LogisticRegression(C=0.1, max_iter=200, tol=1e-3)
    expected.fit(scaler.transform(features), targets, sample_weight=weights)
    wanted = expected.predict_proba(scaler.transform(features))
    np.testing.assert_allclose(model.probabilities(features), wanted, atol=1e-4)


def test_several_classes_an_image_are_a_regression_each() -> None:
    features, digit = digits()
    targets = np.stack([digit < 5, digit % 2 == 0, digit < 0, digit >= 0], axis=1)
    model = linear.fit(features, targets, np.ones(len(digit)), Linear(), classes=4)
    probabilities = model.probabilities(features)
    assert ((probabilities[:, :2] > 0.5) == targets[:, :2]).mean() > 0.9
    # A class that no training image has, and one that all have.
    assert probabilities[:, 2].max() == 0
    assert probabilities[:, 3].min() == 1


def test_a_class_without_a_training_image_is_never_predicted() -> None:
    features, targets = digits()
    rows = targets != 7
    model = linear.fit(features[rows], targets[rows], np.ones(rows.sum()), Linear(), classes=10)
    probabilities = model.probabilities(features)
    assert probabilities[:, 7].max() == 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    only = linear.fit(features[~rows], targets[~rows], np.ones((~rows).sum()), Linear(), classes=10)
    assert (only.probabilities(features)[:, 7] == 1).all()


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    features, targets = digits(200)
    model = linear.fit(features, targets, np.ones(200), Linear(), classes=10)
    with open(tmp_path / "fold0.npz", "wb") as stream:
        model.save(stream)
    again = linear.load(tmp_path / "fold0.npz")
    assert again.exclusive
    np.testing.assert_array_equal(again.probabilities(features), model.probabilities(features))
