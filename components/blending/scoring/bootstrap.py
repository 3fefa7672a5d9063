"""The bootstrap: how much a score, or the difference of two, would vary with other images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from components.blending.scoring.weighted_metrics import Counted, CountedAll
from components.parallel import in_order, one_thread

# Resamples that are drawn and scored at once, by a thread: their counts are to stay in its cache.
_TOGETHER = 8
# Of scores that at least so many resamples have, as one that lacks a class has none.
_LEAST_SHARE = 0.5


@one_thread
def resampled(
    scorers: Mapping[str, Counted | CountedAll], clusters: np.ndarray, *, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """The scores of bootstrap resamples, drawn once for all scorers, so that their differences are
    paired.

    Whole clusters are drawn with replacement, as images of one patient say less than as many of
    different ones (Field and Welsh, Bootstrapping Clustered Data, 2007, J. R. Stat. Soc. B 69,
    section 2.2).

    Args:
        scorers: by name; all of the same n rows. Those of several metrics give names as
            `name/metric`.
        clusters: (n,) the number of each row's cluster, from 0.
        resamples: how many.
        seed: decides the draws, whatever the number of cores.

    Returns:
        (resamples,) float64 of each scorer; NaN where a resample lacks a class that the metric
        needs.
    """
    size = int(clusters.max()) + 1
    each = np.bincount(clusters).max() == 1

    def chunk(first: int) -> dict[str, np.ndarray]:
        together = range(first, min(first + _TOGETHER, resamples))
        drawn = np.stack([_draw(size, seed, number) for number in together]).astype(np.float64)
        counts = drawn if each else drawn[:, clusters]
        scores: dict[str, np.ndarray] = {}
        for name, scorer in scorers.items():
            found = scorer(counts)
            scores |= (
                {f"{name}/{metric}": one for metric, one in found.items()}
                if isinstance(found, dict)
                else {name: found}
            )
        return scores

    parts = list(in_order(chunk, range(0, resamples, _TOGETHER)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _draw(size: int, seed: int, number: int) -> np.ndarray:
    return np.bincount(
        np.random.default_rng([seed, number]).integers(0, size, size), minlength=size
    )


def interval(values: np.ndarray, score: float) -> dict[str, Any]:
    """`low` and `high`: where 95 % of the resamples lie, moved by what they are off on average;
    None where few have a score.

    A resample has fewer different images than the data, which makes some scores worse in themselves
    (a mean over rare classes, a calibration error): their mean less the score estimates that bias
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 10.2).

    Args:
        values: (resamples,) scores, or differences of scores. score: the same of the rows
            themselves.
    """
    known = values[np.isfinite(values)]
    if len(known) < max(2, _LEAST_SHARE * len(values)):
        return {"low": None, "high": None}
    low, high = np.percentile(known, [2.5, 97.5]) - (known.mean() - score)
    return {"low": float(low), "high": float(high)}


def standard_error(values: np.ndarray) -> float:
    """The standard deviation of the resamples that have a score; 0 where fewer than two have:
    nothing is within it then."""
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else 0.0
