"""The bootstrap: how much a score, or the difference of two scores, would vary with other
images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.blending.scoring.weighted_metrics import Counted
from components.parallel import in_order, one_thread

# Resamples that a thread draws and scores at once; few enough that their counts stay in its cache.
_TOGETHER = 8
# Smallest share of resamples with a score for an interval; one that lacks a class may have none.
_LEAST_SHARE = 0.5


@one_thread
def resampled(
    scorers: Mapping[str, Counted], clusters: np.ndarray, *, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Score bootstrap resamples, drawn once for all scorers, so that their differences are paired.

    Draws complete clusters with replacement, because images of one patient carry less information
    than as many images of different patients (Field and Welsh, Bootstrapping Clustered Data, 2007,
    J. R. Stat. Soc. B 69, section 2.2).

    Args:
        scorers: by name, all for the same n rows.
        clusters: (n,) the number of each row's cluster, from 0.
        resamples: number of resamples.
        seed: determines the draws, regardless of the number of cores.

    Returns:
        (resamples,) float64 scores by scorer; NaN if a resample lacks a class that the metric
        needs.
    """
    size = int(clusters.max()) + 1
    single_rows = np.bincount(clusters).max() == 1

    def chunk(first: int) -> dict[str, np.ndarray]:
        numbers = range(first, min(first + _TOGETHER, resamples))
        drawn = np.stack([_draw(size, seed, number) for number in numbers]).astype(np.float64)
        counts = drawn if single_rows else drawn[:, clusters]
        return {name: scorer(counts) for name, scorer in scorers.items()}

    parts = list(in_order(chunk, range(0, resamples, _TOGETHER)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _draw(size: int, seed: int, number: int) -> np.ndarray:
    """Return how often each of `size` clusters is in resample `number`: (size,) int64."""
    return np.bincount(
        np.random.default_rng([seed, number]).integers(0, size, size), minlength=size
    )


def interval(values: np.ndarray, score: float) -> dict[str, Any]:
    """Return `low` and `high`, which contain 95 % of the resamples after their mean bias is
    subtracted; None if too few resamples have a score.

    A resample has fewer distinct images than the data, which makes some scores systematically worse
    (a mean over rare classes, a calibration error). The resamples' mean minus the score estimates
    that bias (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 10.2).

    Args:
        values: (resamples,) scores, or differences of scores; NaN if a resample has none.
        score: the score, or difference, of the rows themselves.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < max(2, _LEAST_SHARE * len(values)):
        return {"low": None, "high": None}
    low, high = np.percentile(finite, [2.5, 97.5]) - (finite.mean() - score)
    return {"low": float(low), "high": float(high)}


def standard_error(values: np.ndarray) -> float:
    """Return the standard deviation of the resamples' scores without NaN; 0 if fewer than two are
    left, so that no difference is within it."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else 0.0
