from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.blending.logistic import Logistic, logits, squash
from components.blending.methods import ALPHAS, Rows, WeightedMean, candidates, combine, fit, greedy
from trainer.metrics.names import HIGHER_IS_BETTER
from trainer.metrics.scores import score


def members(
    seed: int, count: int, rows: int, classes: int, *, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions of members of different skill, and the targets."""
    generator = np.random.default_rng(seed)
    targets = (
        generator.random((rows, classes)) < 0.3 if several else generator.integers(0, classes, rows)
    )
    truth = targets if several else np.eye(classes)[targets]
    values = (
        generator.normal(size=(count, rows, classes))
        + truth * np.linspace(0.2, 2, count)[:, None, None]
    )
    told = (
        1 / (1 + np.exp(-values))
        if several
        else np.exp(values) / np.exp(values).sum(axis=2, keepdims=True)
    )
    return told.astype(np.float32), targets


def log_loss(rows: Rows, weights: np.ndarray) -> float:
    return score("log_loss", rows.targets, combine(rows.predictions, weights))


def test_the_weights_are_the_best_of_the_simplex() -> None:
    for several in (False, True):
        rows = Rows(*members(0, 3, 400, 4, several=several), "accuracy")
        found = fit("weights", rows, rounds=1, penalty=1)
        assert isinstance(found, WeightedMean)
        assert sum(found.shares()) == pytest.approx(1)
        assert min(found.shares()) >= 0
        grid = [
            np.array([a, b, 20 - a - b]) / 20
            for a, b in product(range(21), range(21))
            if a + b <= 20
        ]
        assert (
            log_loss(rows, found.weights) <= min(log_loss(rows, weights) for weights in grid) + 1e-9
        )


# Derandomized: if two members tie, the last digit decides which of them each loop picks.
@settings(max_examples=15, derandomize=True)
@given(
    st.integers(0, 2**31),
    st.sampled_from(["roc_auc", "accuracy", "log_loss", "macro_f1", "average_precision"]),
)
def test_greedy_selection_is_the_loop_that_the_paper_describes(seed: int, metric: str) -> None:
    rows = Rows(*members(seed, 4, 80, 2), metric)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    total, counts, best, kept = np.zeros((80, 2), np.float32), np.zeros(4), -np.inf, np.zeros(4)
    for number in range(1, 9):
        tried = [
            sign * score(metric, rows.targets, (total + one) / np.float32(number))
            for one in rows.predictions
        ]
        # Sums and means may break ties differently in the last digit, so any of the best members is
        # correct.
        found = greedy(rows, number)
        assert sign * found.trace[-1] == pytest.approx(max(tried), abs=1e-6)
        chosen = int(np.argmax(tried))
        total, counts[chosen] = total + rows.predictions[chosen], counts[chosen] + 1
        if max(tried) > best + 1e-9:
            best, kept = max(tried), counts.copy()
        if not np.allclose(found.weights, kept / kept.sum()):
            assert sign * score(
                metric, rows.targets, found.apply(rows.predictions)
            ) == pytest.approx(best, abs=1e-3)
            return


def test_greedy_selection_takes_what_scores_and_leaves_the_rest() -> None:
    predictions, targets = members(3, 3, 500, 2)
    noise = np.random.default_rng(0).dirichlet([1, 1], 500).astype(np.float32)
    found = fit(
        "greedy", Rows(np.stack([noise, predictions[2]]), targets, "roc_auc"), rounds=20, penalty=1
    )
    assert found.shares()[1] > 0.9


def test_the_logistic_stacker_is_at_its_optimum() -> None:
    for several in (False, True):
        rows = Rows(*members(1, 3, 300, 3, several=several), "log_loss")
        found = fit("logistic", rows, rounds=1, penalty=2.0)
        assert isinstance(found, Logistic)
        inputs = logits(rows.predictions, rows.exclusive)
        truth = np.eye(3)[rows.targets] if rows.exclusive else rows.targets.astype(float)

        def loss(
            weights: np.ndarray,
            bias: np.ndarray,
            rows: Rows = rows,
            inputs: np.ndarray = inputs,
            truth: np.ndarray = truth,
        ) -> float:
            told = squash(np.tensordot(weights, inputs, axes=1) + bias, rows.exclusive)
            of_truth = (
                (told * truth).sum(axis=1)
                if rows.exclusive
                else np.where(truth == 1, told, 1 - told)
            )
            return -np.log(of_truth).sum() + ((weights - 1 / 3) ** 2).sum() + (bias**2).sum()

        best = loss(found.weights, found.bias)
        for step in np.eye(6) * 1e-2:
            for sign in (1, -1):
                assert (
                    loss(found.weights + sign * step[:3], found.bias + sign * step[3:])
                    > best - 1e-6
                )
        np.testing.assert_allclose(
            found.apply(rows.predictions),
            squash(np.tensordot(found.weights, inputs, axes=1) + found.bias, rows.exclusive),
        )


def test_a_rank_depends_on_the_fitted_rows_alone() -> None:
    rows = Rows(*members(0, 2, 200, 2), "roc_auc")
    ranker = fit("rank_mean", rows, rounds=1, penalty=1)
    whole = ranker.apply(rows.predictions)
    one_by_one = np.concatenate(
        [ranker.apply(rows.predictions[:, row : row + 1]) for row in range(200)]
    )
    np.testing.assert_array_equal(whole, one_by_one)
    # A monotone transformation of one member's predictions changes nothing.
    bent = rows.predictions.copy()
    bent[0, :, 1] = bent[0, :, 1] ** 3
    bent[0, :, 0] = 1 - bent[0, :, 1]
    changed = fit("rank_mean", Rows(bent, rows.targets, "roc_auc"), rounds=1, penalty=1).apply(bent)
    np.testing.assert_allclose(whole, changed)
    three = fit("rank_mean", Rows(*members(0, 2, 100, 3), "roc_auc"), rounds=1, penalty=1).apply(
        members(1, 2, 50, 3)[0]
    )
    np.testing.assert_allclose(three.sum(axis=1), 1)


def test_the_best_alpha_and_its_curve() -> None:
    rows = Rows(*members(2, 2, 300, 5), "macro_f1")
    found = fit("best_alpha", rows, rounds=1, penalty=1)
    assert isinstance(found, WeightedMean)
    one, other = rows.predictions.astype(np.float64)
    curve = [score("macro_f1", rows.targets, alpha * one + (1 - alpha) * other) for alpha in ALPHAS]
    np.testing.assert_allclose(found.trace, curve, atol=1e-12)
    assert score("macro_f1", rows.targets, found.apply(rows.predictions)) == pytest.approx(
        max(curve)
    )
    worse = Rows(rows.predictions, rows.targets, "log_loss")
    lowest = fit("best_alpha", worse, rounds=1, penalty=1)
    assert isinstance(lowest, WeightedMean)
    assert min(lowest.trace) == pytest.approx(
        score("log_loss", rows.targets, lowest.apply(rows.predictions))
    )


def test_auto_goes_from_the_simple_to_the_fitted() -> None:
    assert candidates("roc_auc", 3, 2) == ["mean", "rank_mean", "greedy", "weights", "logistic"]
    assert candidates("accuracy", 2, 300) == ["mean", "best_alpha", "weights", "logistic"]
    assert candidates("accuracy", 2, 301) == ["mean", "best_alpha", "weights"]
    for method in candidates("roc_auc", 3, 2):
        for several in (False, True):
            rows = Rows(*members(4, 3, 100, 3, several=several), "roc_auc")
            blended = fit(method, rows, rounds=5, penalty=1).apply(rows.predictions)
            assert blended.shape == (100, 3)
            assert blended.min() >= 0
            assert blended.max() <= 1
