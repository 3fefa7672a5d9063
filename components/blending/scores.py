"""The contents of a blend's metrics.json: scores with intervals, nested and naive, of the members,
the methods and the blend."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.blending import diversity, stack
from components.blending.members.align import Members
from components.blending.methods import candidates
from components.blending.reliability import calibration_scores
from components.blending.reported import has_every_class, usable
from components.blending.scoring.bootstrap import interval, resampled
from components.blending.scoring.weighted_metrics import Counted, counted
from components.blending.stack import Level1, Nested
from trainer.config.output import Blend
from trainer.metrics.candidates import Targets
from trainer.metrics.names import HIGHER_IS_BETTER, needs_every_class
from trainer.metrics.scores import available, score


def without_scores(members: Members, metric: str, blend: Blend) -> dict[str, Any]:
    """Return the contents of metrics.json if no member has out-of-fold rows."""
    no_score: dict[str, Any] = {"oof": None, "folds": [], "low": None, "high": None}
    weights = dict.fromkeys(members.names, 1 / len(members.names))
    return {
        "metric": metric,
        "blend": {
            **no_score,
            "naive": None,
            "method": blend.method,
            "weights": weights,
            "scored": [],
        },
        "methods": {},
        "members": {
            name: {**no_score, "validation": members.validation[name]} for name in members.names
        },
        "metrics": {},
        "order": {"methods": [], "metrics": []},
        "warnings": _warnings(members),
    }


def scores(
    members: Members, level1: Level1, blend: Blend, fitted: stack.Fitted, nested: Nested, seed: int
) -> dict[str, Any]:
    """Return the contents of metrics.json.

    Args:
        members: all members.
        level1: the scored members' rows.
        blend: the settings.
        fitted: level 2, fitted on all rows of `level1`.
        nested: level 2's nested predictions for the rows of `level1`.
        seed: of the bootstrap.
    """
    metric, targets, fold = level1.rows.metric, level1.rows.targets, level1.fold
    nested_by_method = _nested_by_method(members, level1, blend, fitted.method, seed)
    differences = diversity.look(
        level1, members.scored, dataclasses.replace(blend, method=fitted.method), seed
    )
    metrics = usable(members.task, level1.rows)
    scorers = _scorers(members, level1, nested, nested_by_method, differences.without)
    drawn = resampled(scorers, level1.clusters, resamples=blend.resamples, seed=seed)
    blend_scores = _scores_by_fold(metric, targets, nested.probabilities, fold, nested.thresholds)
    per_method = {
        name: _method_scores(name, result, level1, blend, seed, drawn, blend_scores["oof"])
        for name, result in nested_by_method.items()
    }
    count = len(members.names)
    shares = [1 / count] * count if len(members.scored) < count else fitted.blender.shares()
    return {
        "metric": metric,
        "blend": {
            **blend_scores,
            **interval(drawn["blend"], blend_scores["oof"]),
            "naive": score(
                metric, targets, fitted.apply(level1.rows.predictions), fitted.thresholds
            ),
            "method": fitted.method,
            "weights": dict(zip(members.names, shares, strict=True)),
            "scored": members.scored,
            "level2": stack.describe(fitted),
            "method_of_folds": {str(k): result.method for k, result in nested.fitted.items()},
        },
        "methods": per_method,
        "members": {
            name: _member_scores(name, members, level1, blend_scores["oof"], drawn)
            for name in members.names
        },
        "metrics": {
            name: blend_scores
            if name == metric
            else _other_scores_by_fold(name, targets, nested, fold)
            for name in metrics
        },
        "order": {"methods": list(per_method), "metrics": metrics},
        "diversity": differences.described(
            members.scored, metric, targets, nested_by_method[fitted.method], drawn
        ),
        "calibration": calibration_scores(targets, nested, blend),
        "missing": {
            "members": members.missing,
            "on_missing": blend.on_missing,
            "dropped_rows": members.dropped,
        },
        "warnings": [
            *_warnings(members),
            *_fold_count_warnings(level1, blend),
            *_empty_folds(metric, blend_scores["folds"]),
        ],
    }


def _nested_by_method(
    members: Members, level1: Level1, blend: Blend, method: Any, seed: int
) -> dict[Any, Nested]:
    """Return the nested predictions of all methods to compare: by mean, by the method in use, and
    by the candidates of `auto`."""
    rows = level1.rows
    names = (
        candidates(rows.metric, rows.members, rows.classes, complete=rows.complete)
        if blend.method == "auto" and len(members.scored) > 1
        else []
    )
    return {
        name: stack.nested(level1, dataclasses.replace(blend, method=name), seed)
        for name in dict.fromkeys([*names, "mean", method])
    }


def _scorers(
    members: Members,
    level1: Level1,
    nested: Nested,
    nested_by_method: Mapping[Any, Nested],
    nested_without: Mapping[str, Nested],
) -> dict[str, Counted]:
    """Return what the bootstrap resamples, in the competition's metric: the blend, every member,
    method and blend without one member."""
    metric, targets = level1.rows.metric, level1.rows.targets
    scorers: dict[str, Counted] = {
        "blend": counted(metric, targets, nested.probabilities, nested.thresholds)
    }
    scorers |= {
        f"member/{name}": counted(metric, targets, own)
        for name, own in zip(members.scored, members.oof, strict=True)
    }
    scorers |= {
        f"method/{name}": counted(metric, targets, result.probabilities, result.thresholds)
        for name, result in nested_by_method.items()
    }
    return scorers | {
        f"without/{name}": counted(metric, targets, result.probabilities, result.thresholds)
        for name, result in nested_without.items()
    }


def _method_scores(
    name: Any,
    result: Nested,
    level1: Level1,
    blend: Blend,
    seed: int,
    drawn: Mapping[str, np.ndarray],
    blend_score: float,
) -> dict[str, Any]:
    """Return a method's nested scores, the blend's gain over it, and its naive score."""
    metric, targets = level1.rows.metric, level1.rows.targets
    own = _scores_by_fold(metric, targets, result.probabilities, level1.fold, result.thresholds)
    compared = _compared(metric, own, drawn[f"method/{name}"], blend_score, drawn["blend"])
    return {**compared, "naive": _naive(level1, dataclasses.replace(blend, method=name), seed)}


def _member_scores(
    name: str,
    members: Members,
    level1: Level1,
    blend_score: float,
    drawn: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return a member's score, in all and in each fold, with its interval and the blend's gain.

    Args:
        name: of the member.
        members: all members.
        level1: the scored members' rows.
        blend_score: the blend's score.
        drawn: by scorer, (resamples,) scores.
    """
    validation = {"validation": members.validation[name]}
    if name not in members.scored:
        return {"oof": None, "folds": [], "low": None, "high": None, **validation}
    metric = level1.rows.metric
    predictions = level1.rows.predictions[members.scored.index(name)]
    own = _scores_by_fold(metric, level1.rows.targets, predictions, level1.fold)
    compared = _compared(metric, own, drawn[f"member/{name}"], blend_score, drawn["blend"])
    return compared | validation


