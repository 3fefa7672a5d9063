"""Level 2: a method, a calibration and thresholds as one model on top of the members, scored on
rows that it has not seen."""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from components.blending import calibrate, methods
from components.blending.calibrate import Calibrator
from components.blending.methods import Blender, Rows
from components.blending.scoring.bootstrap import resampled, standard_error
from components.blending.scoring.weighted_metrics import Counted, counted
from trainer.config.output import Blend, Method
from trainer.metrics import HIGHER_IS_BETTER
from trainer.metrics import score as scored

# Resamples that a standard error is taken of, where it decides between methods.
_RESAMPLES = 200


@dataclass(frozen=True)
class Level1:
    """What level 2 is fitted on: n labelled rows of whole folds.

    rows: the members' out-of-fold predictions and the targets. fold: (n,) which fold a row is of.
    clusters: (n,) the number of each row's group, from 0. members: which of all members they are.
    fits: fitted methods by name, folds and members: a nested choice asks for most of them again and
    again."""

    rows: Rows
    fold: np.ndarray
    clusters: np.ndarray
    members: tuple[int, ...] = ()
    fits: dict[tuple[Any, ...], Blender] = field(default_factory=dict)

    def without_fold(self, held_out: int) -> "Level1":
        """The rows of all other folds."""
        rows = self.fold != held_out
        clusters = np.unique(self.clusters[rows], return_inverse=True)[1]
        return replace(self, rows=self.rows.at(rows), fold=self.fold[rows], clusters=clusters)

    def without_member(self, place: int) -> "Level1":
        """All members but one."""
        members = self.members or tuple(range(self.rows.members))
        kept = np.arange(self.rows.members) != place
        rows = Rows(self.rows.predictions[kept], self.rows.targets, self.rows.metric)
        return replace(self, rows=rows, members=members[:place] + members[place + 1 :])

    def fit(self, method: Method, blend: Blend) -> Blender:
        """A method fitted on these rows, now or before."""
        key = (
            method,
            blend.rounds,
            blend.penalty,
            tuple(np.unique(self.fold).tolist()),
            self.members,
        )
        # The ranks of all rows are quickly made and large to keep.
        if method == "rank_mean":
            return methods.fit(method, self.rows, rounds=blend.rounds, penalty=blend.penalty)
        if key not in self.fits:
            self.fits[key] = methods.fit(
                method, self.rows, rounds=blend.rounds, penalty=blend.penalty
            )
        return self.fits[key]


class Level2Choice(NamedTuple):
    """What `auto` looked at: the nested score of each method, how far the best may be away, and the
    method that was taken."""

    scores: dict[Method, float]
    behind: dict[Method, float]
    errors: dict[Method, float]
    best: Method
    taken: Method


class Fitted(NamedTuple):
    """A fitted level 2."""

    method: Method
    blender: Blender
    calibrator: Calibrator
    thresholds: np.ndarray | None
    choice: Level2Choice | None

    def apply(self, predictions: np.ndarray) -> np.ndarray:
        """(members, n, classes) -> (n, classes) float64 probabilities."""
        return self.calibrator.apply(self.blender.apply(predictions))


class Nested(NamedTuple):
    """Each row as level 2 predicts it when fitted on the other folds; `raw` is before calibration,
    and `fitted` each fold's."""

    probabilities: np.ndarray
    raw: np.ndarray
    thresholds: np.ndarray | None
    fitted: dict[int, Fitted]


def fit(level1: Level1, blend: Blend, seed: int) -> Fitted:
    """Fit level 2 on rows: with `auto` the method is chosen, by nested scores among these rows
    alone; calibration and thresholds are fitted on predictions of rows that the blend was not
    fitted on, where there are two folds."""
    rows, method = level1.rows, blend.method
    choice: Level2Choice | None = None
    if rows.members == 1 and method == "auto":
        method = "mean"
    out_of_fold: dict[Method, np.ndarray] = {}
    if method == "auto":
        names = methods.candidates(rows.metric, rows.members)
        out_of_fold = {name: _cross_blended(name, level1, blend) for name in names}
        choice = _chosen(
            {name: _finished(values, level1, blend) for name, values in out_of_fold.items()},
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
    blended: np.ndarray, targets: np.ndarray, blend: Blend
) -> tuple[Calibrator, np.ndarray | None]:
    """The calibration and the thresholds, fitted on blended rows."""
    calibrator = calibrate.fit(blend.calibration, blended, targets)
    if blend.thresholds == "none":
        return calibrator, None
    told = calibrator.apply(blended)
    return calibrator, calibrate.thresholds(
        blend.thresholds, told, targets, per_class=blend.per_class
    )


