import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from components.blending.scoring.areas import area
from components.blending.scoring.weighted_metrics import counted, evaluator
from trainer.errors import TrainingError
from trainer.metrics.names import METRICS, problem
from trainer.metrics.scores import score


@st.composite
def predicted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Draw targets in either form, and predictions, often with ties."""
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    rows, classes, digits = (
        draw(st.integers(4, 60)),
        draw(st.integers(2, 5)),
        draw(st.sampled_from([1, 2, 9])),
    )
    if draw(st.booleans()):
        return generator.random((rows, classes)) < 0.4, np.round(
            generator.random((rows, classes)), digits
        )
    values = np.round(generator.dirichlet(np.ones(classes), rows), digits) + 1e-3
    return generator.integers(0, classes, rows), values / values.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", [*METRICS, "partial_auc_33"])
@given(predicted(), st.integers(0, 2**31), st.booleans())
def test_a_row_that_counts_twice_is_a_row_that_is_there_twice(
    metric: str, given_: tuple[np.ndarray, np.ndarray], seed: int, moved: bool
) -> None:
    targets, probabilities = given_
    if problem(metric, "multilabel" if targets.ndim == 2 else "multiclass"):
        return
    counts = np.random.default_rng(seed).integers(0, 3, len(targets))
    counts[0] += 1
    whole = targets if targets.ndim == 2 else targets[:, None] == np.arange(probabilities.shape[1])
    here = np.repeat(whole, counts, axis=0)
    lost = whole.any(axis=0) & ~here.any(axis=0)
    if metric not in (
        "accuracy",
        "log_loss",
        "brier",
        "calibration_error",
        "quadratic_kappa",
        "weighted_f1",
    ) and (lost.any() or (whole.all(axis=0) != here.all(axis=0)).any()):
        # The repeated rows lack a class (or its negatives), so the metric averages over fewer
        # classes.
        return
    thresholds = np.linspace(0.3, 0.6, probabilities.shape[1]) if moved else None
    found = counted(metric, targets, probabilities, thresholds)(counts[None].astype(float))[0]
    try:
        expected = score(
            metric,
            np.repeat(targets, counts, axis=0),
            np.repeat(probabilities, counts, axis=0),
            thresholds,
        )
    except TrainingError:
        assert np.isnan(found) or whole.shape[1] > 2 or targets.ndim == 2
    else:
        assert found == pytest.approx(expected, abs=1e-10)


@given(st.integers(0, 2**31), st.integers(2, 200), st.sampled_from([2, 5, 1000, 2**24]))
def test_the_area_by_one_sort_is_scikit_learns(seed: int, rows: int, values: int) -> None:
    generator = np.random.default_rng(seed)
    is_one = generator.random(rows) < 0.4
    is_one[:2] = [True, False]
    scores = (generator.integers(0, values, rows) / values).astype(np.float32)
    assert area(is_one, scores) == pytest.approx(roc_auc_score(is_one, scores), abs=1e-12)


@given(predicted())
def test_one_prediction_after_another(given_: tuple[np.ndarray, np.ndarray]) -> None:
    targets, probabilities = given_
    single = probabilities.astype(np.float32)
    for metric in ("roc_auc", "macro_f1", "log_loss"):
        try:
            expected = score(metric, targets, single)
        except TrainingError:
            continue
        assert evaluator(metric, targets)(single) == pytest.approx(expected, abs=1e-6)
