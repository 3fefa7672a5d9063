"""How members' predictions become one. Each method is fitted on rows, and applied to others.

Predictions are (members, n, classes), values in 0 to 1, float32 or float64; targets (n,) class
indices, or (n, classes) bool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from components.blending.logistic import LEAST, Logistic, logistic
from components.blending.scoring.weighted_metrics import area, evaluator
from components.parallel import in_order, one_thread
from trainer.config.output import Method
from trainer.metrics import HIGHER_IS_BETTER, OF_CLASSES, OF_RANKS, better

# Steps of the sweep of two members.
ALPHAS = np.linspace(0.0, 1.0, 101)


class Blender(Protocol):
    """A fitted method."""

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """(members, n, classes) -> (n, classes) float64 in 0 to 1."""

    def shares(self) -> list[float]:
        """A number a member that says how much it counts; they sum to 1 but for `logistic`."""


@dataclass(frozen=True)
class Linear:
    """A weighted mean. `trace` is what the search for the weights went through, for a plot."""

    weights: np.ndarray
    trace: list[float] = field(default_factory=list)

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        return combine(predictions, self.weights)

    def shares(self) -> list[float]:
        return [float(weight) for weight in self.weights]


@dataclass(frozen=True)
class RankMean:
    """The mean of ranks: each prediction counts by the share of the fitted rows that lie below it,
    ties half.

    So a row's blend depends on no other row that is predicted with it. Of one class an image, ranks
    are made to sum to 1.

    reference: (members, n, classes), sorted along the rows.
    """

    reference: np.ndarray
    exclusive: bool

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        total = np.zeros((predictions.shape[1], predictions.shape[2]))
        for member, reference in enumerate(self.reference):
            total += ranks(reference, predictions[member])
        total /= len(self.reference)
        if not self.exclusive:
            return total
        if total.shape[1] == 2:
            # Both columns say the same; the second one is what is ranked.
            return np.stack([1 - total[:, 1], total[:, 1]], axis=1)
        sums = total.sum(axis=1, keepdims=True)
        return np.divide(total, sums, out=np.full_like(total, 1 / total.shape[1]), where=sums > 0)

    def shares(self) -> list[float]:
        return [1 / len(self.reference)] * len(self.reference)


def combine(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(members, n, classes) and (members,) weights -> (n, classes) float64."""
    total = np.zeros(predictions.shape[1:])
    for weight, own in zip(weights, predictions, strict=True):
        if weight:
            total += weight * own.astype(np.float64)
    # Weights that sum to 1 within rounding make sums of 1 within rounding.
    return np.clip(total, 0, 1, out=total)


