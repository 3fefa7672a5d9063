import numpy as np
import pytest

from components.blending.scoring.bootstrap import interval, resampled, standard_error
from components.blending.scoring.weighted_metrics import counted
from trainer.metrics.scores import score

TARGETS = (np.arange(400) % 4 == 0).astype(int)
GENERATOR = np.random.default_rng(5)
POSITIVE = np.clip(0.3 * TARGETS + GENERATOR.random(400) * 0.7, 0, 1)
PROBABILITIES = np.stack([1 - POSITIVE, POSITIVE], axis=1)


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = resampled(
        {"a": counted("accuracy", TARGETS, PROBABILITIES)}, np.arange(400), resamples=4000, seed=1
    )["a"]
    right = (PROBABILITIES.argmax(axis=1) == TARGETS).mean()
    error = np.sqrt(right * (1 - right) / 400)
    assert standard_error(values) == pytest.approx(error, rel=0.06)
    between = interval(values, right)
    assert between["low"] == pytest.approx(right - 1.96 * error, abs=0.006)
    assert between["high"] == pytest.approx(right + 1.96 * error, abs=0.006)


def test_draws_are_paired_and_do_not_depend_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = counted("roc_auc", TARGETS, PROBABILITIES)
    first = resampled({"a": scorer, "b": scorer}, np.arange(400), resamples=30, seed=3)
    assert (first["a"] == first["b"]).all()
    assert len(first["a"]) == 30
    monkeypatch.setattr("components.blending.scoring.bootstrap._TOGETHER", 7)
    assert (resampled({"a": scorer}, np.arange(400), resamples=30, seed=3)["a"] == first["a"]).all()
    assert (resampled({"a": scorer}, np.arange(400), resamples=30, seed=4)["a"] != first["a"]).any()


def test_images_of_one_group_say_less_than_as_many_of_different_ones() -> None:
    # Every image appears ten times. Resampled image by image, the copies would look like ten times
    # as much evidence.
    targets, probabilities = np.repeat(TARGETS[:60], 10), np.repeat(PROBABILITIES[:60], 10, axis=0)
    scorer = {"a": counted("accuracy", targets, probabilities)}
    groups = np.repeat(np.arange(60), 10)
    by_group = standard_error(resampled(scorer, groups, resamples=2000, seed=1)["a"])
    by_image = standard_error(resampled(scorer, np.arange(600), resamples=2000, seed=1)["a"])
    assert by_group / by_image == pytest.approx(np.sqrt(10), rel=0.1)


def test_resamples_without_a_score_are_left_out_and_too_few_give_none() -> None:
    assert interval(np.array([0.5, np.nan, 0.7, 0.6]), 0.6) == {
        "low": pytest.approx(0.505),
        "high": pytest.approx(0.695),
    }
    assert interval(np.array([0.5, np.nan, np.nan]), 0.5) == {"low": None, "high": None}
    assert standard_error(np.array([0.5, np.nan])) == 0
    # With a single row of the class, about a third of the resamples have none.
    targets = np.array([1, *[0] * 30])
    drawn = resampled(
        {"a": counted("roc_auc", targets, PROBABILITIES[:31])}, np.arange(31), resamples=500, seed=1
    )["a"]
    assert 0.25 < np.isnan(drawn).mean() < 0.45


@pytest.mark.parametrize(
    "metric", ["macro_f1", "calibration_error", "roc_auc", "average_precision"]
)
def test_a_score_lies_in_its_interval_also_with_rare_classes(metric: str) -> None:
    # Three images per class: almost every resample lacks some class, and has fewer distinct images
    # than the data.
    generator = np.random.default_rng(0)
    targets = np.repeat(np.arange(40), 3)
    values = generator.dirichlet(np.full(40, 0.2), 120) * 0.5 + np.eye(40)[targets] * 0.5
    drawn = resampled(
        {"a": counted(metric, targets, values)}, np.arange(120), resamples=300, seed=1
    )["a"]
    value = score(metric, targets, values)
    between = interval(drawn, value)
    assert between["low"] <= value <= between["high"]
    assert between["high"] - between["low"] < 0.25