def _finished(
    blended: np.ndarray, level1: Level1, blend: Blend
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cross-blended rows, each fold's calibrated, and given thresholds, by those of the other
    folds: (n, classes) both."""
    folds = np.unique(level1.fold)
    if (blend.calibration == "none" and blend.thresholds == "none") or len(folds) == 1:
        return blended, None
    told = np.empty(blended.shape)
    limits = None if blend.thresholds == "none" else np.empty(blended.shape)
    for held_out in folds:
        inside = level1.fold == held_out
        calibrator, thresholds = _finish(blended[~inside], level1.rows.targets[~inside], blend)
        told[inside] = calibrator.apply(blended[inside])
        if limits is not None:
            limits[inside] = thresholds
    return told, limits


def nested(level1: Level1, blend: Blend, seed: int) -> Nested:
    """Every row as a level 2 predicts it that was fitted without its fold: what an honest score is
    taken of.

    The choice of the method, the calibration and the thresholds are part of what is fitted. What it
    cannot undo is that the members' predictions of the other folds come from models that were
    trained on this one's images, as in all stacking."""
    shape = level1.rows.predictions.shape[1:]
    found = Nested(
        np.empty(shape),
        np.empty(shape),
        None if blend.thresholds == "none" else np.empty(shape),
        {},
    )
    for held_out in np.unique(level1.fold).tolist():
        inside = level1.fold == held_out
        fitted = fit(level1.without_fold(held_out), blend, seed)
        found.raw[inside] = fitted.blender.apply(level1.rows.predictions[:, inside])
        found.probabilities[inside] = fitted.calibrator.apply(found.raw[inside])
        if found.thresholds is not None:
            found.thresholds[inside] = fitted.thresholds
        found.fitted[held_out] = fitted
    return found


def _cross_blended(method: Method, level1: Level1, blend: Blend) -> np.ndarray:
    """Each row by a blend of the other folds; of a single fold by its own, as there is no other."""
    folds = np.unique(level1.fold)
    if len(folds) == 1:
        return level1.fit(method, blend).apply(level1.rows.predictions)
    blended = np.empty(level1.rows.predictions.shape[1:])
    for held_out in folds.tolist():
        inside = level1.fold == held_out
        blender = level1.without_fold(held_out).fit(method, blend)
        blended[inside] = blender.apply(level1.rows.predictions[:, inside])
    return blended


def _chosen(
    blended: dict[Method, tuple[np.ndarray, np.ndarray | None]], level1: Level1, seed: int
) -> Level2Choice:
    """The simplest method that is not worse than the best one by more than a standard error of
    their difference.

    The rule of Breiman et al. (Classification and Regression Trees, 1984, section 3.4.3), with the
    standard error of the paired difference, by the bootstrap: both methods are scored on the same
    rows, so most of what varies, varies in both."""
    rows = level1.rows
    scores = {name: scored(rows.metric, rows.targets, *values) for name, values in blended.items()}
    sign = 1 if HIGHER_IS_BETTER[rows.metric] else -1
    best = max(scores, key=lambda name: sign * scores[name])
    scorers: dict[str, Counted] = {
        name: counted(rows.metric, rows.targets, *one) for name, one in blended.items()
    }
    drawn = resampled(scorers, level1.clusters, resamples=_RESAMPLES, seed=seed)
    behind = {name: sign * (scores[best] - value) for name, value in scores.items()}
    errors = {name: standard_error(drawn[best] - drawn[name]) for name in scores}
    taken = next(name for name in scores if behind[name] <= errors[name] or name == best)
    return Level2Choice(scores, behind, errors, best, taken)


def describe(fitted: Fitted) -> dict[str, Any]:
    """What there is to say of a fitted level 2, as JSON values."""
    return {
        "method": fitted.method,
        **methods.describe(fitted.blender),
        "calibration": fitted.calibrator.about,
        "thresholds": None if fitted.thresholds is None else fitted.thresholds.tolist(),
        "choice": None if fitted.choice is None else fitted.choice._asdict(),
    }
