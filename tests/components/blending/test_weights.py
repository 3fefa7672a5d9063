import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from components.blending.weights import combine, fit_weights, mean_weights, nested


def members(seed: int, count: int, rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of members of differing skill, and targets."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, rows)
    logits = generator.normal(size=(count, rows, classes))
    logits[:, np.arange(rows), targets] += generator.uniform(0, 3, (count, 1))
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=2, keepdims=True), targets


def loss(probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> float:
    return float(-np.log(combine(probabilities, weights)[np.arange(len(targets)), targets]).mean())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 4))
def test_the_weights_are_the_best_on_the_simplex(seed: int, count: int) -> None:
    probabilities, targets = members(seed, count, 80, 3)
    weights = fit_weights(probabilities, targets)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    # An optimiser of another kind finds nothing better.
    other = minimize(
        lambda w: loss(probabilities, targets, w),
        mean_weights(count),
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    assert loss(probabilities, targets, weights) <= other.fun + 1e-6


def test_a_useless_member_gets_nothing() -> None:
    probabilities, targets = members(0, 1, 400, 4)
    flat = np.full_like(probabilities, 0.25)
    wrong = np.full_like(probabilities, 0.3)
    wrong[:, np.arange(400), targets] = 0.1
    weights = fit_weights(np.concatenate([probabilities, flat, wrong]), targets)
    assert weights[2] < 1e-6
    assert weights[0] > 0.8


def test_a_member_that_is_certain_and_wrong_does_not_break_it() -> None:
    targets = np.array([0, 1, 0, 1])
    sure = np.eye(2)[[1, 1, 0, 1]]
    soft = np.full((4, 2), 0.5)
    weights = fit_weights(np.stack([sure, soft]), targets)
    assert np.isfinite(weights).all()


def test_a_row_is_blended_with_weights_found_without_its_fold() -> None:
    probabilities, targets = members(1, 3, 90, 3)
    fold = np.arange(90) % 3
    blended = nested(probabilities, targets, fold)
    outside = fit_weights(probabilities[:, fold != 1], targets[fold != 1])
    np.testing.assert_array_equal(blended[fold == 1], combine(probabilities[:, fold == 1], outside))
    # The targets of a fold have no say in its own rows.
    changed = targets.copy()
    changed[fold == 1] = (changed[fold == 1] + 1) % 3
    np.testing.assert_array_equal(nested(probabilities, changed, fold)[fold == 1], blended[fold == 1])
    assert not np.array_equal(nested(probabilities, changed, fold)[fold == 0], blended[fold == 0])


def test_the_order_of_rows_does_not_matter_to_the_weights() -> None:
    probabilities, targets = members(2, 3, 90, 3)
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_allclose(
        fit_weights(probabilities, targets), fit_weights(probabilities[:, order], targets[order]), atol=1e-7
    )


def test_images_of_several_classes_are_observations_a_class() -> None:
    generator = np.random.default_rng(0)
    targets = generator.random((300, 4)) < 0.4
    good = np.where(targets, 0.9, 0.1) + generator.uniform(-0.1, 0.1, targets.shape)
    poor = generator.uniform(0, 1, targets.shape)
    found = fit_weights(np.stack([good, poor]), targets)
    assert found.sum() == pytest.approx(1)
    assert found[0] > 0.95
