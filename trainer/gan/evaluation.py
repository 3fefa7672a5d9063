"""A GAN's samples beside real images: what is compared with what, and the figures of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config.gan import MIN_CLASS_SAMPLES, GanRecipe
from trainer.errors import TrainingError
from trainer.gan import fidelity
from trainer.gan.feature_extractor import Judge
from trainer.input.shards import Images
from trainer.input.workers import Workers

# Samples that are shown beside their nearest real images.
_SHOWN = 16
# Images that trained and are looked for at once.
_BLOCK = 1000
# (latent, labels) -> (n, side, side, channels) uint8.
Generate = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Real:
    """Real images by which samples are judged: n that the GAN is trained on, and as many of each
    class that it is not.

    trained, held: (n, d) features. labels: (n,) class indices. right: the share of the held-out
    ones that the judge knows the class of."""

    trained: np.ndarray
    trained_labels: np.ndarray
    held: np.ndarray
    held_labels: np.ndarray
    right: float


@dataclass(frozen=True)
class Judged:
    """What was found of some samples.

    images, labels: `gan.samples` of all classes alike. features: (m, d) of the first ones. figures:
    a row of a history.
    of_classes: how diverse each class is. there: how much of each class there is.
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
        """Take the real images that samples will be compared with.

        Args:
            targets: (all,) class indices. rows: that the GAN is trained on. held: that it is not.

        Raises:
            TrainingError: there are too few.
        """
        chosen = np.random.default_rng([self.seed, 1])
        judging = chosen.permutation(held)[: self.gan.samples]
        # As many of each class on both sides: one that is rare on one of them would count as a
        # difference.
        sides = [
            [some[targets[some] == index] for index in range(len(self.classes))]
            for some in (judging, chosen.permutation(rows))
        ]
        counts = [min(map(len, of_class)) for of_class in zip(*sides, strict=True)]
        if sum(counts) < MIN_CLASS_SAMPLES * len(self.classes):
            raise TrainingError(
                f"{len(held)} images are held out and {len(rows)} train: too few to judge"
                f" {len(self.classes)} classes by; lower folds.count, or bring more images"
            )
        judging, trained = (
            np.sort(
                np.concatenate([some[:count] for some, count in zip(side, counts, strict=True)])
            )
            for side in sides
        )
        features, taken = self._look(workers.decoded(images, judging))
        self.real = Real(
            trained=self._look(workers.decoded(images, trained))[0],
            trained_labels=targets[trained],
            held=features,
            held_labels=targets[judging],
            right=float((taken == targets[judging]).mean()),
        )

    def _look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) features, and (n,) the classes that the judge takes images for."""
        features, logits = self.judge.look(images)
        assert logits is not None
        if self.features is not self.judge:
            features, _ = self.features.look(images)
        return features, logits.argmax(axis=1)

    def baseline(self) -> dict[str, float]:
        """Real images that trained beside real ones that did not: the best that a GAN can hope
        for."""
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
        """New samples; of the same latent vectors for the same stream."""
        random = np.random.default_rng([self.seed, 2, stream])
        labels = np.arange(self.gan.samples, dtype=np.int32) % len(self.classes)
        # Beside the held-out images stand as many of the same classes: a class that is rare there
        # would count as a difference.
        same = self.real.held_labels.astype(np.int32)
        images, alike = (
            generate(random.standard_normal((len(asked), self.gan.latent), np.float32), asked)
            for asked in (labels, same)
        )
        features, taken = self._look(alike)
        # What an unconditional sample is of, only the judge can say.
        of = same if self.gan.conditional else taken
        figures: dict[str, Any] = fidelity.as_row(self._compare(features, of))
        shown, taken = self._look(images)
        if self.gan.conditional:
            there = fidelity.right_of_class(taken, labels, len(self.classes))
            figures["class_accuracy"] = float((taken == labels).mean())
        else:
            there = fidelity.shares(taken, same, len(self.classes))
        of_classes = fidelity.diversities(
            self.real.held, same, features, of, classes=len(self.classes)
        )
        return Judged(images, labels, shown[:_SHOWN], figures, of_classes, there)

    def nearest(
        self,
        judged: Judged,
        images: Images,
        rows: np.ndarray,
        workers: Workers,
        *,
        waiting: Callable[[], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Some samples, and for each the image that is closest in the features, of all that the GAN
        is trained on.

        Args:
            rows: those images. waiting: called again and again, as it may take long.
        """
        count = len(judged.features)
        places, distances = np.zeros(count, int), np.full(count, np.inf)
        for block in np.array_split(rows, -(-len(rows) // _BLOCK)):
            waiting()
            features, _ = self.features.look(workers.decoded(images, block))
            found, far = fidelity.nearest(features, judged.features)
            closer = far < distances
            places[closer], distances[closer] = block[found[closer]], far[closer]
        return judged.images[:count], workers.decoded(images, places)

    def told(self, figures: dict[str, float]) -> str:
        """Figures as a line."""
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
