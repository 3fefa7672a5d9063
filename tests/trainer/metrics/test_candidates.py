import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics import candidates
from trainer.metrics.candidates import Candidates, TopClasses
from trainer.metrics.names import METRICS, candidates_suffice
from trainer.metrics.scores import decided, score

COUNT = 30


def _probabilities(seed: int, rows: int = 40) -> np.ndarray:
    """Rows of which a few classes have nearly everything, as a network's have."""
    values = np.random.default_rng(seed).gamma(0.1, size=(rows, COUNT)) + 1e-6
    return np.asarray((values / values.sum(axis=1, keepdims=True)).astype(np.float32))


@given(st.integers(0, 1000), st.integers(5, 29))
def test_the_most_probable_classes_are_kept(seed: int, keep: int) -> None:
    probabilities = _probabilities(seed)
    kept = candidates.top_classes(probabilities, keep)
    np.testing.assert_allclose(
        kept.probabilities, -np.sort(-probabilities, axis=1)[:, :keep], rtol=1e-6
    )
    assert all(len(set(row)) == keep for row in kept.classes.tolist())
    # The others share the rest.
    whole = kept.probabilities.sum(axis=1) + kept.rest() * (COUNT - keep)
    np.testing.assert_allclose(whole, 1, atol=1e-5)


@given(st.integers(0, 1000), st.sampled_from([m for m in METRICS if candidates_suffice(m)]))
def test_scores_of_candidates_are_those_of_all_classes(seed: int, metric: str) -> None:
    top = candidates.top_classes(_probabilities(seed), 5)
    probabilities = np.repeat(top.rest()[:, None], COUNT, axis=1)
    np.put_along_axis(probabilities, top.classes, top.probabilities, axis=1)
    truth = np.random.default_rng(seed + 1).integers(0, COUNT, len(probabilities))
    whole = score(metric, truth, probabilities)
    targets, values = candidates.scorable(top, truth)
    assert score(metric, targets, values) == pytest.approx(whole, abs=1e-6)
    np.testing.assert_array_equal(decided(targets, values), decided(truth, probabilities))
    np.testing.assert_array_equal(candidates.truth_of(targets), truth)


def test_two_models_meet_in_the_classes_that_either_kept() -> None:
    one = TopClasses(np.array([[3, 1], [0, 2]]), np.array([[0.5, 0.3], [0.6, 0.4]], np.float32), 5)
    other = TopClasses(
        np.array([[1, 4], [2, 0]]), np.array([[0.9, 0.1], [0.8, 0.2]], np.float32), 5
    )
    classes = candidates.joined([one, other])
    assert classes.tolist() == [[1, 3, 4], [0, 2, 5]]
    # The second model of the first row has nothing left for class 3; the first one a third of 0.2.
    np.testing.assert_allclose(
        candidates.spread(one, classes), [[0.3, 0.5, 0.2 / 3], [0.6, 0.4, 0]], atol=1e-6
    )
    np.testing.assert_allclose(
        candidates.spread(other, classes), [[0.9, 0, 0.1], [0.2, 0.8, 0]], atol=1e-6
    )


def test_a_row_that_a_model_lacks_adds_no_class_and_has_no_values() -> None:
    one = TopClasses(np.array([[3, 1], [0, 2]]), np.array([[0.5, 0.3], [0.6, 0.4]], np.float32), 5)
    lacking = TopClasses(
        np.array([[4, 0], [4, 1]]), np.array([[np.nan] * 2, [0.7, 0.3]], np.float32), 5
    )
    classes = candidates.joined([one, lacking])
    assert classes[0].tolist() == [1, 3, 5, 5]
    values = candidates.spread(lacking, classes)
    assert np.isnan(values[0]).all()
    assert np.isfinite(values[1]).all()


