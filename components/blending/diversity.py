"""How members differ, what each of them adds, and which may be left out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.blending import stack
from components.blending.scoring.bootstrap import interval
from components.blending.stack import Level1, Nested
from trainer.config.output import Blend
from trainer.metrics import HIGHER_IS_BETTER, score


class Looked(NamedTuple):
    """errors: (members, members) correlation of the members' errors. without: the nested blend
    without a member."""

    errors: np.ndarray
    without: dict[str, Nested]

    def described(
        self,
        names: Sequence[str],
        metric: str,
        targets: np.ndarray,
        whole: Nested,
        drawn: Mapping[str, np.ndarray],
    ) -> dict[str, Any]:
        """As JSON values.

        Args:
            names: of the members. whole: the nested blend by the same method with all of them.
            drawn: resampled scores, `method/…` of the whole blend's and `without/…` of the others'.
        """
        sign = 1 if HIGHER_IS_BETTER[metric] else -1
        of_all = score(metric, targets, whole.probabilities, whole.thresholds)
        method = next(iter(whole.fitted.values())).method
        adds = {}
        for name, nested in self.without.items():
            alone = score(metric, targets, nested.probabilities, nested.thresholds)
            range_ = interval(
                sign * (drawn[f"method/{method}"] - drawn[f"without/{name}"]),
                sign * (of_all - alone),
            )
            adds[name] = {
                "without": alone,
                "gain": sign * (of_all - alone),
                **range_,
                "verdict": _verdict(range_),
            }
        return {
            "names": list(names),
            "errors": [
                [None if np.isnan(value) else float(value) for value in row] for row in self.errors
            ],
            "adds": adds,
            "leave_out": [name for name, one in adds.items() if one["gain"] <= 0],
        }


def look(level1: Level1, names: Sequence[str], blend: Blend, seed: int) -> Looked:
    """Correlate the members' errors, and blend without each member in turn.

    A row's error is 1 less the probability of its class; of any number of classes an image, the
    mean over classes.

    Args:
        level1: the members' rows. names: of the members, in order.
        blend: by one method; `best_alpha` leaves a single member as it is.
    """
    predictions, targets = level1.rows.predictions, level1.rows.targets
    if targets.ndim == 1:
        errors = 1 - predictions[:, np.arange(len(targets)), targets].astype(np.float64)
    else:
        errors = np.abs(predictions - targets).mean(axis=2, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.atleast_2d(np.corrcoef(errors))
    without = {}
    if len(names) > 1:
        alone = len(names) == 2 and blend.method == "best_alpha"
        reduced = dataclasses.replace(blend, method="mean") if alone else blend
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
