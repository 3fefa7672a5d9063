"""How well probabilities are calibrated, for a reliability diagram."""

from typing import Any

import numpy as np

from components.blending.stack import Nested
from trainer.config.output import Blend
from trainer.metrics.candidates import Candidates, Targets
from trainer.metrics.names import candidates_suffice
from trainer.metrics.scores import BINS, bins, confidence, score


def calibration_scores(targets: Targets, nested: Nested, blend: Blend) -> dict[str, Any]:
    """Return how well the nested probabilities are calibrated, before and after the calibration."""
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
                    if candidates_suffice(name) or not isinstance(targets, Candidates)
                },
                "curve": _reliability(targets, values),
            }
            for stage, values in stages.items()
        },
    }


def _reliability(targets: Targets, probabilities: np.ndarray) -> list[dict[str, float]]:
    """Return the mean confidence, the share of correct predictions and the number of predictions in
    each non-empty bin of confidence."""
    confidences, correct = (array.ravel() for array in confidence(targets, probabilities))
    bin_numbers = bins(confidences)
    count = np.bincount(bin_numbers, minlength=BINS)
    mean, share = (
        np.bincount(bin_numbers, weights=values, minlength=BINS) / np.maximum(count, 1)
        for values in (confidences, correct)
    )
    return [
        {"confidence": float(mean[k]), "accuracy": float(share[k]), "rows": int(count[k])}
        for k in np.flatnonzero(count)
    ]
