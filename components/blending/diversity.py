"""How the members differ, what each one adds to the blend, and which ones can be left out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.blending import stack
from components.blending.scoring.bootstrap import interval
from components.blending.stack import Level1, Nested
from trainer.config.output import Blend
from trainer.metrics.candidates import Targets
from trainer.metrics.names import HIGHER_IS_BETTER
from trainer.metrics.scores import score


class Looked(NamedTuple):
    """How the members' errors correlate, and the blends without each member.

    Attributes:
        errors: (members, members) float64 correlation of the members' errors, -1 to 1; NaN if a
            member's error is constant.
        without: nested blend without a member, by that member's name; empty for a single member.
    """

    errors: np.ndarray
    without: dict[str, Nested]

    def described(
        self,
        names: Sequence[str],
        metric: str,
        targets: Targets,
        whole: Nested,
        drawn: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """Return the section `diversity` of metrics.json, as JSON values.

        Args:
            names: member names, in the order of `errors`.
            metric: the competition's metric.
            targets: (n,) class indices, or (n, classes) bool.
            whole: the nested blend of all members, by the same method.
            drawn: (resamples,) scores by scorer: `method/…` for the blend of all members, and
                `without/…` for the blend without one.
        """
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        full_score = score(metric, targets, whole.probabilities, whole.thresholds)
        method = next(iter(whole.fitted.values())).method
        adds = {}
        for name, nested in self.without.items():
            reduced_score = score(metric, targets, nested.probabilities, nested.thresholds)
            range_ = interval(
                sign * (drawn[f"method/{method}"] - drawn[f"without/{name}"]),
                sign * (full_score - reduced_score),
            )
            adds[name] = {
                "without": reduced_score,
                "gain": sign * (full_score - reduced_score),
                **range_,
                "verdict": _verdict(range_),
            }
        return {
            "names": list(names),
            "errors": [
                [None if np.isnan(value) else float(value) for value in row] for row in self.errors
            ],
            "adds": adds,
            "leave_out": [name for name, entry in adds.items() if entry["gain"] <= 0],
        }


def look(level1: Level1, names: Sequence[str], blend: Blend, seed: int) -> Looked:
    """Correlate the members' errors, and blend without each member in turn.

    A row's error is 1 minus the probability of its class. If an image can have any number of
    classes, it is the mean of that over the classes.

    Args:
        level1: the members' rows.
        names: member names, in the order of the rows.
        blend: settings with a single method, not `auto`. If `best_alpha` is left with one member,
            that member is used unchanged.
        seed: of the bootstrap, as for `stack.nested`.
    """
    predictions, targets = level1.rows.predictions, level1.rows.targets
    if targets.ndim == 1:
        columns = level1.rows.columns
        errors = 1 - predictions[:, np.arange(len(columns)), columns].astype(np.float64)
    else:
        errors = np.abs(predictions - np.asarray(targets)).mean(axis=2, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.atleast_2d(np.corrcoef(errors))
    without = {}
    if len(names) > 1:
        one_left = len(names) == 2 and blend.method == "best_alpha"
        reduced = dataclasses.replace(blend, method="mean") if one_left else blend
        without = {
            name: stack.nested(level1.without_member(index), reduced, seed)
            for index, name in enumerate(names)
        }
    return Looked(correlation, without)


def _verdict(between: Mapping[str, float | None]) -> str:
    low, high = between["low"], between["high"]
    if low is None or high is None:
        return "no interval"
    return "helps" if low > 0 else "hurts" if high < 0 else "no difference seen"
