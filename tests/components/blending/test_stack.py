import dataclasses

import numpy as np
import pytest

from components.blending import stack
from components.blending.methods import Rows
from components.blending.stack import Level1
from trainer.config.output import Blend
from trainer.metrics.scores import score


def level1(
    seed: int, skills: list[float], rows: int, *, metric: str = "roc_auc", classes: int = 2
) -> Level1:
    """Return members of the given skills; 0 is pure noise."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, rows)
    values = generator.normal(size=(len(skills), rows, classes))
    values += np.eye(classes)[targets] * np.array(skills)[:, None, None]
    told = np.exp(values) / np.exp(values).sum(axis=2, keepdims=True)
    return Level1(
        Rows(told.astype(np.float32), targets, metric), np.arange(rows) % 5, np.arange(rows)
    )


@pytest.mark.parametrize("method", ["greedy", "logistic", "auto"])
def test_noise_raises_the_naive_score_and_not_the_nested_one(method: str) -> None:
    """The members are pure noise.

    Over several data sets, a blend scored on the rows that it was fitted on seems to have skill.
    """
    naive, nested, best = [], [], []
    blend = Blend(method=method, rounds=15, penalty=1e-3)  # type: ignore[arg-type]
    # `auto` fits all methods, and takes as long as all of them.
    for seed in range(4 if method == "auto" else 8):
        rows = level1(seed, [0.0] * 12, 120)
        fitted = stack.fit(rows, blend, 1)
        naive.append(score("roc_auc", rows.rows.targets, fitted.apply(rows.rows.predictions)))
        nested.append(
            score("roc_auc", rows.rows.targets, stack.nested(rows, blend, 1).probabilities)
        )
        best.append(max(score("roc_auc", rows.rows.targets, one) for one in rows.rows.predictions))
    error = np.std(nested, ddof=1) / np.sqrt(len(nested))
    assert np.mean(nested) < 0.5 + 2.5 * error
    assert np.mean(nested) <= np.mean(best)
    if method != "auto":
        # All of the gain is an illusion. `auto` is excluded: it mostly picks the mean, which cannot
        # have such a gain.
        assert np.mean(naive) > 0.58
        assert np.mean(naive) > np.mean(best)


def test_with_one_good_member_noise_does_not_raise_the_nested_score_above_it() -> None:
    gains = []
    for seed in range(6):
        rows = level1(seed, [1.0, *[0.0] * 8], 300)
        alone = score("roc_auc", rows.rows.targets, rows.rows.predictions[0])
        gains.append(
            score(
                "roc_auc", rows.rows.targets, stack.nested(rows, Blend(rounds=10), 1).probabilities
            )
            - alone
        )
    assert np.mean(gains) < 2 * np.std(gains, ddof=1) / np.sqrt(len(gains)) + 0.002
    assert np.mean(gains) > -0.05


def test_a_fold_is_predicted_without_its_targets() -> None:
    rows = level1(0, [1.0, 0.5, 0.2], 200)
    blend = Blend(method="auto", rounds=5, calibration="isotonic", thresholds="f1")
    before = stack.nested(rows, blend, 1)
    turned = rows.rows.targets.copy()
    turned[rows.fold == 2] = 1 - turned[rows.fold == 2]
    after = stack.nested(
        dataclasses.replace(rows, rows=Rows(rows.rows.predictions, turned, "roc_auc"), fits={}),
        blend,
        1,
    )
    held_out = rows.fold == 2
    assert before.thresholds is not None
    assert after.thresholds is not None
    for one, other in (
        (before.probabilities, after.probabilities),
        (before.thresholds, after.thresholds),
    ):
        np.testing.assert_array_equal(one[held_out], other[held_out])
        assert (one[~held_out] != other[~held_out]).any()


def test_auto_takes_the_simplest_that_is_not_clearly_worse() -> None:
    alike = stack.fit(level1(0, [1.0, 1.0, 1.0], 400), Blend(), 1)
    assert alike.choice is not None
    assert alike.method == "mean"
    assert alike.choice.behind[alike.choice.best] == 0
    assert alike.choice.behind["mean"] <= alike.choice.errors["mean"]
    unlike = stack.fit(level1(0, [2.0, 0.0, 0.0, 0.0], 600), Blend(), 1)
    assert unlike.choice is not None
    assert unlike.method not in ("mean", "rank_mean")
    assert unlike.choice.behind["mean"] > unlike.choice.errors["mean"]
    assert stack.fit(level1(0, [1.0], 50), Blend(), 1).method == "mean"


def test_two_folds_are_enough() -> None:
    rows = level1(0, [1.0, 0.5], 100, metric="accuracy", classes=3)
    two = dataclasses.replace(rows, fold=rows.fold % 2, fits={})
    blend = Blend(calibration="temperature", thresholds="macro_f1", per_class=True)
    found = stack.nested(two, blend, 1)
    assert set(found.fitted) == {0, 1}
    assert np.isfinite(found.probabilities).all()
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_its_description_is_json() -> None:
    rows = level1(0, [1.0, 0.5], 100)
    about = stack.describe(
        stack.fit(rows, Blend(method="best_alpha", calibration="platt", thresholds="f1"), 1)
    )
    assert about["method"] == "best_alpha"
    assert len(about["trace"]) == 101
    assert len(about["thresholds"]) == 2
    assert about["calibration"]["classes"][0]["slope"] > 0
