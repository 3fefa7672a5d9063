"""Calibration of probabilities, and thresholds for decisions: fitted on some rows and applied to
others."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from components.blending.logistic import LEAST, logits, squash
from components.blending.scoring.weighted_metrics import counted, of_decisions
from trainer.metrics.candidates import Candidates, Targets

Kind = Literal["none", "temperature", "platt", "isotonic"]
# Quantiles of the predicted probabilities that are tried as thresholds.
_TRIED = 200
# Passes of the threshold search over all classes, one class at a time.
_SWEEPS = 3


class Calibrator(NamedTuple):
    """A fitted calibration.

    Attributes:
        apply: maps (n, classes) probabilities to calibrated ones, (n, classes) float64.
        about: the fitted numbers as JSON values, for the report.
    """

    apply: Callable[[np.ndarray], np.ndarray]
    about: dict[str, Any]


def fit(kind: Kind, probabilities: np.ndarray, targets: Targets) -> Calibrator:
    """Fit a calibration on rows whose targets were not used to fit their predictions.

    Args:
        kind: `none` leaves probabilities unchanged. `temperature` divides the logits by one number
            (Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2). `platt` fits
            a logistic regression on the log odds of each class; for two exclusive classes, on
            those of the second (Platt, Probabilistic Outputs for Support Vector Machines, 1999,
            section 2.2). `isotonic` fits a rising step function of the probability (Zadrozny and
            Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates,
            2002). `platt` and `isotonic` fit each class against the rest; if each row has exactly
            one class, its probabilities are then normalised to sum to 1.
        probabilities: (n, classes) in 0 to 1.
        targets: (n,) class indices, or (n, classes) bool; or Candidates, for `none`.
    """
    if kind == "none":
        return Calibrator(lambda values: np.asarray(values, dtype=np.float64), {})
    assert not isinstance(targets, Candidates)  # the configuration refuses it
    exclusive = targets.ndim == 1
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
        calibrated = np.stack(
            [
                transform(values[:, k].astype(np.float64))
                for (transform, _), k in zip(maps, columns, strict=True)
            ],
            axis=1,
        )
        if not exclusive:
            return calibrated
        if calibrated.shape[1] == 1:
            return np.concatenate([1 - calibrated, calibrated], axis=1)
        return np.asarray(calibrated / calibrated.sum(axis=1, keepdims=True))

    return Calibrator(apply, {"classes": [numbers for _, numbers in maps]})


def _temperature(probabilities: np.ndarray, targets: np.ndarray) -> Calibrator:
    from scipy.optimize import minimize_scalar

    exclusive = targets.ndim == 1
    values = logits(probabilities, exclusive)
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        calibrated = squash(values / np.exp(log_temperature), exclusive)
        true_probability = (
            calibrated[rows, targets]
            if exclusive
            else np.where(targets, calibrated, 1 - calibrated)
        )
        return -float(np.log(np.maximum(true_probability, LEAST)).mean())

    temperature = float(
        np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x)
    )
    return Calibrator(
        lambda predictions: squash(logits(predictions, exclusive) / temperature, exclusive),
        {"temperature": round(temperature, 6)},
    )


def _platt(
    values: np.ndarray, is_one: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, float]]:
    from scipy.optimize import minimize
    from scipy.special import expit

    log_odds = _log_odds(values)
    ones = int(is_one.sum())
    # Platt's targets add one row of each kind, so that the slope stays finite.
    target = np.where(is_one, (ones + 1) / (ones + 2), 1 / (len(values) - ones + 2))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        logit = line[0] * log_odds + line[1]
        residual = expit(logit) - target
        return float((np.logaddexp(0, logit) - target * logit).mean()), np.array(
            [(residual * log_odds).mean(), residual.mean()]
        )

    slope, offset = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]
    ).x
    return (lambda new_values: expit(slope * _log_odds(new_values) + offset)), {
        "slope": float(slope),
        "offset": float(offset),
    }


def _log_odds(values: np.ndarray) -> np.ndarray:
    return logits(values[:, None], exclusive=False)[:, 0]


def _isotonic(
    values: np.ndarray, is_one: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    from sklearn.isotonic import IsotonicRegression

    # A step at 0 or 1 would give a single contradicting row an infinite log loss.
    lowest = 1 / (len(values) + 2)
    fitted = IsotonicRegression(y_min=lowest, y_max=1 - lowest, out_of_bounds="clip").fit(
        values, is_one.astype(np.float64)
    )
    return (lambda new_values: fitted.predict(new_values)), {"steps": len(fitted.X_thresholds_)}


def thresholds(
    metric: str, probabilities: np.ndarray, targets: Targets, *, per_class: bool
) -> np.ndarray:
    """Return the thresholds with which decisions score best: (classes,), for
    `trainer.metrics.scores.decided`.

    The search moves one class's threshold at a time to the best of 200 quantiles of the class's
    predictions, to the middle one of equally good neighbours, in up to three passes over all
    classes. If each row has exactly one of more than two classes, it tries 41 values from 0.1 to
    2.5 instead. A threshold stays at 0.5, or the decision at the plain maximum, if nothing scores
    better.

    Args:
        metric: a metric of decided classes.
        probabilities: (n, classes) in 0 to 1.
        targets: (n,) class indices, or (n, classes) bool.
        per_class: whether each class gets its own threshold. Otherwise all classes share one,
            which has no effect if each row has exactly one of more than two classes.
    """
    assert not isinstance(targets, Candidates)  # the configuration refuses it
    classes = probabilities.shape[1]
    unit_counts = np.ones((1, len(targets)))

    def score(candidate: np.ndarray) -> float:
        return float(counted(metric, targets, probabilities, candidate)(unit_counts)[0])

    def best_of(
        options: np.ndarray, current: float, with_value: Callable[[float], np.ndarray]
    ) -> float:
        return _best(
            [score(with_value(float(option))) for option in options],
            options,
            score(with_value(current)),
            current,
        )

    if targets.ndim == 1 and classes == 2:
        return _two_thresholds(best_of(_candidates(probabilities[:, 1]), 0.5, _two_thresholds))
    if not per_class:
        return np.full(
            classes,
            best_of(_candidates(probabilities.ravel()), 0.5, lambda value: np.full(classes, value)),
        )
    limits = np.full(classes, 0.5)

    def with_class(index: int) -> Callable[[float], np.ndarray]:
        return lambda value: np.where(np.arange(classes) == index, value, limits)

    for _ in range(_SWEEPS):
        before = limits.copy()
        for index in range(classes):
            if targets.ndim == 1:
                limits[index] = _proportion(metric, probabilities, targets, limits, index)
            else:
                limits[index] = best_of(
                    _candidates(probabilities[:, index]), float(limits[index]), with_class(index)
                )
        if (limits == before).all():
            break
    return limits


def _best(scores: Sequence[float], options: np.ndarray, before: float, current: float) -> float:
    """Return the option with the best score, the middle one of equally good neighbours; `current`
    if no option scores better than `before`.

    Args:
        scores: one per option; higher is better.
        options: (k,) thresholds in ascending order.
        before: the score of `current`.
        current: the present threshold.
    """
    best = max(scores)
    if not best > before + 1e-12:
        return current
    first = last = next(index for index, score in enumerate(scores) if score >= best - 1e-12)
    while last + 1 < len(scores) and scores[last + 1] >= best - 1e-12:
        last += 1
    return float(options[(first + last) // 2])


def _proportion(
    metric: str, probabilities: np.ndarray, targets: np.ndarray, limits: np.ndarray, index: int
) -> float:
    """Return the best threshold of one class if each row has exactly one class: only its ratio to
    the other thresholds matters.

    A row's decision can only change between the class and the best of the other classes, so that
    rival is computed once.

    Args:
        metric: a metric of decided classes.
        probabilities: (n, classes) in 0 to 1.
        targets: (n,) class indices.
        limits: (classes,) current thresholds.
        index: the class.
    """
    ratios = probabilities / limits
    ratios[:, index] = -1
    rival = ratios.argmax(axis=1)
    rival_ratio, probability = ratios[np.arange(len(rival)), rival], probabilities[:, index]
    options = 0.5 * np.geomspace(0.2, 5, 41)

    def score(threshold: float) -> float:
        ratio = probability / threshold
        wins = (ratio > rival_ratio) | ((ratio == rival_ratio) & (index < rival))
        return of_decisions(metric, targets, np.where(wins, index, rival), probabilities.shape[1])

    return _best(
        [score(float(option)) for option in options],
        options,
        score(float(limits[index])),
        float(limits[index]),
    )


def _two_thresholds(value: float) -> np.ndarray:
    """Return thresholds of two exclusive classes that decide for the second above `value`."""
    return np.array([1 - value, value])


def _candidates(values: np.ndarray) -> np.ndarray:
    """Return quantiles of the values between 0 and 1, ascending and distinct; 0.5 if there are
    none."""
    inner = values[(values > 0) & (values < 1)]
    return (
        np.unique(np.quantile(inner, np.linspace(0, 1, _TRIED))) if len(inner) else np.array([0.5])
    )
