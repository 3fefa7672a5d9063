"""Batches of a training, and the views of a prediction.

Against tf.data over the same images this is 1.4 times as fast (benchmarks/results.md), needs no
TensorFlow where JAX trains, and starts anywhere in an epoch at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainer.config.augment import Augment
from trainer.errors import TrainingError
from trainer.input.augment import AugmentParams, draw, epoch_draws, epoch_generator, untouched
from trainer.input.labels import Labels
from trainer.input.shards import Images
from trainer.input.workers import Workers

# Images whose augmentation is drawn at once: drawn batch by batch, a fifth of the time would be
# calls of numpy.
_DRAWN_AT_ONCE = 2048


@dataclass(frozen=True)
class Batch:
    """What a training step takes.

    Attributes:
        pixels: (n, side, side, channels) uint8: augmented, or as stored if `drawn` is given.
        tabular: (n, columns) float32.
        targets: (n, outputs) float32.
        weights: (n,) float32, of each image in the loss.
        drawn: how the device augments the pixels; None if they are augmented already.
    """

    pixels: np.ndarray
    tabular: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    drawn: AugmentParams | None


@dataclass(frozen=True)
class BatchPlan:
    """How the images of a training become batches.

    Attributes:
        augment: the augmentation of the recipe.
        batch_size: images per batch, of all processes together.
        seed: decides order and augmentation.
        epochs: in all.
        start: epoch and step of the first batch.
        balanced: show as many images of each class, in place of each image once.
        on_device: hand out stored pixels, with how to augment them.
        part: the number of this process, and how many there are: each gets its share of a batch.
    """

    augment: Augment
    batch_size: int
    seed: int
    epochs: int
    start: tuple[int, int] = (0, 0)
    balanced: bool = False
    on_device: bool = False
    part: tuple[int, int] = (0, 1)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in an epoch; which images are left over changes from epoch to epoch.

    Raises:
        TrainingError: there is not one full batch.
    """
    if images < batch_size:
        raise TrainingError(
            f"batch_size = {batch_size} is larger than the {images} training images of a fold: "
            "lower it"
        )
    return images // batch_size


def training_batches(
    images: Images, labels: Labels, rows: np.ndarray, plan: BatchPlan, workers: Workers
) -> Iterator[tuple[int, int, Batch]]:
    """All batches from `plan.start` on: shuffled and augmented differently in each epoch.

    In the last `augment.off_last` epochs no image is mixed with another.

    Args:
        images: the split.
        labels: of all its images.
        rows: (n,) the rows that train.
        plan: batch size, augmentation, seed and place.
        workers: the threads.

    Yields:
        epoch and step, both from 0, and the batch.
    """
    augment, size = plan.augment, plan.batch_size
    steps = steps_per_epoch(len(rows), size)
    at_once = max(1, _DRAWN_AT_ONCE // size)
    mine = slice(*(size * (plan.part[0] + end) // plan.part[1] for end in (0, 1)))
    first = plan.start[1]
    for epoch in range(plan.start[0], plan.epochs):
        order = _order(plan, epoch, rows, labels)
        drawn_rows = len(order) if plan.balanced else int(rows.max()) + 1
        uniform = epoch_draws(augment, seed=plan.seed, epoch=epoch, rows=drawn_rows)
        # An image that comes several times is augmented differently each time.
        draws = np.arange(len(order)) if plan.balanced else order
        for step in range(first, steps):
            if step == first or step % at_once == 0:
                block_start = step // at_once * at_once
                block_end = min(steps, block_start + at_once)
                block = slice(block_start * size, block_end * size)
                block_rows = order[block]
                block_params = draw(
                    augment,
                    uniform[draws[block]],
                    size=images.size,
                    means=images.means[block_rows],
                    mixing=epoch < plan.epochs - augment.off_last,
                    batch=size,
                )
            place = slice((step - block_start) * size, (step - block_start + 1) * size)
            chosen, params = block_rows[place], block_params.of(place)
            tabular, targets, weights = _mixed(labels, chosen, params)
            if plan.on_device:
                pixels, drawn = workers.decoded(images, chosen[mine]), params.of(mine)
            else:
                pixels, drawn = workers.augmented(images, chosen, params, augment)[mine], None
            yield epoch, step, Batch(pixels, tabular[mine], targets[mine], weights[mine], drawn)
        first = 0


def _order(plan: BatchPlan, epoch: int, rows: np.ndarray, labels: Labels) -> np.ndarray:
    """Return the (n,) rows that an epoch shows, in order, of the (n,) rows that train."""
    generator = epoch_generator(plan.seed, epoch, stream=0)
    if not plan.balanced:
        return generator.permutation(rows)
    codes = labels.codes(rows)
    present, counts = np.unique(codes, return_counts=True)
    wanted = np.full(len(present), len(rows) // len(present))
    wanted[generator.permutation(len(present))[: len(rows) % len(present)]] += 1
    of_classes = np.split(rows[np.argsort(codes, kind="stable")], np.cumsum(counts)[:-1])
    chosen = [
        # Each image as often as the others of its class, up to one time.
        np.concatenate([generator.permutation(own) for _ in range(-(-count // len(own)))])[:count]
        for own, count in zip(of_classes, wanted, strict=True)
    ]
    return generator.permutation(np.concatenate(chosen))


def _mixed(
    labels: Labels, chosen: np.ndarray, params: AugmentParams
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tabular values, targets and weights of a batch, mixed with those of the partners."""
    partners = chosen[params.partner]
    own = params.share * labels.weights[chosen]
    weights = own + (1 - params.share) * labels.weights[partners]
    # Losses are linear in labels, so each of the two counts by its own weight, and one of weight 0
    # does not count.
    own_share = np.divide(own, weights, out=np.ones_like(own), where=weights > 0)
    targets, tabular = (
        part[:, None] * values(chosen) + (1 - part[:, None]) * values(partners)
        for part, values in (
            (own_share, labels.targets_of),
            (params.share, labels.tabular.__getitem__),
        )
    )
    return tabular, targets, weights


def view(
    images: Images, rows: np.ndarray, augment: Augment, *, number: int, seed: int
) -> AugmentParams:
    """How the images of `rows` are changed for a view: 0 is unchanged, others are augmented."""
    if number == 0:
        side = augment.crop or images.size
        return untouched(len(rows), size=images.size, side=side, channels=images.channels)
    count = int(rows.max(initial=0)) + 1
    uniform = epoch_draws(augment, seed=seed, epoch=number, rows=count, stream=2)
    means = images.means[rows]
    return draw(augment, uniform[rows], size=images.size, means=means, mixing=False)