def _compared(
    metric: str,
    own: Mapping[str, Any],
    drawn: np.ndarray,
    blend_score: float,
    blend_samples: np.ndarray,
) -> dict[str, Any]:
    """Return scores with the interval of the first, and that of the blend's gain over it, which is
    positive if the blend is better, for any metric.

    Args:
        metric: the metric.
        own: the scores, as `_scores_by_fold` returns them.
        drawn: (resamples,) the resamples of `own["oof"]`.
        blend_score: the blend's score.
        blend_samples: (resamples,) the blend's resamples, paired with `drawn`.
    """
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return {
        **own,
        **interval(drawn, own["oof"]),
        "blend_gains": interval(sign * (blend_samples - drawn), sign * (blend_score - own["oof"])),
    }


def _fold_count_warnings(level1: Level1, blend: Blend) -> list[str]:
    """Return a warning if there are too few folds for the nested fits."""
    needs_inner_folds = (
        blend.method == "auto" or blend.calibration != "none" or blend.thresholds != "none"
    )
    if len(np.unique(level1.fold)) > 2 or not needs_inner_folds:
        return []
    return [
        "with two folds, the method, the calibration and the thresholds of the nested score are"
        " chosen on rows that the blend was fitted on: use three or more folds, so that the score"
        " reflects how the test images are predicted"
    ]


def _empty_folds(metric: str, folds: Sequence[float | None]) -> list[str]:
    """Return a warning if folds have no score of their own."""
    empty = ", ".join(str(number) for number, value in enumerate(folds) if value is None)
    text = (
        f"fold {empty} holds out no image of some class, so it has no {metric} of its own; the"
        " score over all rows counts every image"
    )
    return [text] if empty else []


def _naive(level1: Level1, blend: Blend, seed: int) -> float:
    """Return the score of a blend on the rows it was fitted on."""
    fitted = stack.fit(level1, blend, seed)
    return score(
        level1.rows.metric,
        level1.rows.targets,
        fitted.apply(level1.rows.predictions),
        fitted.thresholds,
    )


def _other_scores_by_fold(
    metric: str, targets: Targets, nested: Nested, fold: np.ndarray
) -> dict[str, Any]:
    """Return the same as `_scores_by_fold`, in seconds in place of minutes for many classes."""

    def score_rows(rows: np.ndarray) -> float | None:
        own, probabilities = targets[rows], nested.probabilities[rows]
        if needs_every_class(metric) and not has_every_class(own, probabilities.shape[1]):
            return None
        limits = None if nested.thresholds is None else nested.thresholds[rows]
        return float(counted(metric, own, probabilities, limits)(np.ones((1, len(own))))[0])

    return {
        "oof": score_rows(np.ones(len(fold), dtype=bool)),
        "folds": [score_rows(fold == k) for k in np.unique(fold)],
    }


def _scores_by_fold(
    metric: str,
    targets: Targets,
    probabilities: np.ndarray,
    fold: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the score of all rows, `oof`, and of each fold's rows, `folds`, in fold order: None
    for a fold that lacks a class which the metric needs.

    Args:
        metric: the metric.
        targets: (n,) class indices, or (n, classes) bool.
        probabilities: (n, classes) in 0 to 1.
        fold: (n,) the fold of each row.
        thresholds: (n, classes), None if decisions use none.
    """

    def score_rows(rows: np.ndarray) -> float | None:
        limits = None if thresholds is None else thresholds[rows]
        return available(metric, targets[rows], probabilities[rows], limits)

    return {
        "oof": score(metric, targets, probabilities, thresholds),
        "folds": [score_rows(fold == k) for k in np.unique(fold)],
    }


def _warnings(members: Members) -> list[str]:
    """Return the warnings about external tables and missing rows."""
    warnings = list(members.warnings)
    for name, counts in members.missing.items():
        missing = " and ".join(
            f"{number} {split} rows"
            for split, number in (("out-of-fold", counts["oof"]), ("test", counts["test"]))
            if number
        )
        warnings.append(
            f"{name} lacks {missing}: "
            + ("left out" if members.dropped else "filled from the other members' ranks")
        )
    return warnings
