import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    cohen_kappa_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from trainer.errors import CompetitionError, TrainingError
from trainer.metrics.names import HIGHER_IS_BETTER, METRICS, better, listed, problem
from trainer.metrics.scores import decided, score


@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 60))
def test_scores_are_scikit_learns(seed: int, classes: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, rows)
    probabilities = generator.dirichlet(np.ones(classes), rows).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    names = list(range(classes))
    assert score("accuracy", targets, probabilities) == accuracy_score(targets, predicted)
    assert score("macro_f1", targets, probabilities) == f1_score(
        targets, predicted, labels=names, average="macro", zero_division=0
    )


def test_macro_f1_is_over_all_rows_and_no_mean_of_batches() -> None:
    # The notebooks' F1 is a mean over batches. Here the two batches give 1 and 1/3, and all rows
    # together 0.733.
    targets = np.array([0, 0, 0, 1])
    predicted = np.array([0, 0, 1, 1])
    whole = score("macro_f1", targets, np.eye(2)[predicted])
    batches = np.mean(
        [
            score("macro_f1", targets[part], np.eye(2)[predicted[part]])
            for part in (slice(0, 2), slice(2, 4))
        ]
    )
    assert whole == pytest.approx(f1_score(targets, predicted, average="macro"))
    assert abs(whole - batches) > 0.1


def test_every_metric_has_a_direction_and_a_name() -> None:
    assert set(METRICS) <= set(HIGHER_IS_BETTER)
    with pytest.raises(CompetitionError, match="metric = 'auc': must be one of accuracy"):
        score("auc", np.array([0]), np.eye(2)[:1])


def test_the_area_under_the_curve_is_exact() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random(400) < 0.03).astype(int)
    positive = generator.random(400)
    both = np.stack([1 - positive, positive], axis=1)
    assert score("roc_auc", targets, both) == roc_auc_score(targets, positive)
    three = generator.dirichlet(np.ones(3), 200)
    classes = generator.integers(0, 3, 200)
    assert score("roc_auc", classes, three) == pytest.approx(
        roc_auc_score(classes, three, multi_class="ovr")
    )
    with pytest.raises(TrainingError, match="none or all of these 5 rows belong to class 0"):
        score("roc_auc", np.zeros(5, int), both[:5])


def test_log_loss_is_of_probabilities_in_single_precision() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), 300).astype(np.float32)
    targets = np.random.default_rng(1).integers(0, 4, 300)
    expected = -np.log(probabilities[np.arange(300), targets].astype(float)).mean()
    assert score("log_loss", targets, probabilities) == pytest.approx(expected, rel=1e-5)


def test_better_knows_the_direction() -> None:
    assert better("accuracy", 0.6, 0.5)
    assert not better("accuracy", 0.5, 0.5)
    assert better("log_loss", 0.4, 0.5)
    assert better("loss", 0.4, 0.5)
    assert better("loss", 9.0, None)


def test_images_of_several_classes_are_scored_as_scikit_learn_does() -> None:
    generator = np.random.default_rng(0)
    targets = generator.random((200, 3)) < 0.3
    probabilities = generator.random((200, 3))
    decided = probabilities >= 0.5
    assert score("accuracy", targets, probabilities) == (targets == decided).all(axis=1).mean()
    assert score("macro_f1", targets, probabilities) == f1_score(
        targets, decided, average="macro", zero_division=0
    )
    assert score("roc_auc", targets, probabilities) == pytest.approx(
        roc_auc_score(targets, probabilities, average="macro")
    )
    expected = -np.log(np.where(targets, probabilities, 1 - probabilities)).mean()
    assert score("log_loss", targets, probabilities) == pytest.approx(expected)


@st.composite
def predicted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    rows, classes = draw(st.integers(12, 80)), draw(st.integers(2, 5))
    targets = np.concatenate([np.arange(classes), generator.integers(0, classes, rows - classes)])
    values = (
        np.round(generator.dirichlet(np.ones(classes), rows), draw(st.sampled_from([1, 12]))) + 1e-3
    )
    return targets, values / values.sum(axis=1, keepdims=True)


