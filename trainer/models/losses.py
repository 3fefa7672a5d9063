"""Losses: one value per row, from logits and labels that may be soft. Written in keras.ops, so they
are the same on TensorFlow and JAX.

The loss of a label that is a mixture of classes (CutMix, MixUp, smoothing) is the same mixture of
the losses of these classes: every loss here is linear in its labels, and on hard labels it is that
of the paper.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from trainer.config.network import Loss


def of_rows(loss: Loss, *, exclusive: bool) -> Callable[[Any, Any], Any]:
    """Return the loss of a recipe: a function of (n, outputs) labels and (n, outputs) logits that
    returns (n,) values.

    Args:
        loss: the section `[members.loss]`.
        exclusive: True if each image has exactly one class (softmax); otherwise each output is a
            separate yes or no (sigmoid), and the loss of a row is the mean over its outputs.
    """
    if exclusive:
        return lambda labels, logits: _softmax_loss(
            _smooth(labels, loss.label_smoothing), logits, loss
        )
    return lambda labels, logits: _sigmoid_loss(labels, logits, loss)


def _smooth(labels: Any, smoothing: float) -> Any:
    """Spread a part of each label over all classes (Szegedy et al., arXiv:1512.00567, section
    7)."""
    return labels * (1 - smoothing) + smoothing / labels.shape[-1]


def _softmax_loss(labels: Any, logits: Any, loss: Loss) -> Any:
    """Return -Σ_k y_k (1 - p_k)^gamma log p_k; gamma = 0 is cross-entropy (Lin et al.,
    arXiv:1708.02002, equation 4)."""
    log_p = ops.log_softmax(logits, axis=-1)
    weighted = labels * log_p
    if loss.kind == "focal":
        # At p = 1 the gradient of a power below 1 is not finite.
        weighted = weighted * ops.power(ops.maximum(1 - ops.exp(log_p), 1e-7), loss.gamma)
    return -ops.sum(weighted, axis=-1)


def _sigmoid_loss(labels: Any, logits: Any, loss: Loss) -> Any:
    """Return the mean over outputs of the cross-entropy, or of the focal loss -alpha_t (1 -
    p_t)^gamma log p_t (Lin et al., equation 5)."""
    labels = labels * (1 - loss.label_smoothing) + loss.label_smoothing / 2
    log_p, log_q = ops.log_sigmoid(logits), ops.log_sigmoid(-logits)
    positive, negative = labels * log_p, (1 - labels) * log_q
    if loss.kind == "focal":
        positive = positive * ops.power(ops.maximum(ops.exp(log_q), 1e-7), loss.gamma)
        negative = negative * ops.power(ops.maximum(ops.exp(log_p), 1e-7), loss.gamma)
    if loss.alpha:
        positive, negative = loss.alpha * positive, (1 - loss.alpha) * negative
    return -ops.mean(positive + negative, axis=-1)
