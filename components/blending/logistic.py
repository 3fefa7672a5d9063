"""Logistic regression on members' log probabilities; logits and back.

Predictions are (members, n, classes), values in 0 to 1; targets (n,) class indices, or (n, classes)
bool."""

from dataclasses import dataclass

import numpy as np

from components.parallel import one_thread

# Probabilities nearer to 0 or 1 have no logarithm that says something: float32's own precision.
LEAST = 1e-7
# Newton's method is at its end after about ten.
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on the members' log probabilities: a weight a member, a bias a
    class."""

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
    """Log probabilities where a row is of one class, else log odds; float64."""
    clipped = np.clip(predictions, LEAST, 1 - LEAST, dtype=np.float64)
    return np.log(clipped) if exclusive else np.log(clipped) - np.log1p(-clipped)


def squash(values: np.ndarray, exclusive: bool) -> np.ndarray:
    """Softmax over classes where a row is of one, else the sigmoid: logits -> probabilities."""
    from scipy.special import expit, softmax

    return np.asarray(softmax(values, axis=1) if exclusive else expit(values))


@one_thread
def logistic(predictions: np.ndarray, targets: np.ndarray, penalty: float) -> Logistic:
    """A weight a member and a bias a class of log probabilities, with the least log loss and a
    penalty, by Newton's method.

    The penalty, half of `penalty` times the squares of the weights' distances from those of the
    geometric mean and of the biases, is a Gaussian prior as in ridge regression. The loss is convex
    (Boyd and Vandenberghe, Convex Optimization, 2004, section 7.1.1; the method in section 9.5), so
    there is one minimum."""
    exclusive = targets.ndim == 1
    inputs = logits(predictions, exclusive)
    members, _, classes = inputs.shape
    start = np.concatenate([np.full(members, 1 / members), np.zeros(classes)])

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        values = np.tensordot(at[:members], inputs, axes=1) + at[members:]
        told = squash(values, exclusive)
        if exclusive:
            of_truth = told[np.arange(len(told)), targets]
            total = -float(np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).sum())
        else:
            total = float((np.logaddexp(0, values) - values * targets).sum())
        return total + penalty / 2 * float((at - start) @ (at - start)), told

    at = start
    value, told = loss(at)
    for _ in range(_NEWTON_STEPS):
        slope, bend = _slope_and_bend(inputs, told, targets)
        slope += penalty * (at - start)
        step = np.linalg.solve(bend + penalty * np.eye(len(at)), slope)
        gain = float(slope @ step)
        if gain < 1e-9 * (1 + value):
            break
        length = 1.0
        while (tried := loss(at - length * step))[
            0
        ] > value - 1e-4 * length * gain and length > 1e-6:
            length /= 2
        at, (value, told) = at - length * step, tried
    return Logistic(at[:members], at[members:], exclusive)


def _slope_and_bend(
    inputs: np.ndarray, told: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives of the log loss, weights before biases; (k,) and (k, k)."""
    exclusive = targets.ndim == 1
    members = len(inputs)
    flat = inputs.reshape(members, -1)
    residual = told - (np.eye(told.shape[1])[targets] if exclusive else targets)
    slope = np.concatenate([flat @ residual.ravel(), residual.sum(axis=0)])
    spread = told if exclusive else told * (1 - told)
    weighted = flat * spread.reshape(1, -1)
    of_both = weighted.reshape(inputs.shape).sum(axis=1)
    of_weights = weighted @ flat.T
    of_biases = np.diag(spread.sum(axis=0))
    if exclusive:
        means = weighted.reshape(inputs.shape).sum(axis=2)
        of_weights = of_weights - means @ means.T
        of_both = of_both - means @ told
        of_biases = of_biases - told.T @ told
    return slope, np.block([[of_weights, of_both], [of_both.T, of_biases]])
