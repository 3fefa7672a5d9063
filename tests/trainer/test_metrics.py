import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from trainer.errors import CompetitionError, TrainingError
from trainer.metrics import HIGHER_IS_BETTER, METRICS, better, score


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
    # The notebooks' F1: a mean over batches. Here the two batches give 1 and 1/3, and all rows together 0.733.
    targets = np.array([0, 0, 0, 1])
    predicted = np.array([0, 0, 1, 1])
    whole = score("macro_f1", targets, np.eye(2)[predicted])
    batches = np.mean([score("macro_f1", targets[part], np.eye(2)[predicted[part]]) for part in (slice(0, 2), slice(2, 4))])
    assert whole == pytest.approx(f1_score(targets, predicted, average="macro"))
    assert abs(whole - batches) > 0.1


def test_every_metric_has_a_direction_and_a_name() -> None:
    assert set(HIGHER_IS_BETTER) == set(METRICS)
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
    assert score("roc_auc", classes, three) == pytest.approx(roc_auc_score(classes, three, multi_class="ovr"))
    with pytest.raises(TrainingError, match="none, or all, of these 5 rows are of class 1"):
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
    assert score("macro_f1", targets, probabilities) == f1_score(targets, decided, average="macro", zero_division=0)
    assert score("roc_auc", targets, probabilities) == pytest.approx(roc_auc_score(targets, probabilities, average="macro"))
    expected = -np.log(np.where(targets, probabilities, 1 - probabilities)).mean()
    assert score("log_loss", targets, probabilities) == pytest.approx(expected)
