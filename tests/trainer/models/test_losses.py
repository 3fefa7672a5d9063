import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.network import Loss


def values(loss: Loss, labels: np.ndarray, logits: np.ndarray, *, exclusive: bool) -> np.ndarray:
    from trainer.models import losses

    made = losses.of_rows(loss, exclusive=exclusive)
    return np.asarray(made(labels.astype(np.float32), logits.astype(np.float32)), dtype=np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(0, 3, (50, 4))
HARD = np.eye(4)[RANDOM.integers(0, 4, 50)]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_is_the_papers_formula_on_hard_labels(gamma: float) -> None:
    p = (softmax(LOGITS) * HARD).sum(axis=1)
    found = values(Loss(kind="focal", gamma=gamma), HARD, LOGITS, exclusive=True)
    np.testing.assert_allclose(found, -((1 - p) ** gamma) * np.log(p), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.8])
def test_binary_focal_is_the_papers_formula_on_hard_labels(alpha: float) -> None:
    logits, labels = LOGITS[:, :1], HARD[:, :1]
    p = 1 / (1 + np.exp(-logits))
    p_t = np.where(labels == 1, p, 1 - p)[:, 0]
    alpha_t = np.where(labels == 1, alpha, 1 - alpha)[:, 0] if alpha else 1.0
    found = values(Loss(kind="focal", gamma=2.0, alpha=alpha), labels, logits, exclusive=False)
    np.testing.assert_allclose(found, -alpha_t * (1 - p_t) ** 2 * np.log(p_t), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(
    "loss",
    [Loss(), Loss(kind="focal"), Loss(kind="focal", gamma=1.0, alpha=0.0, label_smoothing=0.1)],
)
def test_a_soft_label_has_the_share_of_both_losses(loss: Loss, exclusive: bool) -> None:
    other = HARD[::-1]
    share = RANDOM.uniform(0, 1, (50, 1))
    mixed = values(loss, share * HARD + (1 - share) * other, LOGITS, exclusive=exclusive)
    first, second = (values(loss, labels, LOGITS, exclusive=exclusive) for labels in (HARD, other))
    np.testing.assert_allclose(
        mixed, share[:, 0] * first + (1 - share[:, 0]) * second, rtol=1e-4, atol=1e-5
    )
    # The notebook's loss was exactly 0 on these.
    assert (mixed > 1e-4).mean() > 0.9


def test_they_agree_with_keras() -> None:
    import keras

    expected = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1, reduction=None
    )(HARD, LOGITS)
    np.testing.assert_allclose(
        values(Loss(label_smoothing=0.1), HARD, LOGITS, exclusive=True), expected, rtol=1e-4
    )
    expected = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.8, gamma=2.0, from_logits=True, reduction=None
    )(HARD, LOGITS)
    found = values(Loss(kind="focal", alpha=0.8), HARD, LOGITS, exclusive=False)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@given(st.floats(-200, 200), st.floats(-200, 200), st.sampled_from(["cross_entropy", "focal"]))
def test_no_logit_breaks_it(first: float, second: float, kind: str) -> None:
    import keras

    logits, labels = np.array([[first, second]]), np.array([[1.0, 0.0]])
    for exclusive in (True, False):
        found = values(Loss(kind=kind), labels, logits, exclusive=exclusive)  # type: ignore[arg-type]
        assert np.isfinite(found).all()
        assert (found >= -1e-6).all()
    assert keras.config.backend() == "tensorflow"


def test_gradients_stay_finite_where_the_truth_is_certain() -> None:
    import tensorflow as tf

    from trainer.models import losses

    logits = tf.Variable([[90.0, -90.0], [-90.0, 90.0]])
    for loss in (Loss(kind="focal", gamma=0.5), Loss(kind="focal", gamma=2.0)):
        for exclusive in (True, False):
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(
                    losses.of_rows(loss, exclusive=exclusive)(
                        tf.constant([[1.0, 0.0], [1.0, 0.0]]), logits
                    )
                )
            assert np.isfinite(tape.gradient(total, logits).numpy()).all()
