"""What metrics.json says of a blend: scores with intervals, nested and naive, of the members, the
methods and the blend."""

import dataclasses
from typing import Any

import numpy as np

from components.blending import diversity, stack
from components.blending.align import Members
from components.blending.methods import candidates
from components.blending.scoring.bootstrap import interval, resampled
from components.blending.scoring.weighted_metrics import Counted, CountedAll, counted, counted_all
from components.blending.stack import Level1, Nested
from trainer.config.output import Blend
from trainer.errors import TrainingError
from trainer.metrics import BINS, HIGHER_IS_BETTER, bins, confidence, listed, score


def without_scores(members: Members, metric: str, blend: Blend) -> dict[str, Any]:
    nothing: dict[str, Any] = {"oof": None, "folds": [], "low": None, "high": None}
    weights = dict.fromkeys(members.names, 1 / len(members.names))
    return {
        "metric": metric,
        "blend": {
            **nothing,
            "naive": None,
            "method": blend.method,
            "weights": weights,
            "scored": [],
        },
        "methods": {},
        "members": {
            name: {**nothing, "validation": members.validation[name]} for name in members.names
        },
        "metrics": {},
        "order": {"methods": [], "metrics": []},
        "warnings": _warnings(members),
    }


def scores(
    members: Members, level1: Level1, blend: Blend, fitted: stack.Fitted, nested: Nested, seed: int
) -> dict[str, Any]:
    """Everything that metrics.json says."""
    metric, targets, fold = level1.rows.metric, level1.rows.targets, level1.fold
    names = (
        candidates(metric, level1.rows.members)
        if blend.method == "auto" and len(members.scored) > 1
        else []
    )
    names = list(dict.fromkeys([*names, "mean", fitted.method]))
    each = {
        name: stack.nested(level1, dataclasses.replace(blend, method=name), seed) for name in names
    }
    looked = diversity.look(
        level1, members.scored, dataclasses.replace(blend, method=fitted.method), seed
    )
    all_metrics = listed(metric, members.task)
    usable = [
        name
        for name in all_metrics
        if name == metric or _has_score(name, targets, level1.rows.predictions.shape[2])
    ]
    scorers: dict[str, Counted | CountedAll] = {
        "blend": counted_all(usable, targets, nested.probabilities, nested.thresholds)
    }
    scorers |= {
        f"member/{name}": counted(metric, targets, own)
        for name, own in zip(members.scored, members.oof, strict=True)
    }
    scorers |= {f"method/{name}": _scorer(metric, targets, one) for name, one in each.items()}
    scorers |= {
        f"without/{name}": _scorer(metric, targets, one) for name, one in looked.without.items()
    }
    drawn = resampled(scorers, level1.clusters, resamples=blend.resamples, seed=seed)
    of_blend = drawn[f"blend/{metric}"]
    whole = _of_folds(metric, targets, nested.probabilities, fold, nested.thresholds)
    per_member: dict[str, dict[str, Any]] = {}
    for name in members.names:
        if name not in members.scored:
            per_member[name] = {"oof": None, "folds": [], "low": None, "high": None}
        else:
            own = _of_folds(
                metric, targets, level1.rows.predictions[members.scored.index(name)], fold
            )
            per_member[name] = own | _beside(
                metric, own["oof"], drawn[f"member/{name}"], whole["oof"], of_blend
            )
        per_member[name]["validation"] = members.validation[name]
    per_method: dict[str, dict[str, Any]] = {}
    for name, one in each.items():
        own = _of_folds(metric, targets, one.probabilities, fold, one.thresholds)
        per_method[name] = own | _beside(
            metric, own["oof"], drawn[f"method/{name}"], whole["oof"], of_blend
        )
        per_method[name]["naive"] = _naive(level1, dataclasses.replace(blend, method=name), seed)
    measures: dict[str, dict[str, Any]] = {}
    for name in usable:
        value = _every_fold(name, targets, nested, fold)
        measures[name] = {**value, **interval(drawn[f"blend/{name}"], value["oof"])}
    count = len(members.names)
    shares = [1 / count] * count if len(members.scored) < count else fitted.blender.shares()
    return {
        "metric": metric,
        "blend": {
            **whole,
            **interval(of_blend, whole["oof"]),
            "naive": score(
                metric, targets, fitted.apply(level1.rows.predictions), fitted.thresholds
            ),
            "method": fitted.method,
            "weights": dict(zip(members.names, shares, strict=True)),
            "scored": members.scored,
            "level2": stack.describe(fitted),
            "method_of_folds": {str(k): one.method for k, one in nested.fitted.items()},
        },
        "methods": per_method,
        "members": per_member,
        "metrics": measures,
        "order": {"methods": list(per_method), "metrics": usable},
        "diversity": looked.described(members.scored, metric, targets, each[fitted.method], drawn),
        "calibration": _calibration(targets, nested, blend),
        "missing": {
            "members": members.missing,
            "on_missing": blend.on_missing,
            "dropped_rows": members.dropped,
        },
        "warnings": [*_warnings(members), *_few_folds(level1, blend)],
    }


