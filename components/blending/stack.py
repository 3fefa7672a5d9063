"""Level 2: a method, a calibration and thresholds as one model on top of the members, scored on
rows it was not fitted on."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from components.blending import calibrate, methods
from components.blending.calibrate import Calibrator
from components.blending.methods import Blender, Rows
from components.blending.scoring.bootstrap import resampled, standard_error
from components.blending.scoring.weighted_metrics import Counted, counted
from trainer.config.output import Blend, Method
from trainer.metrics.candidates import Targets
from trainer.metrics.names import HIGHER_IS_BETTER
from trainer.metrics.scores import score as scored

# Bootstrap resamples for the standard error by which `auto` chooses a method.
_RESAMPLES = 200


@dataclass(frozen=True)
class Level1:
    """What level 2 is fitted on: n labelled rows of complete folds.

    Attributes:
        rows: the members' out-of-fold predictions, and the targets.
        fold: (n,) int64, the fold of each row.
        clusters: (n,) int64, the number of each row's group, from 0.
        members: positions of these members among all members; () for all of them.
        fits: cache of fitted methods by name, settings, folds and members, because a nested choice
            needs most fits repeatedly.
    """

    rows: Rows
    fold: np.ndarray
    clusters: np.ndarray
    members: tuple[int, ...] = ()
    fits: dict[tuple[Any, ...], Blender] = field(default_factory=dict)

    def without_fold(self, held_out: int) -> "Level1":
        """Return the rows of all other folds."""
        rows = self.fold != held_out
        clusters = np.unique(self.clusters[rows], return_inverse=True)[1]
        return replace(self, rows=self.rows.at(rows), fold=self.fold[rows], clusters=clusters)

    def without_member(self, place: int) -> "Level1":
        """Return the rows without the member at position `place`."""
        members = self.members or tuple(range(self.rows.members))
        kept = np.arange(self.rows.members) != place
        rows = Rows(self.rows.predictions[kept], self.rows.targets, self.rows.metric)
        return replace(self, rows=rows, members=members[:place] + members[place + 1 :])

    def fit(self, method: Method, blend: Blend) -> Blender:
        """Return a method fitted on these rows, from the cache if it was fitted before."""
        key = (
            method,
            blend.rounds,
            blend.penalty,
            tuple(np.unique(self.fold).tolist()),
            self.members,
        )
        # Not cached: the ranks of all rows are quick to compute, and large.
        if method == "rank_mean":
            return methods.fit(method, self.rows, rounds=blend.rounds, penalty=blend.penalty)
        if key not in self.fits:
            self.fits[key] = methods.fit(
                method, self.rows, rounds=blend.rounds, penalty=blend.penalty
            )
        return self.fits[key]


class Level2Choice(NamedTuple):
    """How `auto` chose a method.

    Attributes:
        scores: nested score of each method.
        behind: how much worse than the best each score is, 0 or more.
        errors: standard error of each method's difference from the best.
        best: the method with the best score.
        taken: the chosen method.
    """

    scores: dict[Method, float]
    behind: dict[Method, float]
    errors: dict[Method, float]
    best: Method
    taken: Method


class Fitted(NamedTuple):
    """A fitted level 2.

    Attributes:
        method: the method, `auto` resolved.
        blender: the fitted method.
        calibrator: the fitted calibration.
        thresholds: (classes,) float64, None if decisions use none.
        choice: how `auto` chose the method, None if it was given.
    """

    method: Method
    blender: Blender
    calibrator: Calibrator
    thresholds: np.ndarray | None
    choice: Level2Choice | None

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """Return the calibrated blend of (members, n, classes) predictions: (n, classes)
        float64."""
        return self.calibrator.apply(self.blender.apply(predictions))


class Nested(NamedTuple):
    """Predictions for each row by a level 2 fitted on the other folds.

    Attributes:
        probabilities: (n, classes) float64 in 0 to 1, calibrated.
        raw: (n, classes) float64 in 0 to 1, before calibration.
        thresholds: (n, classes) float64, None if decisions use none.
        fitted: the level 2 that predicted each fold, by fold.
    """

    probabilities: np.ndarray
    raw: np.ndarray
    thresholds: np.ndarray | None
    fitted: dict[int, Fitted]


def fit(level1: Level1, blend: Blend, seed: int) -> Fitted:
    """Fit level 2.

    `auto` chooses the method by nested scores on these rows alone. Calibration and
    thresholds are fitted on predictions of rows that the blend was not fitted on, if there are at
    least two folds.

    Args:
        level1: the rows to fit on.
        blend: the settings.
        seed: of the bootstrap by which `auto` compares methods.
    """
    rows, method = level1.rows, blend.method
    choice: Level2Choice | None = None
    if rows.members == 1 and method == "auto":
        method = "mean"
    out_of_fold: dict[Method, np.ndarray] = {}
    if method == "auto":
        names = methods.candidates(rows.metric, rows.members, rows.classes, complete=rows.complete)
        out_of_fold = {name: _cross_blended(name, level1, blend) for name in names}
        choice = _choose(
            {name: _cross_finish(values, level1, blend) for name, values in out_of_fold.items()},
            level1,
            seed,
        )
        method = choice.taken
    blender = level1.fit(method, blend)
    if blend.calibration == "none" and blend.thresholds == "none":
        return Fitted(method, blender, *_finish(np.empty((0, 0)), rows.targets, blend), choice)
    unseen = out_of_fold[method] if method in out_of_fold else _cross_blended(method, level1, blend)
    return Fitted(method, blender, *_finish(unseen, rows.targets, blend), choice)


def _finish(
    blended: np.ndarray, targets: Targets, blend: Blend
) -> tuple[Calibrator, np.ndarray | None]:
    """Fit the calibration and the thresholds on (n, classes) blended rows."""
    calibrator = calibrate.fit(blend.calibration, blended, targets)
    if blend.thresholds == "none":
        return calibrator, None
    calibrated = calibrator.apply(blended)
    return calibrator, calibrate.thresholds(
        blend.thresholds, calibrated, targets, per_class=blend.per_class
    )


def _cross_finish(
    blended: np.ndarray, level1: Level1, blend: Blend
) -> tuple[np.ndarray, np.ndarray | None]:
    """Calibrate each fold's cross-blended rows, and give them thresholds, by fits on the other
    folds.

    Returns:
        (n, classes) probabilities; and (n, classes) thresholds, None if decisions use none.
    """
    folds = np.unique(level1.fold)
    if (blend.calibration == "none" and blend.thresholds == "none") or len(folds) == 1:
        return blended, None
    calibrated = np.empty(blended.shape)
    limits = None if blend.thresholds == "none" else np.empty(blended.shape)
    for held_out in folds:
        inside = level1.fold == held_out
        calibrator, thresholds = _finish(blended[~inside], level1.rows.targets[~inside], blend)
        calibrated[inside] = calibrator.apply(blended[inside])
        if limits is not None:
            limits[inside] = thresholds
    return calibrated, limits


def nested(level1: Level1, blend: Blend, seed: int) -> Nested:
    """Predict every row by a level 2 fitted without the row's fold, for the nested score.

    The choice of the method, the calibration and the thresholds are part of the fit. One dependence
    remains, as in all stacking: the members' predictions for the other folds come from models that
    were trained on the held-out fold's images.

    Args:
        level1: the rows.
        blend: the settings.
        seed: of the bootstrap by which `auto` compares methods.
    """
    shape = level1.rows.predictions.shape[1:]
    result = Nested(
        np.empty(shape),
        np.empty(shape),
        None if blend.thresholds == "none" else np.empty(shape),
        {},
    )
    for held_out in np.unique(level1.fold).tolist():
        inside = level1.fold == held_out
        fitted = fit(level1.without_fold(held_out), blend, seed)
        result.raw[inside] = fitted.blender.apply(level1.rows.predictions[:, inside])
        result.probabilities[inside] = fitted.calibrator.apply(result.raw[inside])
        if result.thresholds is not None:
            result.thresholds[inside] = fitted.thresholds
        result.fitted[held_out] = fitted
    return result


def _cross_blended(method: Method, level1: Level1, blend: Blend) -> np.ndarray:
    """Blend each row by a fit on the other folds: (n, classes) float64. A single fold is blended by
    a fit on itself."""
    folds = np.unique(level1.fold)
    if len(folds) == 1:
        return level1.fit(method, blend).apply(level1.rows.predictions)
    blended = np.empty(level1.rows.predictions.shape[1:])
    for held_out in folds.tolist():
        inside = level1.fold == held_out
        blender = level1.without_fold(held_out).fit(method, blend)
        blended[inside] = blender.apply(level1.rows.predictions[:, inside])
    return blended


def _choose(
    blended: dict[Method, tuple[np.ndarray, np.ndarray | None]], level1: Level1, seed: int
) -> Level2Choice:
    """Choose the simplest method that is worse than the best one by at most a standard error of
    their difference.

    This is the rule of Breiman et al. (Classification and Regression Trees, 1984, section 3.4.3),
    with the bootstrap's standard error of the paired difference: both methods are scored on the
    same rows, so most of the variation is common to both.

    Args:
        blended: (n, classes) probabilities and thresholds by method, the simplest method first.
        level1: the rows.
        seed: of the bootstrap.
    """
    rows = level1.rows
    scores = {
        name: scored(rows.metric, rows.targets, *values, present_only=True)
        for name, values in blended.items()
    }
    sign = 1 if HIGHER_IS_BETTER[rows.metric] else -1
    best = max(scores, key=lambda name: sign * scores[name])
    scorers: dict[str, Counted] = {
        name: counted(rows.metric, rows.targets, *prediction)
        for name, prediction in blended.items()
    }
    drawn = resampled(scorers, level1.clusters, resamples=_RESAMPLES, seed=seed)
    behind = {name: sign * (scores[best] - value) for name, value in scores.items()}
    errors = {name: standard_error(drawn[best] - drawn[name]) for name in scores}
    chosen = next(name for name in scores if behind[name] <= errors[name] or name == best)
    return Level2Choice(scores, behind, errors, best, chosen)


def describe(fitted: Fitted) -> dict[str, Any]:
    """Return a fitted level 2's settings and numbers, as JSON values."""
    return {
        "method": fitted.method,
        **methods.describe(fitted.blender),
        "calibration": fitted.calibrator.about,
        "thresholds": None if fitted.thresholds is None else fitted.thresholds.tolist(),
        "choice": None if fitted.choice is None else fitted.choice._asdict(),
    }
