import numpy as np
import pytest

from components.blending.calibrate import Kind, fit, thresholds
from trainer.metrics.scores import decided, score


def overconfident(
    seed: int, rows: int, classes: int, *, several: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets drawn from true probabilities, and overconfident predictions.

    The logits of the predictions are three times the true ones.
    """
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, classes))
    if several:
        return generator.random((rows, classes)) < 1 / (1 + np.exp(-values)), 1 / (
            1 + np.exp(-3 * values)
        )
    true = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    sure = np.exp(3 * values) / np.exp(3 * values).sum(axis=1, keepdims=True)
    return (generator.random((rows, 1)) > true.cumsum(axis=1)).sum(axis=1).clip(
        0, classes - 1
    ), sure


@pytest.mark.parametrize("kind", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize(("classes", "several"), [(2, False), (4, False), (3, True)])
def test_calibration_holds_on_rows_it_was_not_fitted_on(
    kind: Kind, classes: int, several: bool
) -> None:
    targets, sure = overconfident(0, 4000, classes, several=several)
    calibrator = fit(kind, sure, targets)
    others, told = overconfident(1, 4000, classes, several=several)
    after = calibrator.apply(told)
    assert after.min() >= 0
    assert after.max() <= 1
    if not several:
        np.testing.assert_allclose(after.sum(axis=1), 1)
    assert score("calibration_error", others, after) < score("calibration_error", others, told) / 3
    assert score("log_loss", others, after) < score("log_loss", others, told) - 0.1


def test_the_temperature_is_the_one_that_was_put_in() -> None:
    targets, sure = overconfident(0, 20_000, 5)
    assert fit("temperature", sure, targets).about["temperature"] == pytest.approx(3, abs=0.15)


def test_no_calibration_is_infinitely_sure() -> None:
    # Separable data: a plain logistic fit would have an infinite slope, and an isotonic fit steps
    # of 0 and 1.
    targets = (np.arange(50) >= 25).astype(int)
    told = np.stack([1 - np.linspace(0.1, 0.9, 50), np.linspace(0.1, 0.9, 50)], axis=1)
    for kind in ("platt", "isotonic"):
        after = fit(kind, told, targets).apply(told)  # type: ignore[arg-type]
        assert 0 < after.min() < 0.1
        assert np.isfinite(score("log_loss", 1 - targets, after))


def test_thresholds_of_a_rare_class_of_two() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random(2000) < 0.05).astype(int)
    positive = np.clip(0.1 + 0.15 * targets + 0.05 * generator.normal(size=2000), 0, 1)
    both = np.stack([1 - positive, positive], axis=1)
    found = thresholds("f1", both, targets, per_class=False)
    assert found.sum() == pytest.approx(1)
    assert 0.15 < found[1] < 0.24
    assert (decided(targets, both, found) == (positive > found[1])).all()
    assert score("f1", targets, both) == 0
    best = max(
        score("f1", targets, both, np.array([1 - t, t])) for t in np.linspace(0.01, 0.99, 200)
    )
    assert score("f1", targets, both, found) > best - 0.01


def test_thresholds_a_class() -> None:
    generator = np.random.default_rng(1)
    targets = generator.random((1500, 2)) < [0.5, 0.1]
    told = np.clip(
        np.where(targets, [0.7, 0.3], [0.4, 0.1]) + 0.08 * generator.normal(size=(1500, 2)), 0, 1
    )
    one = thresholds("macro_f1", told, targets, per_class=False)
    each = thresholds("macro_f1", told, targets, per_class=True)
    assert one[0] == one[1]
    assert each[0] > each[1] + 0.2
    assert (
        score("macro_f1", targets, told, each)
        > score("macro_f1", targets, told, one)
        > score("macro_f1", targets, told)
    )


def test_thresholds_of_one_class_of_many() -> None:
    generator = np.random.default_rng(2)
    targets = generator.choice(3, 2000, p=[0.6, 0.3, 0.1])
    values = np.eye(3)[targets] + generator.normal(size=(2000, 3)) * 0.6 + [1.5, 0.5, 0]
    told = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    found = thresholds("macro_f1", told, targets, per_class=True)
    assert score("macro_f1", targets, told, found) > score("macro_f1", targets, told) + 0.05
    # Thresholds stay at 0.5 if no other value improves the score.
    assert (
        thresholds("accuracy", np.eye(3)[targets] * 0.8 + 0.1, targets, per_class=True) == 0.5
    ).all()
