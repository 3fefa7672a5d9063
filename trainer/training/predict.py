"""Predictions: probabilities of images, over the views and the models that see them, each image
decoded once."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.backends import program
from trainer.config.member import Augment
from trainer.errors import TrainingError
from trainer.input import batches as dataset
from trainer.input.batches import Images, Workers

# Decoded images that are held at once.
CHUNK_BYTES = 128 * 2**20


class Viewer:
    """Shows a network images in views, a batch at a time, the last one filled up to its size."""

    def __init__(
        self,
        workers: Workers,
        augment: Augment,
        *,
        batch: int,
        on_device: bool,
        part: tuple[int, int],
        seed: int,
    ) -> None:
        """
        Args:
            batch: images at once, of all processes together. part: which process this is, of how
                many.
            on_device: the device paints the views.
            seed: decides the views; those of one image are the same for every model.
        """
        self.workers, self.augment = workers, augment
        self.batch, self.on_device, self.part, self.seed = batch, on_device, part, seed

    def logits(
        self,
        network: program.Engine,
        images: Images,
        tabular: np.ndarray,
        rows: np.ndarray,
        stored: np.ndarray,
        view: int,
    ) -> np.ndarray:
        """(n, outputs) float32.

        Args:
            tabular: (all rows, columns). rows: (n,) rows of `images`. stored: (n, size, size,
                channels) uint8, their pixels.
            view: its number, 0 for the images as they are.
        """
        drawn = dataset.view(images, rows, self.augment, number=view, seed=self.seed)

        def shown(first: int) -> tuple[int, dict[str, np.ndarray]]:
            # The last image again and again, for a batch of one size: compiled once, and cut alike
            # on any number of devices.
            places = np.minimum(np.arange(first, first + self.batch), len(rows) - 1)
            places = places[
                slice(*(self.batch * (self.part[0] + end) // self.part[1] for end in (0, 1)))
            ]
            arrays = {"pixels": stored[places], "tabular": tabular[rows[places]]}
            if self.on_device:
                arrays |= program.drawn_arrays(drawn.of(places))
            elif view or self.augment.crop:
                arrays["pixels"] = self.workers.repainted(
                    stored[places], drawn.of(places), self.augment
                )
            return first, arrays

        # A thread paints the next batch while the network sees this one.
        batches = dataset.prefetch(map(shown, range(0, len(rows), self.batch)))
        logits = np.concatenate(
            [network.logits(arrays)[: len(rows) - first] for first, arrays in batches]
        )
        if not np.isfinite(logits).all():
            raise TrainingError(
                "the predictions are no numbers, for the weights diverged: lower"
                " optimizer.learning_rate, or set optimizer.clip_norm = 1"
            )
        return logits

    def chunks(self, images: Images, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Runs of `rows` with their pixels, decoded ahead by a thread of its own."""
        size = images.size * images.size * images.channels
        length = max(1, CHUNK_BYTES // (size * self.batch)) * self.batch
        cut = [rows[first : first + length] for first in range(0, len(rows), length)]
        return dataset.prefetch(
            ((some, self.workers.decoded(images, some)) for some in cut), held=1
        )

    def probabilities(
        self,
        networks: Sequence[Callable[[], program.Engine]],
        images: Images,
        tabular: Sequence[np.ndarray],
        rows: np.ndarray,
        *,
        views: int,
        squash: Callable[[np.ndarray], np.ndarray],
        classes: int,
    ) -> np.ndarray:
        """(networks, n, classes) float32: the mean over the views of each network's probabilities.

        Args:
            networks: each called once a chunk, to have its weights in place. tabular: (all rows,
                columns) for each.
            squash: from logits to probabilities.
        """
        parts = []
        for some, stored in self.chunks(images, rows):
            of_chunk = []
            for network, columns in zip(networks, tabular, strict=True):
                ready = network()
                seen = [
                    squash(self.logits(ready, images, columns, some, stored, view))
                    for view in range(views)
                ]
                of_chunk.append(np.mean(seen, axis=0, dtype=np.float64).astype(np.float32))
            parts.append(np.stack(of_chunk))
        return (
            np.concatenate(parts, axis=1)
            if parts
            else np.zeros((len(networks), 0, classes), np.float32)
        )


def squashing(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """From (n, outputs) logits to (n, classes) float64 probabilities: softmax, those of both
    classes for `binary`, each by itself for `multilabel`."""

    def softmax(logits: np.ndarray) -> np.ndarray:
        shifted = logits.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def both(logits: np.ndarray) -> np.ndarray:
        return softmax(np.concatenate([np.zeros_like(logits), logits], axis=1))

    def each(logits: np.ndarray) -> np.ndarray:
        return both(logits.reshape(-1, 1))[:, 1].reshape(logits.shape)

    return {"binary": both, "multilabel": each}.get(task, softmax)
