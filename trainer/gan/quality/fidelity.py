"""Measures how close samples are to real images in the features of a network, and what is wrong
with them.

All measures depend on the number of images, so compare them with the same measures of real images
against other real images. Features are (n, d) arrays with one row per image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.config.gan import MIN_CLASS_SAMPLES

# A class has collapsed if the mean distance between its samples is less than this fraction of that
# between its real images.
COLLAPSED = 0.35
# A class is missing if the judge assigns less than this fraction of its samples to it; for an
# unconditional GAN, if samples belong to it less than this fraction as often as real images do.
MISSING = 0.1
# The training has diverged if the Fréchet distance is this many times its best.
DIVERGED = 3.0
# The discriminator has won if it is right about this fraction of the images: the generator then
# learns nothing from it.
WON = 0.99


@dataclass(frozen=True)
class Fidelity:
    """Images compared with real ones.

    Attributes:
        frechet: see `frechet`.
        precision: see `precision_recall`.
        recall: see `precision_recall`.
        diversity: mean over the classes of `diversities`; NaN if no class has a value.
        lowest: lowest of these values; NaN if no class has a value.
        images: number of images compared.
    """

    frechet: float
    precision: float
    recall: float
    diversity: float
    lowest: float
    images: int


def compare(
    real: np.ndarray,
    real_labels: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    neighbours: int,
) -> Fidelity:
    """Compare images with as many real ones.

    Args:
        real: (n, d) features of the real images.
        real_labels: (n,) class indices of the real images.
        others: (n, d) features of the images.
        labels: (n,) class indices of the images.
        classes: number of classes.
        neighbours: as for `precision_recall`.
    """
    precision, recall = precision_recall(real, others, neighbours=neighbours)
    by_class = diversities(real, real_labels, others, labels, classes=classes)
    values = by_class[~np.isnan(by_class)]
    return Fidelity(
        frechet=frechet(real, others),
        precision=precision,
        recall=recall,
        diversity=float(values.mean()) if len(values) else math.nan,
        lowest=float(values.min()) if len(values) else math.nan,
        images=len(others),
    )


def frechet(real: np.ndarray, others: np.ndarray) -> float:
    """Return the squared Fréchet distance between normal distributions fitted to two sets of
    features; 0 for equal ones.

    After Heusel et al., arXiv:1706.08500, equation 6, and Dowson and Landau, J. Multivariate Anal.
    12, 1982, equation 4. The trace of the square root of the product of both covariances is the sum
    of the singular values of the product of both centred sets. That needs no matrix square root and
    allows any number of images.

    Args:
        real: (n, d) features.
        others: (m, d) features.
    """
    means = [features.mean(axis=0, dtype=np.float64) for features in (real, others)]
    roots: list[Any] = [
        np.linalg.qr((features - mean) / np.sqrt(len(features) - 1), mode="r")
        for features, mean in zip((real, others), means, strict=True)
    ]
    common = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float(np.square(root).sum()) for root in roots)
    return max(0.0, float(np.square(means[0] - means[1]).sum() + spread - 2.0 * common))


def precision_recall(
    real: np.ndarray, others: np.ndarray, *, neighbours: int
) -> tuple[float, float]:
    """Return precision and recall (Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2).

    Precision is the share of images within the radius of a real image, recall the share of real
    images within the radius of an image. The radius of an image is its distance to its k-th
    neighbour in its own set.

    Args:
        real: (n, d) features.
        others: (m, d) features.
        neighbours: k.
    """
    across = _distances(real, others)
    reach_real, reach_others = (_reach(features, neighbours) for features in (real, others))
    precision = (across <= reach_real[:, None]).any(axis=0).mean()
    recall = (across <= reach_others[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def diversities(
    real: np.ndarray,
    real_labels: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
) -> np.ndarray:
    """Return the mean distance between two images of a class, divided by that between two real
    ones.

    Args:
        real: (n, d) features.
        real_labels: (n,) class indices.
        others: (m, d) features.
        labels: (m,) class indices.
        classes: number of classes.

    Returns:
        (classes,) values; NaN if a class has fewer than MIN_CLASS_SAMPLES images on either side, or
        if all its real images are the same.
    """
    ratios = np.full(classes, np.nan)
    for index in range(classes):
        sides = [features[of == index] for features, of in ((real, real_labels), (others, labels))]
        within = [_mean_distance(features) for features in sides]
        if min(map(len, sides)) >= MIN_CLASS_SAMPLES and within[0] > 0:
            ratios[index] = within[1] / within[0]
    return ratios


def nearest(real: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of the real image that is closest to each image, (n,) int64, and its squared
    distance, (n,) float32."""
    distances = _distances(real, others)
    return distances.argmin(axis=0), distances.min(axis=0)


