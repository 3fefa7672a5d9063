"""Probabilities that hold what they say, and thresholds for decisions: fitted on rows, applied to
others."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from components.blending.logistic import LEAST, logits, squash
from components.blending.scoring.weighted_metrics import counted, of_decisions

Kind = Literal["none", "temperature", "platt", "isotonic"]
# Values that a threshold is tried at: the quantiles of what was predicted.
_TRIED = 200
# Times that the thresholds of all classes are gone through, one class at a time.
_SWEEPS = 3


class Calibrator(NamedTuple):
    """A fitted map of probabilities: (n, classes) -> (n, classes) float64; and its numbers, for
    people."""

    apply: Callable[[np.ndarray], np.ndarray]
    about: dict[str, Any]


def fit(kind: Kind, probabilities: np.ndarray, targets: np.ndarray) -> Calibrator:
    """Fit a calibration on rows whose predictions have not seen their targets.

    Args:
        kind: `temperature` divides the logits by one number (Guo et al., On Calibration of Modern
            Neural Networks, 2017, section 4.2); `platt` is a logistic regression on the log odds of
            each class, of two that of the second (Platt, Probabilistic Outputs for Support Vector
            Machines, 1999, section 2.2); `isotonic` a rising step function of the probability
            (Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability
            Estimates, 2002). Of the last two, each class's is fitted against the rest, and rows of
            one class are made to sum to 1.
        probabilities: (n, classes) in 0 to 1. targets: (n,) indices or (n, classes) bool.
    """
    exclusive = targets.ndim == 1
    if kind == "none":
        return Calibrator(lambda values: np.asarray(values, dtype=np.float64), {})
    if kind == "temperature":
        return _temperature(probabilities, targets)
    columns = (
        range(1, 2) if exclusive and probabilities.shape[1] == 2 else range(probabilities.shape[1])
    )
    fit_one = _platt if kind == "platt" else _isotonic
    maps = [
        fit_one(
            probabilities[:, k].astype(np.float64), targets == k if exclusive else targets[:, k]
        )
        for k in columns
    ]

    def apply(values: np.ndarray) -> np.ndarray:
        each = np.stack(
            [
                one(values[:, k].astype(np.float64))
                for (one, _), k in zip(maps, columns, strict=True)
            ],
            axis=1,
        )
        if not exclusive:
            return each
        if each.shape[1] == 1:
            return np.concatenate([1 - each, each], axis=1)
        return np.asarray(each / each.sum(axis=1, keepdims=True))

    return Calibrator(apply, {"classes": [numbers for _, numbers in maps]})


def _temperature(probabilities: np.ndarray, targets: np.ndarray) -> Calibrator:
    from scipy.optimize import minimize_scalar

    exclusive = targets.ndim == 1
    values = logits(probabilities, exclusive)
    here = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        told = squash(values / np.exp(log_temperature), exclusive)
        of_truth = told[here, targets] if exclusive else np.where(targets, told, 1 - told)
        return -float(np.log(np.maximum(of_truth, LEAST)).mean())

    temperature = float(
        np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x)
    )
    return Calibrator(
        lambda given: squash(logits(given, exclusive) / temperature, exclusive),
        {"temperature": round(temperature, 6)},
    )


def _platt(
    values: np.ndarray, is_one: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, float]]:
    from scipy.optimize import minimize
    from scipy.special import expit

    odds = _odds(values)
    ones = int(is_one.sum())
    # Platt's targets: as if one more row of each kind had been seen, so that no slope is infinite.
    target = np.where(is_one, (ones + 1) / (ones + 2), 1 / (len(values) - ones + 2))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        told = line[0] * odds + line[1]
        residual = expit(told) - target
        return float((np.logaddexp(0, told) - target * told).mean()), np.array(
            [(residual * odds).mean(), residual.mean()]
        )

    slope, offset = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    ).x
    return (lambda given: expit(slope * _odds(given) + offset)), {
        "slope": float(slope),
        "offset": float(offset),
    }


def _odds(values: np.ndarray) -> np.ndarray:
    return logits(values[:, None], exclusive=False)[:, 0]


def _isotonic(
    values: np.ndarray, is_one: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    from sklearn.isotonic import IsotonicRegression

    # A step of 0 or 1 would make one row that goes against it infinitely wrong.
    least = 1 / (len(values) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(
        values, is_one.astype(np.float64)
    )
    return (lambda given: fitted.predict(given)), {"steps": len(fitted.X_thresholds_)}


def thresholds(
    metric: str, probabilities: np.ndarray, targets: np.ndarray, *, per_class: bool
) -> np.ndarray:
    """The thresholds with which decisions score best: (classes,), as `trainer.metrics.decided`
    takes them.

    One class at a time is moved to the best of 200 quantiles of its predictions, the middle of
    equally good neighbours, three times through all classes; 0.5, or the plain maximum, stays where
    nothing is better.

    Args:
        metric: one of decided classes. probabilities: (n, classes). targets: (n,) indices or (n,
            classes) bool.
        per_class: for each class its own; else one for all, which rows of one class of more than
            two do not have.
    """
    classes = probabilities.shape[1]
    once = np.ones((1, len(targets)))

    def score(tried: np.ndarray) -> float:
        return float(counted(metric, targets, probabilities, tried)(once)[0])

    def best_of(
        options: np.ndarray, current: float, placed: Callable[[float], np.ndarray]
    ) -> float:
        return _best(
            [score(placed(float(option))) for option in options],
            options,
            score(placed(current)),
            current,
        )

    if targets.ndim == 1 and classes == 2:
        return _pair(best_of(_options(probabilities[:, 1]), 0.5, _pair))
    if not per_class:
        return np.full(
            classes,
            best_of(_options(probabilities.ravel()), 0.5, lambda value: np.full(classes, value)),
        )
    found = np.full(classes, 0.5)

    def with_class(index: int) -> Callable[[float], np.ndarray]:
        return lambda value: np.where(np.arange(classes) == index, value, found)

    for _ in range(_SWEEPS):
        before = found.copy()
        for index in range(classes):
            if targets.ndim == 1:
                found[index] = _proportion(metric, probabilities, targets, found, index)
            else:
                found[index] = best_of(
                    _options(probabilities[:, index]), float(found[index]), with_class(index)
                )
        if (found == before).all():
            break
    return found


def _best(scores: Sequence[float], options: np.ndarray, before: float, current: float) -> float:
    """The option with the best score, the middle of equally good neighbours; what there was where
    none is better."""
    top = max(scores)
    if not top > before + 1e-12:
        return current
    first = last = next(place for place, score in enumerate(scores) if score >= top - 1e-12)
    while last + 1 < len(scores) and scores[last + 1] >= top - 1e-12:
        last += 1
    return float(options[(first + last) // 2])


def _proportion(
    metric: str, probabilities: np.ndarray, targets: np.ndarray, found: np.ndarray, index: int
) -> float:
    """The best threshold of one class where a row is of one: what counts is its proportion to the
    others'.

    Only rows change in which the class and the best of the others change places, so the others are
    looked at once."""
    relative = probabilities / found
    relative[:, index] = -1
    other = relative.argmax(axis=1)
    height, own = relative[np.arange(len(other)), other], probabilities[:, index]
    options = 0.5 * np.geomspace(0.2, 5, 41)

    def score(threshold: float) -> float:
        mine = own / threshold
        takes = (mine > height) | ((mine == height) & (index < other))
        return of_decisions(metric, targets, np.where(takes, index, other), probabilities.shape[1])

    return _best(
        [score(float(option)) for option in options],
        options,
        score(float(found[index])),
        float(found[index]),
    )


def _pair(value: float) -> np.ndarray:
    return np.array([1 - value, value])


def _options(values: np.ndarray) -> np.ndarray:
    inner = values[(values > 0) & (values < 1)]
    return (
        np.unique(np.quantile(inner, np.linspace(0, 1, _TRIED))) if len(inner) else np.array([0.5])
    )