@given(predicted())
def test_every_metric_is_scikit_learns(given_: tuple[np.ndarray, np.ndarray]) -> None:
    targets, values = given_
    classes, best = values.shape[1], values.argmax(axis=1)
    names, two = list(range(classes)), values.shape[1] == 2
    is_one = targets[:, None] == np.arange(classes)
    of_one = {"average": "binary"} if two else {"average": "macro", "labels": names}
    expected = {
        "weighted_f1": f1_score(targets, best, average="weighted", labels=names, zero_division=0),
        "f1": f1_score(targets, best, zero_division=0, **of_one),
        "precision": precision_score(targets, best, zero_division=0, **of_one),
        "recall": recall_score(targets, best, zero_division=0, **of_one),
        "quadratic_kappa": cohen_kappa_score(targets, best, labels=names, weights="quadratic"),
        "brier": brier_score_loss(targets, values[:, 1] if two else values, labels=names),
        "average_precision": (
            average_precision_score(is_one[:, 1], values[:, 1])
            if two
            else average_precision_score(is_one, values, average="macro")
        ),
    }
    for metric, value in expected.items():
        assert score(metric, targets, values) == pytest.approx(value, abs=1e-12), metric


@given(predicted(), st.integers(1, 99))
def test_the_partial_area_is_the_area_above_a_true_positive_rate(
    given_: tuple[np.ndarray, np.ndarray], percent: int
) -> None:
    targets, values = given_
    two = np.stack([1 - values[:, 1], values[:, 1]], axis=1)
    false, true, _ = roc_curve(targets == 1, values[:, 1], drop_intermediate=False)
    # The area to the right of the curve, on a fine grid of true-positive rates and their
    # false-positive rates.
    grid = np.linspace(percent / 100, 1, 20_001)
    middle = (grid[1:] + grid[:-1]) / 2
    right = np.searchsorted(true, middle, side="left")
    share = (middle - true[right - 1]) / (true[right] - true[right - 1])
    area = (1 - (false[right - 1] + share * (false[right] - false[right - 1]))).sum() * (
        grid[1] - grid[0]
    )
    found = score(f"partial_auc_{percent}", (targets == 1).astype(int), two)
    assert found == pytest.approx(area, abs=1e-4)
    assert 0 <= found <= 1 - percent / 100 + 1e-12


def test_the_calibration_error_by_hand() -> None:
    # Two rows are in the bin of 0.9, one of them correct; one row is in the bin of 0.6, correct.
    targets = np.array([0, 1, 0])
    values = np.array([[0.9, 0.05, 0.05], [0.92, 0.04, 0.04], [0.6, 0.3, 0.1]])
    assert score("calibration_error", targets, values) == pytest.approx(
        (abs(0.9 + 0.92 - 1) + abs(0.6 - 1)) / 3
    )
    # With two classes, the probability of the second class counts, near 0 as well as near 1.
    two = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert score("calibration_error", np.array([0, 1]), two) == pytest.approx((0.1 + 0.2) / 2)
    several = np.array([[True, False], [False, False]])
    assert score("calibration_error", several, np.array([[1.0, 0.0], [0.0, 0.5]])) == pytest.approx(
        0.5 / 4
    )


def test_thresholds_change_decisions_and_no_probability() -> None:
    targets = np.array([0, 1, 1])
    values = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]])
    assert score("accuracy", targets, values) == pytest.approx(1 / 3)
    assert score("accuracy", targets, values, np.array([0.75, 0.25])) == 1
    rows = np.array([[0.75, 0.25], [0.5, 0.5], [0.75, 0.25]])
    assert decided(targets, values, rows).tolist() == [0, 0, 1]
    assert score("log_loss", targets, values, rows) == score("log_loss", targets, values)


def test_which_metric_fits_which_task() -> None:
    assert problem("partial_auc_33", "binary") is None
    assert "requires classes in an order" in str(problem("quadratic_kappa", "multilabel"))
    assert "must be one of accuracy, f1" in str(problem("partial_auc_0", "binary"))
    assert listed("roc_auc", "binary")[:3] == ["roc_auc", "accuracy", "f1"]
    assert "f1" not in listed("accuracy", "multiclass")
    assert "quadratic_kappa" not in listed("accuracy", "multilabel")