def right_of_class(taken: np.ndarray, labels: np.ndarray, classes: int) -> list[float]:
    """Return for each class the share of its samples that the classifier assigns to it.

    Args:
        taken: (n,) the classifier's class of each sample.
        labels: (n,) the class that each sample was generated for; each class occurs.
        classes: number of classes.
    """
    return [float((taken[labels == index] == index).mean()) for index in range(classes)]


def shares(taken: np.ndarray, real_labels: np.ndarray, classes: int) -> list[float]:
    """Return for each class the share of samples that belong to it, divided by the share of real
    images that do; at most 1.

    Args:
        taken: (n,) the classifier's class of each sample.
        real_labels: (m,) class indices of real images.
        classes: number of classes.
    """
    counts = [
        np.bincount(labels, minlength=classes) / len(labels) for labels in (taken, real_labels)
    ]
    return [float(min(1.0, own / real)) if real else 1.0 for own, real in zip(*counts, strict=True)]


def verdicts(
    history: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    of_classes: np.ndarray,
    there: Sequence[float],
) -> list[str]:
    """Return what is wrong with a training according to its evaluations so far, one sentence each,
    which starts with the name of the problem.

    Args:
        history: the evaluations, the latest last, with `step`, `frechet`, `real_right` and
            `generated_right`.
        classes: the class names in order.
        of_classes: `diversities` of the latest evaluation.
        there: its `right_of_class`; for an unconditional GAN its `shares`.
    """
    latest = history[-1]
    problems = []
    missing = [
        f"{name!r} ({value:.0%})"
        for name, value in zip(classes, there, strict=True)
        if value < MISSING
    ]
    collapsed = [
        f"{name!r} ({value:.2f})"
        for name, value in zip(classes, of_classes, strict=True)
        if value < COLLAPSED
    ]
    if collapsed:
        problems.append(
            f"mode collapse: samples of {_listed(collapsed, classes)} differ from each other by"
            f" less than {COLLAPSED} of the difference between real images"
        )
    if missing:
        problems.append(f"classes missing: too few samples belong to {_listed(missing, classes)}")
    best = min(row["frechet"] for row in history)
    if latest["frechet"] > DIVERGED * best:
        step = next(row["step"] for row in history if row["frechet"] == best)
        problems.append(
            f"divergence: the distance is {latest['frechet']:.3g}; it was {best:.3g} at step {step}"
        )
    if min(latest["real_right"], latest["generated_right"]) > WON:
        problems.append(
            f"the discriminator has won: it is right about more than {WON:.0%} of all images, so"
            " the generator learns nothing from it; lower gan.discriminator_rate, or set"
            " gan.diffaugment"
        )
    return problems


def _listed(items: Sequence[str], classes: Sequence[str]) -> str:
    return ", ".join(items) if len(items) < len(classes) else "every class"


def as_row(fidelity: Fidelity) -> dict[str, float]:
    """Return the measures as a row of a history."""
    return asdict(fidelity)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distances between two sets of features: (n, m) float32."""
    # Relative to a common centre, because squares of large numbers would cancel each other.
    centre = first.mean(axis=0)
    first, second = (
        np.asarray(features - centre, dtype=np.float32) for features in (first, second)
    )
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None, :]
    distances: np.ndarray = np.maximum(squares - 2.0 * first @ second.T, 0.0)
    return distances


def _reach(features: np.ndarray, neighbours: int) -> np.ndarray:
    """Return the squared distance of each row to its k-th neighbour: (n,)."""
    distances = _distances(features, features)
    np.fill_diagonal(distances, np.inf)
    index = min(neighbours, len(features) - 1) - 1
    radii: np.ndarray = np.partition(distances, index, axis=1)[:, index]
    return radii


def _mean_distance(features: np.ndarray) -> float:
    count = len(features)
    if count < 2:
        return 0.0
    return float(
        np.sqrt(_distances(features, features), dtype=np.float64).sum() / (count * (count - 1))
    )
