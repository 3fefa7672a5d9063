"""Predictions: each image is decoded once, for all models and all views of it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from trainer.artifacts.objective import Objective, fold_seed
from trainer.backends.devices import Device
from trainer.backends.program import Program
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import TrainingError
from trainer.input.batches import view
from trainer.input.shards import Images
from trainer.input.workers import Workers, prefetch
from trainer.metrics.candidates import Predicted, concatenated, top_classes
from trainer.training import classifier_program

# Decoded images that are in memory at once.
CHUNK_BYTES = 128 * 2**20
# Bytes of a class's logit and probability, with those of intermediate results.
_CLASS_BYTES = 16


class Predictor:
    """Predicts images in batches of one size; the last batch is padded."""

    def __init__(
        self, workers: Workers, member: Member, objective: Objective, device: Device, batch: int
    ) -> None:
        """
        Args:
            workers: threads that decode and augment.
            member: its augmentation makes the views of test-time augmentation, `tta` of them.
            objective: the ML task, the classes, and the seed of the views: those of an image are
                the same for every model.
            device: the devices that predict.
            batch: images per batch, of all processes together.
        """
        self.workers, self.member, self.objective = workers, member, objective
        self.device, self.batch = device, batch
        self.probabilities_of = activation(objective.task)
        self.seed = fold_seed(objective.seed, member.name, NO_FOLD)

    def logits(
        self,
        program: Program,
        images: Images,
        tabular: np.ndarray,
        rows: np.ndarray,
        pixels: np.ndarray,
        number: int = 0,
    ) -> np.ndarray:
        """Logits of one view of some images.

        Args:
            program: has the weights.
            images: the split that the rows belong to.
            tabular: (all rows, columns) float32.
            rows: (n,) rows of `images`.
            pixels: (n, size, size, channels) uint8, their stored pixels.
            number: of the view, 0 for the images as they are.

        Returns:
            (n, outputs) float32.

        Raises:
            TrainingError: a logit is not finite.
        """
        augment, part = self.member.augment, (self.device.process, self.device.processes)
        params = view(images, rows, augment, number=number, seed=self.seed)

        def batch(first: int) -> tuple[int, dict[str, np.ndarray]]:
            # Padded with the last image: every batch has one size, so that it is compiled once and
            # splits evenly over any number of devices.
            places = np.minimum(np.arange(first, first + self.batch), len(rows) - 1)
            places = places[slice(*(self.batch * (part[0] + end) // part[1] for end in (0, 1)))]
            arrays = {"pixels": pixels[places], "tabular": tabular[rows[places]]}
            if self.device.augments:
                arrays |= classifier_program.augment_arrays(params.of(places))
            elif number or augment.crop:
                arrays["pixels"] = self.workers.augmented_pixels(
                    pixels[places], params.of(places), augment
                )
            return first, arrays

        # A thread prepares the next batch while the network works on this one.
        batches = prefetch(map(batch, range(0, len(rows), self.batch)))
        logits = np.concatenate(
            [program.predict(arrays)[: len(rows) - first] for first, arrays in batches]
        )
        if not np.isfinite(logits).all():
            raise TrainingError(
                f"member {self.member.name!r}: predictions contain NaN or infinity because training"
                " diverged: lower optimizer.learning_rate, or set optimizer.clip_norm = 1"
            )
        return logits

    def chunks(self, images: Images, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Parts of `rows` with their pixels; a thread decodes the next part.

        A part's logits and probabilities are in memory at once, too.
        """
        image_bytes = images.size * images.size * images.channels
        image_bytes += _CLASS_BYTES * len(self.objective.classes)
        length = max(1, CHUNK_BYTES // (image_bytes * self.batch)) * self.batch
        parts = [rows[first : first + length] for first in range(0, len(rows), length)]
        return prefetch(((part, self.workers.decoded(images, part)) for part in parts), ahead=1)

    def probabilities(
        self,
        programs: Sequence[Callable[[], Program]],
        images: Images,
        tabular: Sequence[np.ndarray],
        rows: np.ndarray,
    ) -> list[Predicted]:
        """The probabilities of each model, a mean over the views.

        Args:
            programs: one for each model, called once for each chunk of images to put its weights in
                place.
            images: the split that the rows belong to.
            tabular: for each model (all rows, columns) float32.
            rows: (n,) rows of `images`.

        Returns:
            for each model (n, classes) float32, or the most probable classes.
        """
        parts: list[list[Predicted]] = [[] for _ in programs]
        for chunk, pixels in self.chunks(images, rows):
            for part, program_of, columns in zip(parts, programs, tabular, strict=True):
                program = program_of()
                views = [
                    self.probabilities_of(
                        self.logits(program, images, columns, chunk, pixels, number)
                    )
                    for number in range(self.member.tta)
                ]
                mean = np.asarray(np.mean(views, axis=0, dtype=np.float64), dtype=np.float32)
                part.append(self.kept(mean))
        none = np.zeros((0, len(self.objective.classes)), np.float32)
        return [concatenated(part or [self.kept(none)]) for part in parts]

    def kept(self, probabilities: np.ndarray) -> Predicted:
        """What is kept of (n, classes) probabilities."""
        keep = self.objective.keep
        return top_classes(probabilities, keep) if keep else probabilities


def activation(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function from (n, outputs) logits to (n, classes) float64 probabilities.

    Softmax for multiclass; both classes of one sigmoid for binary; one sigmoid a class for
    multilabel.
    """

    def softmax(logits: np.ndarray) -> np.ndarray:
        shifted = logits.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        exponentials = np.exp(shifted)
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def binary(logits: np.ndarray) -> np.ndarray:
        return softmax(np.concatenate([np.zeros_like(logits), logits], axis=1))

    def sigmoid(logits: np.ndarray) -> np.ndarray:
        return binary(logits.reshape(-1, 1))[:, 1].reshape(logits.shape)

    return {"binary": binary, "multilabel": sigmoid}.get(task, softmax)
