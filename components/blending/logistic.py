"""Logistic regression on the members' log probabilities; conversion to logits and back.

Predictions are (members, n, classes) in 0 to 1; targets are (n,) class indices, or (n, classes)
bool."""

from dataclasses import dataclass

import numpy as np

from components.parallel import one_thread

# Probabilities are clipped to LEAST and 1 - LEAST before a logarithm: float32's own precision.
LEAST = 1e-7
# The gradient of the mean log loss at which the fit ends.
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression on the members' log probabilities.

    Attributes:
        weights: (members,) float64.
        bias: (classes,) float64.
        exclusive: whether each row has exactly one class.
    """

    weights: np.ndarray
    bias: np.ndarray
    exclusive: bool

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        return squash(
            np.tensordot(self.weights, logits(predictions, self.exclusive), axes=1) + self.bias,
            self.exclusive,
        )

    def shares(self) -> list[float]:
        return [float(weight) for weight in self.weights]


def logits(predictions: np.ndarray, exclusive: bool) -> np.ndarray:
    """Return log probabilities if `exclusive` (each row has exactly one class), else log odds;
    float64, in the shape of `predictions`."""
    clipped = np.clip(predictions, LEAST, 1 - LEAST, dtype=np.float64)
    return np.log(clipped) if exclusive else np.log(clipped) - np.log1p(-clipped)


def squash(values: np.ndarray, exclusive: bool) -> np.ndarray:
    """Return the probabilities of (n, classes) logits: softmax over classes if `exclusive`, else
    the sigmoid."""
    from scipy.special import expit, softmax

    return np.asarray(softmax(values, axis=1) if exclusive else expit(values))


@one_thread
def logistic(predictions: np.ndarray, targets: np.ndarray, penalty: float) -> Logistic:
    """Fit one weight per member and one bias per class to log probabilities, by the
    penalised log loss.

    The penalty is half of `penalty` times the sum of the squared biases and of the squared
    distances of the weights from those of the geometric mean: a Gaussian prior, as in ridge
    regression. The loss is convex (Boyd and Vandenberghe, Convex Optimization, 2004, section
    7.1.1), so there is one minimum; a trust-region method finds it with exact second derivatives.

    Args:
        predictions: (members, n, classes) in 0 to 1.
        targets: (n,) class indices, or (n, classes) bool.
        penalty: strength of the prior, above 0.
    """
    from scipy.optimize import minimize

    exclusive = targets.ndim == 1
    inputs = logits(predictions, exclusive)
    members, _, classes = inputs.shape
    start = np.concatenate([np.full(members, 1 / members), np.zeros(classes)])

    def probabilities(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.tensordot(point[:members], inputs, axes=1) + point[members:]
        return values, squash(values, exclusive)

    def loss(point: np.ndarray) -> float:
        values, predicted = probabilities(point)
        if exclusive:
            true_probability = predicted[np.arange(len(predicted)), targets]
            total = -float(np.log(np.maximum(true_probability, np.finfo(np.float64).tiny)).sum())
        else:
            total = float((np.logaddexp(0, values) - values * targets).sum())
        return total + penalty / 2 * float((point - start) @ (point - start))

    def gradient(point: np.ndarray) -> np.ndarray:
        _, predicted = probabilities(point)
        return _gradient(inputs, predicted, targets) + penalty * (point - start)

    def hessian(point: np.ndarray) -> np.ndarray:
        _, predicted = probabilities(point)
        return _hessian(inputs, predicted, exclusive) + penalty * np.eye(len(point))

    options = {"gtol": _TOLERANCE * len(targets)}
    minimum = minimize(
        loss, start, jac=gradient, hess=hessian, method="trust-exact", options=options
    )
    return Logistic(minimum.x[:members], minimum.x[members:], exclusive)


def _gradient(inputs: np.ndarray, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the derivative of the log loss by the weights and then the biases, (k,).

    Args:
        inputs: (members, n, classes) logits.
        probabilities: (n, classes) at the current weights and biases.
        targets: (n,) class indices, or (n, classes) bool.
    """
    truth = np.eye(probabilities.shape[1])[targets] if targets.ndim == 1 else targets
    residual = probabilities - truth
    flat = inputs.reshape(len(inputs), -1)
    return np.concatenate([flat @ residual.ravel(), residual.sum(axis=0)])


def _hessian(inputs: np.ndarray, probabilities: np.ndarray, exclusive: bool) -> np.ndarray:
    """Return the second derivative of the log loss by the weights and then the biases, (k, k).

    Arguments as for `_gradient`; exclusive: whether each row has exactly one class.
    """
    flat = inputs.reshape(len(inputs), -1)
    spread = probabilities if exclusive else probabilities * (1 - probabilities)
    weighted = flat * spread.reshape(1, -1)
    mixed = weighted.reshape(inputs.shape).sum(axis=1)
    weight_block = weighted @ flat.T
    bias_block = np.diag(spread.sum(axis=0))
    if exclusive:
        means = weighted.reshape(inputs.shape).sum(axis=2)
        weight_block = weight_block - means @ means.T
        mixed = mixed - means @ probabilities
        bias_block = bias_block - probabilities.T @ probabilities
    return np.block([[weight_block, mixed], [mixed.T, bias_block]])
