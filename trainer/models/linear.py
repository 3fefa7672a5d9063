"""Multinomial logistic regression on pixels: a baseline that needs no TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import scipy.special
from threadpoolctl import threadpool_limits

from trainer.config.network import Linear

_ITERATIONS, _TOLERANCE = 200, 1e-3


@dataclass(frozen=True)
class LinearModel:
    """A fitted regression.

    Attributes:
        weights: (features, outputs) float32.
        bias: (outputs,) float32.
        exclusive: each image has exactly one class: softmax, one output a class. Otherwise a
            sigmoid for each class.
    """

    weights: np.ndarray
    bias: np.ndarray
    exclusive: bool

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """(n, classes) float32 of (n, features) float32."""
        logits = (features @ self.weights + self.bias).astype(np.float64)
        if not self.exclusive:
            return np.asarray(scipy.special.expit(logits)).astype(np.float32)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)

    def save(self, stream: IO[bytes]) -> None:
        """Write the model as a NumPy archive: weights, bias, exclusive."""
        np.savez(stream, weights=self.weights, bias=self.bias, exclusive=self.exclusive)


def load(path: str | Path) -> LinearModel:
    """Read what `LinearModel.save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        return LinearModel(file["weights"], file["bias"], bool(file["exclusive"]))


def fit(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    recipe: Linear,
    *,
    classes: int,
) -> LinearModel:
    """Fit the regression, by L-BFGS on standardised features.

    Args:
        features: (n, features) float32 of the training rows.
        targets: (n,) class indices, or (n, classes) bool for images of any number of classes.
        weights: (n,) of each row in the loss.
        recipe: the strength of the penalty.
        classes: number of classes; one without a training row gets probability 0.
    """
    mean, std = features.mean(axis=0), features.std(axis=0)
    # A feature that never varies is 0 after centring, whatever it is divided by.
    std = np.where(std > 0, std, 1)
    scaled = (features - mean) / std
    with threadpool_limits(1, user_api="blas"):
        if targets.ndim == 1:
            coefficients, bias = _softmax(scaled, targets, weights, recipe, classes)
        else:
            outputs = [_sigmoid(scaled, column, weights, recipe) for column in targets.T]
            coefficients = np.stack([weight for weight, _ in outputs], axis=1)
            bias = np.array([intercept for _, intercept in outputs])
    coefficients = coefficients / std[:, None]
    bias = bias - mean @ coefficients
    return LinearModel(coefficients.astype(np.float32), bias.astype(np.float32), targets.ndim == 1)


def _regression(recipe: Linear) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=recipe.strength, max_iter=_ITERATIONS, tol=_TOLERANCE)


def _softmax(
    scaled: np.ndarray, targets: np.ndarray, weights: np.ndarray, recipe: Linear, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(features, classes) coefficients and (classes,) biases."""
    coefficients = np.zeros((scaled.shape[1], classes))
    # Far enough below the others to have probability 0 in float32.
    bias = np.full(classes, -200.0)
    present = np.unique(targets)
    if len(present) == 1:
        bias[present] = 0
        return coefficients, bias
    model = _fitted(_regression(recipe), scaled, targets, weights)
    if len(present) == 2:
        coefficients[:, present[1]] = model.coef_[0]
        bias[present] = 0, model.intercept_[0]
    else:
        coefficients[:, present] = model.coef_.T
        bias[present] = model.intercept_
    return coefficients, bias


def _sigmoid(
    scaled: np.ndarray, targets: np.ndarray, weights: np.ndarray, recipe: Linear
) -> tuple[np.ndarray, float]:
    """(features,) coefficients and the bias of one class."""
    if targets.all() or not targets.any():
        return np.zeros(scaled.shape[1]), 200.0 if targets.all() else -200.0
    model = _fitted(_regression(recipe), scaled, targets, weights)
    return model.coef_[0], float(model.intercept_[0])


def _fitted(
    model: Any, scaled: np.ndarray, targets: np.ndarray, weights: np.ndarray | Sequence[float]
) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # More iterations change the accuracy of a baseline by less than its standard error.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(scaled, targets, sample_weight=weights)
