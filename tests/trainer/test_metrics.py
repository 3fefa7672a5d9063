import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from trainer.competition import METRICS
from trainer.errors import CompetitionError
from trainer.metrics import HIGHER_IS_BETTER, score


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
