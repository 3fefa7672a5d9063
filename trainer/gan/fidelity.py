"""How close samples are to real images, in the features of a network: numbers, and what they say is
wrong.

All of them depend on how many images they are of, so they stand beside the same numbers of real
images against other real images. Features are (n, d) arrays, a row an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainer.config.gan import MIN_CLASS_SAMPLES

# A class's samples are of one kind when they differ by less than this share of what its real images
# do.
COLLAPSED = 0.35
# A class is missing when fewer of its samples are taken for it; where no class was asked for, when
# samples are taken for it less than this share as often as real images are of it.
MISSING = 0.1
# The training has gone astray when the distance is so many times the best it had.
DIVERGED = 3.0
# The discriminator has won when it is right about so many images: the generator learns nothing more
# from it.
WON = 0.99


@dataclass(frozen=True)
class Fidelity:
    """Some images beside real ones.

    frechet: see `frechet`. precision, recall: see `precision_recall`. diversity: the mean over the
    classes of `diversities`, and lowest the least of them; NaN where no class has any. images: how
    many of each kind were compared."""

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
    """Images beside as many real ones.

    Args:
        real, others: (n, d) features. real_labels, labels: (n,) class indices.
        neighbours: of `precision_recall`.
    """
    precision, recall = precision_recall(real, others, neighbours=neighbours)
    of_classes = diversities(real, real_labels, others, labels, classes=classes)
    known = of_classes[~np.isnan(of_classes)]
    return Fidelity(
        frechet=frechet(real, others),
        precision=precision,
        recall=recall,
        diversity=float(known.mean()) if len(known) else math.nan,
        lowest=float(known.min()) if len(known) else math.nan,
        images=len(others),
    )


def frechet(real: np.ndarray, others: np.ndarray) -> float:
    """The squared Fréchet distance between normal distributions fitted to two sets of features
    (Heusel et al., arXiv:1706.08500, equation 6; Dowson and Landau, J. Multivariate Anal. 12, 1982,
    equation 4): 0 for equal ones.

    The trace of the root of the product of both covariances is the sum of the singular values of
    the product of both centred sets, which needs no root of a matrix, and as many images as one
    likes."""
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
    """The share of images that lie among the real ones, and of real ones that lie among the images
    (Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2): within the distance of a real image,
    or an image, to its k-th neighbour of its kind."""
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
    """(classes,) the mean distance between two images of a class, over that between two real ones;
    NaN where either are fewer than FEWEST, or all real ones are the same."""
    found = np.full(classes, np.nan)
    for index in range(classes):
        both = [features[of == index] for features, of in ((real, real_labels), (others, labels))]
        within = [_mean_distance(features) for features in both]
        if min(map(len, both)) >= MIN_CLASS_SAMPLES and within[0] > 0:
            found[index] = within[1] / within[0]
    return found


def nearest(real: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) the row of the real image that is closest to each image, and (n,) float32 its squared
    distance."""
    distances = _distances(real, others)
    return distances.argmin(axis=0), distances.min(axis=0)


def right_of_class(taken: np.ndarray, labels: np.ndarray, classes: int) -> list[float]:
    """For each class the share of its images that a classifier takes for it.

    Args:
        taken: (n,) what they are taken for. labels: (n,) what was asked for; at least one of each
            class.
    """
    return [float((taken[labels == index] == index).mean()) for index in range(classes)]


def shares(taken: np.ndarray, real_labels: np.ndarray, classes: int) -> list[float]:
    """For each class how many samples are taken for it, as a share of what real images have of it,
    1 at most.

    Args:
        taken: (n,) the classes that a classifier takes samples for. real_labels: (m,) those of real
            images.
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
    """What is wrong with a training by its evaluations so far, each in a sentence that begins with
    its name.

    Args:
        history: the evaluations, the latest last, with `step`, `frechet`, `real_right` and
            `generated_right`.
        of_classes: `diversities` of the latest. there: its `right_of_class`, or its `shares` where
            no class was asked for.
    """
    latest = history[-1]
    found = []
    gone = [
        f"{name!r} ({value:.0%})"
        for name, value in zip(classes, there, strict=True)
        if value < MISSING
    ]
    flat = [
        f"{name!r} ({value:.2f})"
        for name, value in zip(classes, of_classes, strict=True)
        if value < COLLAPSED
    ]
    if flat:
        found.append(
            f"mode collapse: samples of {_listed(flat, classes)} differ from each other by less"
            f" than {COLLAPSED} of what real ones do"
        )
    if gone:
        found.append(f"classes missing: so few samples are of the class: {_listed(gone, classes)}")
    best = min(row["frechet"] for row in history)
    if latest["frechet"] > DIVERGED * best:
        step = next(row["step"] for row in history if row["frechet"] == best)
        found.append(
            f"divergence: the distance is {latest['frechet']:.3g}, and was {best:.3g} at step"
            f" {step}"
        )
    if min(latest["real_right"], latest["generated_right"]) > WON:
        found.append(
            f"the discriminator has won: it is right about more than {WON:.0%} of all images, from"
            " which the generator learns nothing; lower gan.discriminator_rate, or name"
            " gan.diffaugment"
        )
    return found


def _listed(named: Sequence[str], classes: Sequence[str]) -> str:
    return ", ".join(named) if len(named) < len(classes) else "every class"


def as_row(fidelity: Fidelity) -> dict[str, float]:
    """For a history."""
    return asdict(fidelity)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) float32 squared distances."""
    # About a common middle: squares of numbers far from nought would cancel each other.
    middle = first.mean(axis=0)
    first, second = (
        np.asarray(features - middle, dtype=np.float32) for features in (first, second)
    )
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1)[None, :]
    found: np.ndarray = np.maximum(squares - 2.0 * first @ second.T, 0.0)
    return found


def _reach(features: np.ndarray, neighbours: int) -> np.ndarray:
    """(n,) the squared distance of each to its k-th neighbour."""
    distances = _distances(features, features)
    np.fill_diagonal(distances, np.inf)
    place = min(neighbours, len(features) - 1) - 1
    found: np.ndarray = np.partition(distances, place, axis=1)[:, place]
    return found


def _mean_distance(features: np.ndarray) -> float:
    count = len(features)
    if count < 2:
        return 0.0
    return float(
        np.sqrt(_distances(features, features), dtype=np.float64).sum() / (count * (count - 1))
    )