@given(st.integers(0, 1000))
def test_the_mean_of_rows_is_that_of_their_full_tables(seed: int) -> None:
    top = candidates.top_classes(_probabilities(seed), 6)
    full = np.repeat(top.rest()[:, None], COUNT, axis=1)
    np.put_along_axis(full, top.classes, top.probabilities, axis=1)
    expected = candidates.top_classes(full.mean(axis=0, keepdims=True, dtype=np.float64), 6)
    mean = candidates.mean_row(top)
    assert isinstance(mean, TopClasses)
    np.testing.assert_allclose(mean.probabilities, expected.probabilities, rtol=1e-5)
    assert len(candidates.repeated(mean, 3)) == 3


def test_the_truth_gains_nothing_over_other_classes_that_were_not_kept() -> None:
    """Two models that know nothing: their mean is right no more often than by chance."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 1000, 4000)
    models = [
        candidates.top_classes(generator.random((4000, 1000), dtype=np.float32) / 500, 20)
        for _ in range(2)
    ]
    classes = candidates.joined([candidates.certain(truth, 1000), *models])
    mean = np.mean([candidates.spread(model, classes) for model in models], axis=0)
    targets = candidates.true_among(truth, classes, 1000)
    assert score("accuracy", targets, mean) < 0.004


def test_what_was_blended_is_narrowed_again() -> None:
    classes = np.array([[1, 3, 4], [0, 2, 5]])
    probabilities = np.array([[0.1, 0.7, 0.15], [0.3, 0.7, 0.0]])
    top = candidates.narrowed(probabilities, classes, 5, 2)
    assert top.classes.tolist() == [[3, 4], [2, 0]]
    assert top.count == 5


@pytest.mark.parametrize("sharpness", [1.0, 20.0, 150.0])
def test_no_list_has_a_class_that_nobody_kept(sharpness: float) -> None:
    """Neither the true one nor one of the columns that a row does not need, however certain the
    models are."""
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2000, 300)
    logits = generator.normal(size=(3, 300, 2000)).astype(np.float32) * sharpness
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    values = exponentials / exponentials.sum(axis=2, keepdims=True)
    models = [candidates.top_classes(value, 100) for value in values]
    classes = candidates.joined([candidates.certain(truth, 2000), *models])
    mean = np.mean([candidates.spread(model, classes) for model in models], axis=0)
    kept = np.any([(model.classes == truth[:, None]).any(axis=1) for model in models], axis=0)
    unknown = (classes == truth[:, None]) & ~kept[:, None]
    top = candidates.narrowed(mean, classes, 2000, 100, unknown)
    assert top.classes.max() < 2000
    assert not (top.classes == truth[:, None]).any(axis=1)[~kept].any()


def test_what_is_left_is_less_than_what_is_kept() -> None:
    """Uniform rows leave each class as much as the kept ones have, certain ones nothing."""
    top = candidates.top_classes(np.full((2, 1001), 1 / 1001, dtype=np.float32), 20)
    assert (top.rest() < top.probabilities.min(axis=1)).all()
    certain = candidates.certain(np.array([3]), 9)
    assert certain.rest().tolist() == [0]


def test_decisions_are_scored_without_a_table_of_all_classes() -> None:
    truth, named = np.array([7, 7, 2]), np.array([7, 1, 2])
    targets, values = candidates.decisions(named, truth, 20_000)
    assert values.shape == (3, 2)
    assert score("accuracy", targets, values) == pytest.approx(2 / 3)
    assert decided(targets, values).tolist() == named.tolist()


def test_rows_of_candidates_are_selected_like_targets() -> None:
    targets = Candidates(np.array([0, 1]), np.array([[1, 2], [0, 3]]), 4)
    assert len(targets[np.array([False, True])]) == 1
    assert targets[np.array([1])].truth.tolist() == [3]


def test_predictions_survive_a_checkpoint() -> None:
    top = candidates.top_classes(_probabilities(3), 5)
    again = candidates.of_arrays(candidates.arrays_of(top), COUNT)
    assert isinstance(again, TopClasses)
    np.testing.assert_array_equal(again.classes, top.classes)
    both = candidates.concatenated([top, again])
    assert isinstance(both, TopClasses)
    assert len(both) == 80
    full = _probabilities(3)
    assert candidates.of_arrays(candidates.arrays_of(full), COUNT) is full