def _beside(
    metric: str, own: float, drawn: np.ndarray, whole: float, of_blend: np.ndarray
) -> dict[str, Any]:
    """The interval of a score, and that of what the blend is better by: above 0 where it is, of any
    metric."""
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return {
        **interval(drawn, own),
        "blend_gains": interval(sign * (of_blend - drawn), sign * (whole - own)),
    }


def _few_folds(level1: Level1, blend: Blend) -> list[str]:
    """What two folds cannot do."""
    fitted_apart = (
        blend.method == "auto" or blend.calibration != "none" or blend.thresholds != "none"
    )
    if len(np.unique(level1.fold)) > 2 or not fitted_apart:
        return []
    return [
        "with two folds, the method, the calibration and the thresholds of the nested score are"
        " chosen on rows that the blend has seen: three folds or more score what the test"
        " images get"
    ]


def _naive(level1: Level1, blend: Blend, seed: int) -> float:
    fitted = stack.fit(level1, blend, seed)
    return score(
        level1.rows.metric,
        level1.rows.targets,
        fitted.apply(level1.rows.predictions),
        fitted.thresholds,
    )


def _scorer(metric: str, targets: np.ndarray, nested: Nested) -> Counted:
    return counted(metric, targets, nested.probabilities, nested.thresholds)


def _has_score(metric: str, targets: np.ndarray, classes: int) -> bool:
    """Whether a metric of the report can be taken of these rows: one of ranks needs every class."""
    try:
        score(metric, targets, np.full((len(targets), classes), 1 / classes))
    except TrainingError:
        return False
    return True


def _of_folds(
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    fold: np.ndarray,
    thresholds: np.ndarray | None = None,
) -> dict[str, Any]:
    """`oof`: the score of all rows; `folds`: that of each fold's rows, in the order of the
    folds."""

    def of(rows: np.ndarray) -> float:
        return score(
            metric,
            targets[rows],
            probabilities[rows],
            None if thresholds is None else thresholds[rows],
        )

    return {
        "oof": of(np.ones(len(fold), dtype=bool)),
        "folds": [of(fold == k) for k in np.unique(fold)],
    }


def _every_fold(
    metric: str, targets: np.ndarray, nested: Nested, fold: np.ndarray
) -> dict[str, Any]:
    """As `_of_folds`; None of a fold that lacks a class which the metric needs."""

    def of(rows: np.ndarray) -> float | None:
        thresholds = None if nested.thresholds is None else nested.thresholds[rows]
        try:
            return score(metric, targets[rows], nested.probabilities[rows], thresholds)
        except TrainingError:
            return None

    return {
        "oof": of(np.ones(len(fold), dtype=bool)),
        "folds": [of(fold == k) for k in np.unique(fold)],
    }


def _calibration(targets: np.ndarray, nested: Nested, blend: Blend) -> dict[str, Any]:
    """How well the nested probabilities keep what they say, before and after the calibration."""
    stages = {"after": nested.probabilities} if blend.calibration == "none" else {
        "before": nested.raw,
        "after": nested.probabilities,
    }  # fmt: skip
    return {
        "method": blend.calibration,
        **{
            stage: {
                **{
                    name: score(name, targets, values)
                    for name in ("log_loss", "brier", "calibration_error")
                },
                "curve": _reliability(targets, values),
            }
            for stage, values in stages.items()
        },
    }


def _reliability(targets: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """Of each bin of confidence that holds a row: the mean confidence, the share that was right,
    and how many."""
    told, right = (array.ravel() for array in confidence(targets, probabilities))
    place = bins(told)
    count = np.bincount(place, minlength=BINS)
    mean, share = (
        np.bincount(place, weights=values, minlength=BINS) / np.maximum(count, 1)
        for values in (told, right)
    )
    return [
        {"confidence": float(mean[k]), "accuracy": float(share[k]), "rows": int(count[k])}
        for k in np.flatnonzero(count)
    ]


def _warnings(members: Members) -> list[str]:
    found = list(members.warnings)
    for name, counts in members.missing.items():
        lacking = " and ".join(
            f"{number} {split} rows"
            for split, number in (("out-of-fold", counts["oof"]), ("test", counts["test"]))
            if number
        )
        found.append(
            f"{name} lacks {lacking}: "
            + ("left out" if members.dropped else "filled by the others' ranks")
        )
    return found
