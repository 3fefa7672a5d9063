"""Methods that blend the members' predictions into one; each is fitted on some rows and applied to
others.

Predictions are (members, n, classes) in 0 to 1, float32 or float64; targets are (n,) class indices,
or (n, classes) bool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from components.blending.logistic import LEAST, Logistic, logistic
from components.blending.scoring.areas import area
from components.blending.scoring.weighted_metrics import evaluator
from components.parallel import in_order, one_thread
from trainer.config.output import Method
from trainer.metrics.candidates import Candidates, Targets, columns_of, count_of
from trainer.metrics.names import HIGHER_IS_BETTER, OF_CLASSES, OF_RANKS, better

# Classes above which `auto` leaves out the regression: each fit would take more than a second.
_MOST_REGRESSED = 300
# Weights of the first of two members that `best_alpha` tries.
ALPHAS = np.linspace(0.0, 1.0, 101)


class Blender(Protocol):
    """A fitted method."""

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """Return the blend of (members, n, classes) predictions: (n, classes) float64 in 0 to
        1."""

    def shares(self) -> list[float]:
        """Return each member's weight; they sum to 1, except for `logistic`."""


@dataclass(frozen=True)
class WeightedMean:
    """A weighted mean.

    Attributes:
        weights: (members,) float64 in 0 to 1, summing to 1.
        trace: the scores along the search for the weights, for a plot; [] if there was no search.
    """

    weights: np.ndarray
    trace: list[float] = field(default_factory=list)

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        return combine(predictions, self.weights)

    def shares(self) -> list[float]:
        return [float(weight) for weight in self.weights]


@dataclass(frozen=True)
class RankMean:
    """The mean of the members' ranks. A prediction's rank is the share of the fitted rows below it,
    ties counting half.

    A row's blend therefore does not depend on other rows predicted with it. If each row has exactly
    one class, its ranks are normalised to sum to 1.

    Attributes:
        reference: (members, n, classes) predictions of the fitted rows, sorted along n.
        exclusive: whether each row has exactly one class.
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
            # The second column determines the first, so rank only the second.
            return np.stack([1 - total[:, 1], total[:, 1]], axis=1)
        sums = total.sum(axis=1, keepdims=True)
        return np.divide(total, sums, out=np.full_like(total, 1 / total.shape[1]), where=sums > 0)

    def shares(self) -> list[float]:
        return [1 / len(self.reference)] * len(self.reference)


def combine(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the members' predictions, clipped to 0 to 1.

    Args:
        predictions: (members, n, classes) in 0 to 1.
        weights: (members,) summing to 1.

    Returns:
        (n, classes) float64.
    """
    total = np.zeros(predictions.shape[1:])
    for weight, values in zip(weights, predictions, strict=True):
        if weight:
            total += weight * values.astype(np.float64)
    # Weights sum to 1 only within rounding, so the sums may exceed 1 by as much.
    return np.clip(total, 0, 1, out=total)


