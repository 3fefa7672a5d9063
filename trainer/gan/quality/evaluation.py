"""Compares a GAN's samples with real images, and computes the figures of an evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config.gan import MIN_CLASS_SAMPLES, GanRecipe
from trainer.errors import TrainingError
from trainer.gan.quality import fidelity
from trainer.gan.quality.feature_extractor import Judge
from trainer.input.shards import Images
from trainer.input.workers import Workers

# Number of samples that are shown next to their nearest real images.
_SHOWN = 16
# Training images that are compared with the samples at the same time.
_BLOCK = 1000
# (latent, labels) -> (n, side, side, channels) uint8.
Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Real:
    """Real images that samples are compared with: n training images of the GAN, and as many
    held-out images of each class.

    Attributes:
        trained: (n, d) features of the training images.
        trained_labels: (n,) class indices.
        held: (n, d) features of the held-out images.
        held_labels: (n,) class indices.
        right: the share of the held-out images that the judge classifies correctly.
    """

    trained: np.ndarray
    trained_labels: np.ndarray
    held: np.ndarray
    held_labels: np.ndarray
    right: float


@dataclass(frozen=True)
class Judged:
    """The result of judging samples.

    Attributes:
        images: (`gan.samples`, side, side, channels) uint8, equally many of each class.
        labels: (`gan.samples`,) class indices.
        features: (m, d) features of the first m samples.
        figures: a row of a history.
        of_classes: (classes,) the diversity of each class.
        there: for each class, how much of it the samples contain, 0 to 1.
    """

    images: np.ndarray
    labels: np.ndarray
    features: np.ndarray
    figures: dict[str, float]
    of_classes: np.ndarray
    there: list[float]


class Evaluation:
    """The judge, the network whose features are compared, and the real images."""

    def __init__(
        self, gan: GanRecipe, classes: Sequence[str], judge: Judge, features: Judge, *, seed: int
    ) -> None:
        self.gan, self.classes, self.judge, self.features, self.seed = (
            gan,
            list(classes),
            judge,
            features,
            seed,
        )
        self.real: Real

    def look_at(
        self,
        images: Images,
        targets: np.ndarray,
        rows: np.ndarray,
        held: np.ndarray,
        workers: Workers,
    ) -> None:
        """Select the real images that samples are compared with, and compute their features.

        Args:
            images: all labelled images.
            targets: (all,) class indices.
            rows: rows of the images that the GAN is trained on.
            held: rows of the held-out images.
            workers: threads that decode.

        Raises:
            TrainingError: there are too few images.
        """
        random = np.random.default_rng([self.seed, 1])
        judging = random.permutation(held)[: self.gan.samples]
        # Equally many images of each class on both sides: a class that is rare on one side alone
        # would count as a difference.
        sides = [
            [side[targets[side] == index] for index in range(len(self.classes))]
            for side in (judging, random.permutation(rows))
        ]
        counts = [min(map(len, of_class)) for of_class in zip(*sides, strict=True)]
        if sum(counts) < MIN_CLASS_SAMPLES * len(self.classes):
            raise TrainingError(
                f"{len(held)} images are held out and {len(rows)} train: too few to judge"
                f" {len(self.classes)} classes; lower folds.count, or add images"
            )
        judging, trained = (
            np.sort(np.concatenate([ids[:count] for ids, count in zip(side, counts, strict=True)]))
            for side in sides
        )
        features, predicted = self._look(workers.decoded(images, judging))
        self.real = Real(
            trained=self._look(workers.decoded(images, trained))[0],
            trained_labels=targets[trained],
            held=features,
            held_labels=targets[judging],
            right=float((predicted == targets[judging]).mean()),
        )

    def _look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, d) features, and (n,) the judge's class of each image."""
        features, logits = self.judge.look(images)
        assert logits is not None
        if self.features is not self.judge:
            features, _ = self.features.look(images)
        return features, logits.argmax(axis=1)

    def baseline(self) -> dict[str, float]:
        """Return the figures of real training images against real held-out images: the best that a
        GAN can reach."""
        return fidelity.as_row(self._compare(self.real.trained, self.real.trained_labels))

    def _compare(self, features: np.ndarray, labels: np.ndarray) -> fidelity.Fidelity:
        return fidelity.compare(
            self.real.held,
            self.real.held_labels,
            features,
            labels,
            classes=len(self.classes),
            neighbours=self.gan.neighbours,
        )

    def judged(self, generate: Generate, *, stream: int) -> Judged:
        """Generate samples and judge them.

        Args:
            generate: from latent vectors and class indices to images.
            stream: the same stream gives the same latent vectors.
        """
        random = np.random.default_rng([self.seed, 2, stream])
        labels = np.arange(self.gan.samples, dtype=np.int32) % len(self.classes)
        # Compare the held-out images with as many samples of the same classes: a class that is rare
        # there would otherwise count as a difference.
        same = self.real.held_labels.astype(np.int32)
        images, matching = (
            generate(random.standard_normal((len(classes), self.gan.latent), np.float32), classes)
            for classes in (labels, same)
        )
        features, predicted = self._look(matching)
        # Only the judge knows the class of an unconditional sample.
        sample_labels = same if self.gan.conditional else predicted
        figures: dict[str, Any] = fidelity.as_row(self._compare(features, sample_labels))
        sample_features, predicted = self._look(images)
        if self.gan.conditional:
            presence = fidelity.right_of_class(predicted, labels, len(self.classes))
            figures["class_accuracy"] = float((predicted == labels).mean())
        else:
            presence = fidelity.shares(predicted, same, len(self.classes))
        diversity = fidelity.diversities(
            self.real.held, same, features, sample_labels, classes=len(self.classes)
        )
        return Judged(images, labels, sample_features[:_SHOWN], figures, diversity, presence)

    def nearest(
        self,
        judged: Judged,
        images: Images,
        rows: np.ndarray,
        workers: Workers,
        *,
        waiting: Callable[[], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first samples, and for each of them the training image that is closest in the
        features.

        Args:
            judged: the samples.
            images: all labelled images.
            rows: rows of the images that the GAN is trained on.
            workers: threads that decode.
            waiting: called repeatedly, because the search may take long.
        """
        count = len(judged.features)
        nearest_rows, distances = np.zeros(count, int), np.full(count, np.inf)
        for block in np.array_split(rows, -(-len(rows) // _BLOCK)):
            waiting()
            features, _ = self.features.look(workers.decoded(images, block))
            index, squared = fidelity.nearest(features, judged.features)
            closer = squared < distances
            nearest_rows[closer], distances[closer] = block[index[closer]], squared[closer]
        return judged.images[:count], workers.decoded(images, nearest_rows)

    def told(self, figures: dict[str, float]) -> str:
        """Return figures as a line of text."""
        accuracy = (
            f", {figures['class_accuracy']:.1%} of their class"
            if "class_accuracy" in figures
            else ""
        )
        diversity = (
            "" if np.isnan(figures["diversity"]) else f", diversity {figures['diversity']:.2f}"
        )
        return (
            f"{self.gan.features.measure()} {figures['frechet']:.3g}, precision"
            f" {figures['precision']:.2f}, recall {figures['recall']:.2f}{diversity}{accuracy}"
        )