def ranks(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The share of `reference` below each value, ties half: (n, classes) float64 in 0 to 1, a class
    at a time.

    Args:
        reference: (m, classes), sorted along the rows. values: (n, classes).
    """
    found = np.empty(values.shape)
    for column in range(values.shape[1]):
        below, upto = (
            np.searchsorted(reference[:, column], values[:, column], side)
            for side in ("left", "right")
        )
        found[:, column] = (below + upto) / (2 * len(reference))
    return found


@dataclass(frozen=True)
class Rows:
    """What a method is fitted on: predictions (members, n, classes), their targets, and what it is
    to be good at."""

    predictions: np.ndarray
    targets: np.ndarray
    metric: str

    @property
    def exclusive(self) -> bool:
        return self.targets.ndim == 1

    @property
    def members(self) -> int:
        return len(self.predictions)

    def at(self, rows: np.ndarray) -> "Rows":
        """Some of the rows, by index or mask."""
        return Rows(self.predictions[:, rows], self.targets[rows], self.metric)


def mean(rows: Rows) -> Linear:
    """The same weight for each member."""
    return Linear(np.full(rows.members, 1 / rows.members))


def rank_mean(rows: Rows) -> RankMean:
    """The mean of ranks among these rows."""
    return RankMean(np.sort(rows.predictions, axis=1), rows.exclusive)


def greedy(rows: Rows, rounds: int) -> Linear:
    """Selection with replacement: in each round the member joins with which the mean scores best,
    the first of equals.

    Caruana et al., Ensemble Selection from Libraries of Models, 2004, section 2.1 and 2.2. The
    rounds up to the best score count, the fewest of equals. The members' sums are kept in single
    precision."""
    tried = _evaluator(rows)
    total = np.zeros(rows.predictions.shape[1:], dtype=np.float32)
    counts = np.zeros(rows.members, dtype=np.int64)
    best, best_score, trace = counts, None, []
    for number in range(1, rounds + 1):
        scores = list(in_order(partial(tried, total, number), range(rows.members)))
        ordered = scores if HIGHER_IS_BETTER[rows.metric] else [-value for value in scores]
        chosen = int(np.argmax(ordered))
        total = total + rows.predictions[chosen]
        counts = counts.copy()
        counts[chosen] += 1
        trace.append(scores[chosen])
        if better(rows.metric, scores[chosen], best_score):
            best, best_score = counts, scores[chosen]
    return Linear(best / best.sum(), trace)


def _evaluator(rows: Rows) -> Callable[[np.ndarray, int, int], float]:
    """(sum so far, how many with the member, member) -> the score of the mean with the member."""
    targets, predictions = rows.targets, rows.predictions
    if rows.metric == "roc_auc" and rows.exclusive and predictions.shape[2] == 2:
        # One column, and its sum instead of its mean: the order is the same.
        is_one, columns = targets == 1, np.ascontiguousarray(predictions[:, :, 1], dtype=np.float32)
        return lambda total, number, member: area(is_one, total[:, 1] + columns[member])
    if rows.metric == "log_loss" and rows.exclusive:
        here = np.arange(len(targets))
        of_truth = predictions[:, here, targets].astype(np.float64)

        def loss(total: np.ndarray, number: int, member: int) -> float:
            return -float(
                np.log(np.maximum((total[here, targets] + of_truth[member]) / number, LEAST)).mean()
            )

        return loss
    score = evaluator(rows.metric, targets)
    if rows.exclusive and rows.metric in OF_CLASSES:
        # The largest of a sum is the largest of its mean.
        return lambda total, number, member: score(total + predictions[member])
    return lambda total, number, member: score((total + predictions[member]) / np.float32(number))


@one_thread
def simplex(rows: Rows) -> Linear:
    """The weights, none negative and summing to 1, whose mean has the least log loss on these rows.

    It is convex, so there is one minimum, and it is smooth, which accuracy or an area is not; a
    blend for such a metric is `greedy`'s work. Sequential quadratic programming (Kraft, A Software
    Package for SQP, 1988), as in scipy."""
    from scipy.optimize import minimize

    if rows.exclusive:
        of_truth = rows.predictions[:, np.arange(len(rows.targets)), rows.targets].astype(
            np.float64
        )
    else:
        of_truth = (
            np.where(rows.targets, rows.predictions, 1 - rows.predictions)
            .reshape(rows.members, -1)
            .astype(np.float64)
        )
    # A member that gives the truth no chance at all would make the loss infinite whatever the
    # others say.
    of_truth = np.maximum(of_truth, LEAST)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        blended = np.maximum(weights @ of_truth, LEAST)
        return -float(np.log(blended).mean()), -(of_truth @ (1 / blended)) / len(blended)

    found = minimize(
        loss,
        np.full(rows.members, 1 / rows.members),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * rows.members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"maxiter": 500, "ftol": 1e-10},
    )
    weights = np.where(found.x < 1e-6, 0, found.x)
    return Linear(weights / weights.sum())


def best_alpha(rows: Rows) -> Linear:
    """Of two members, alpha times the first and 1 - alpha times the second: the alpha of 0, 0.01,
    ... 1 with the best score.

    Of a run of equally good ones the one in the middle of the first run.
    """
    score = evaluator(rows.metric, rows.targets)
    first_one, other = rows.predictions.astype(np.float64)
    apart = first_one - other
    trace = list(in_order(lambda alpha: score(other + alpha * apart), ALPHAS.tolist()))
    best = max(trace) if HIGHER_IS_BETTER[rows.metric] else min(trace)
    first = last = trace.index(best)
    while last + 1 < len(trace) and trace[last + 1] == best:
        last += 1
    alpha = float(ALPHAS[(first + last) // 2])
    return Linear(np.array([alpha, 1 - alpha]), trace)


def candidates(metric: str, members: int) -> list[Method]:
    """The methods that `auto` chooses among, the simplest first: fewer numbers that are fitted come
    before more."""
    ranked: list[Method] = (
        ["rank_mean"] if metric in OF_RANKS or metric.startswith("partial_auc") else []
    )
    return ["mean", *ranked, "best_alpha" if members == 2 else "greedy", "weights", "logistic"]


def fit(method: Method, rows: Rows, *, rounds: int, penalty: float) -> Blender:
    """A method, by its name in the competition file, fitted on rows."""
    fitters: dict[Method, Callable[[], Blender]] = {
        "mean": lambda: mean(rows),
        "rank_mean": lambda: rank_mean(rows),
        "greedy": lambda: greedy(rows, rounds),
        "weights": lambda: simplex(rows),
        "logistic": lambda: logistic(rows.predictions, rows.targets, penalty),
        "best_alpha": lambda: best_alpha(rows),
    }
    return fitters[method]()


def describe(blender: Blender) -> dict[str, Any]:
    """What there is to say of a fitted method, as JSON values."""
    extra: dict[str, Any] = {}
    if isinstance(blender, Linear) and blender.trace:
        extra["trace"] = blender.trace
    if isinstance(blender, Logistic):
        extra["bias"] = blender.bias.tolist()
    return {"shares": blender.shares(), **extra}