def ranks(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of `reference` below each value, per class, ties counting half: (n, classes)
    float64 in 0 to 1.

    Args:
        reference: (m, classes), sorted along the rows.
        values: (n, classes).
    """
    shares = np.empty(values.shape)
    for column in range(values.shape[1]):
        below, up_to = (
            np.searchsorted(reference[:, column], values[:, column], side)
            for side in ("left", "right")
        )
        shares[:, column] = (below + up_to) / (2 * len(reference))
    return shares


@dataclass(frozen=True)
class Rows:
    """What a method is fitted on.

    Attributes:
        predictions: (members, n, classes) in 0 to 1.
        targets: (n,) class indices, (n, classes) bool, or Candidates, whose columns then take the
            place of the classes.
        metric: the metric to optimise.
    """

    predictions: np.ndarray
    targets: Targets
    metric: str

    @property
    def exclusive(self) -> bool:
        return self.targets.ndim == 1

    @property
    def columns(self) -> np.ndarray:
        """The column of each row's class, (n,) int64, if each row has exactly one."""
        return columns_of(self.targets)

    @property
    def classes(self) -> int:
        """The number of all classes."""
        return count_of(self.targets, self.predictions[0])

    @property
    def complete(self) -> bool:
        """Whether the probabilities of all classes are known."""
        return not isinstance(self.targets, Candidates)

    @property
    def members(self) -> int:
        return len(self.predictions)

    def at(self, rows: np.ndarray) -> "Rows":
        """Return the rows selected by an index or a mask."""
        return Rows(self.predictions[:, rows], self.targets[rows], self.metric)


def mean(rows: Rows) -> WeightedMean:
    """Fit the plain mean: the same weight for each member."""
    return WeightedMean(np.full(rows.members, 1 / rows.members))


def rank_mean(rows: Rows) -> RankMean:
    """Fit the mean of ranks among these rows."""
    return RankMean(np.sort(rows.predictions, axis=1), rows.exclusive)


def greedy(rows: Rows, rounds: int) -> WeightedMean:
    """Fit weights by greedy selection with replacement (Caruana et al., Ensemble Selection from
    Libraries of Models, 2004, sections 2.1 and 2.2).

    Each round adds the member with which the mean scores best, the first of equals. The weights
    count the rounds up to the best score, the earliest of equals. Sums of predictions are float32.

    Args:
        rows: the rows to score on.
        rounds: number of rounds, 1 or more.
    """
    evaluate = _evaluator(rows)
    total = np.zeros(rows.predictions.shape[1:], dtype=np.float32)
    counts = np.zeros(rows.members, dtype=np.int64)
    best, best_score, trace = counts, None, []
    for round_number in range(1, rounds + 1):
        scores = list(in_order(partial(evaluate, total, round_number), range(rows.members)))
        signed = scores if HIGHER_IS_BETTER[rows.metric] else [-value for value in scores]
        chosen = int(np.argmax(signed))
        total = total + rows.predictions[chosen]
        counts = counts.copy()
        counts[chosen] += 1
        trace.append(scores[chosen])
        if better(rows.metric, scores[chosen], best_score):
            best, best_score = counts, scores[chosen]
    return WeightedMean(best / best.sum(), trace)


def _evaluator(rows: Rows) -> Callable[[np.ndarray, int, int], float]:
    """Return a function that scores the mean after adding a member.

    Its arguments are the (n, classes) sum so far, the number of summands including the new member,
    and the new member's index.
    """
    targets, predictions = rows.targets, rows.predictions
    if rows.metric == "roc_auc" and rows.exclusive and rows.classes == 2:
        # The sum of the second column is enough: it orders the rows as the mean does.
        is_one = rows.columns == 1
        columns = np.ascontiguousarray(predictions[:, :, 1], dtype=np.float32)
        if is_one.all() or not is_one.any():
            return lambda total, number, member: 0.5
        return lambda total, number, member: area(is_one, total[:, 1] + columns[member])
    if rows.metric == "log_loss" and rows.exclusive:
        row_numbers, columns = np.arange(len(targets)), rows.columns
        true_probability = predictions[:, row_numbers, columns].astype(np.float64)

        def loss(total: np.ndarray, number: int, member: int) -> float:
            return -float(
                np.log(
                    np.maximum(
                        (total[row_numbers, columns] + true_probability[member]) / number, LEAST
                    )
                ).mean()
            )

        return loss
    score = evaluator(rows.metric, targets)
    if rows.exclusive and rows.metric in OF_CLASSES:
        # The sum has its maximum in the same class as the mean.
        return lambda total, number, member: score(total + predictions[member])
    return lambda total, number, member: score((total + predictions[member]) / np.float32(number))


@one_thread
def simplex(rows: Rows) -> WeightedMean:
    """Fit non-negative weights that sum to 1 and whose mean has the least log loss on these rows.

    The loss is convex, so there is one minimum, and smooth. Accuracy and areas under curves are not
    smooth: use `greedy` for such a metric. The solver is sequential quadratic programming (Kraft, A
    Software Package for SQP, 1988), as in scipy."""
    from scipy.optimize import minimize

    if rows.exclusive:
        true_probability = rows.predictions[:, np.arange(len(rows.targets)), rows.columns].astype(
            np.float64
        )
    else:
        true_probability = (
            np.where(np.asarray(rows.targets), rows.predictions, 1 - rows.predictions)
            .reshape(rows.members, -1)
            .astype(np.float64)
        )
    # A member that gives the true class probability 0 would make the loss infinite, whatever the
    # other members predict.
    true_probability = np.maximum(true_probability, LEAST)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        blended = np.maximum(weights @ true_probability, LEAST)
        return -float(np.log(blended).mean()), -(true_probability @ (1 / blended)) / len(blended)

    solution = minimize(
        loss,
        np.full(rows.members, 1 / rows.members),
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * rows.members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"maxiter": 500, "ftol": 1e-10},
    )
    weights = np.where(solution.x < 1e-6, 0, solution.x)
    return WeightedMean(weights / weights.sum())


def best_alpha(rows: Rows) -> WeightedMean:
    """Fit alpha times the first of two members plus 1 - alpha times the second, with the best score
    for alpha in 0, 0.01, ... 1.

    Of equally good alphas, it takes the middle of the first run.
    """
    score = evaluator(rows.metric, rows.targets)
    first_member, second_member = rows.predictions.astype(np.float64)
    difference = first_member - second_member
    trace = list(in_order(lambda alpha: score(second_member + alpha * difference), ALPHAS.tolist()))
    best = max(trace) if HIGHER_IS_BETTER[rows.metric] else min(trace)
    first = last = trace.index(best)
    while last + 1 < len(trace) and trace[last + 1] == best:
        last += 1
    alpha = float(ALPHAS[(first + last) // 2])
    return WeightedMean(np.array([alpha, 1 - alpha]), trace)


def candidates(metric: str, members: int, classes: int, *, complete: bool = True) -> list[Method]:
    """Return the methods that `auto` chooses among, simplest first, by the number of fitted
    values.

    With very many classes, `logistic` is none of them: it fits a bias for each, in time that grows
    with the third power of their number.

    Args:
        metric: the metric to optimise.
        members: number of members.
        classes: number of classes.
        complete: whether the probabilities of all classes are known.
    """
    ranked: list[Method] = (
        ["rank_mean"] if metric in OF_RANKS or metric.startswith("partial_auc") else []
    )
    regression: list[Method] = ["logistic"] if complete and classes <= _MOST_REGRESSED else []
    return ["mean", *ranked, "best_alpha" if members == 2 else "greedy", "weights", *regression]


def fit(method: Method, rows: Rows, *, rounds: int, penalty: float) -> Blender:
    """Fit a method on rows.

    Args:
        method: its name in the competition file, not `auto`.
        rows: the rows to fit on.
        rounds: only for `greedy`: number of rounds.
        penalty: only for `logistic`: strength of the penalty.
    """
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
    """Return a fitted method's weights, search trace and bias, as JSON values."""
    extra: dict[str, Any] = {}
    if isinstance(blender, WeightedMean) and blender.trace:
        extra["trace"] = blender.trace
    if isinstance(blender, Logistic):
        extra["bias"] = blender.bias.tolist()
    return {"shares": blender.shares(), **extra}
