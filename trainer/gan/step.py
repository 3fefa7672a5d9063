"""A GAN's training step as one program: the discriminator's update, then the generator's.

The generator is updated before the discriminator as it was just changed. Two separate programs give
the same weights; one program that weighs both losses takes twice as long, and Adam's momentum moves
the generator in steps that are meant for the discriminator (`benchmarks/results.md`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.backends.program import (
    Arrays,
    Calls,
    Definition,
    MovingAverage,
    Program,
    Update,
)
from trainer.config.gan import GanRecipe
from trainer.errors import TrainingError
from trainer.gan import diffaugment, losses
from trainer.gan.state import AVERAGED, DISCRIMINATOR, GENERATOR, GanState

# What a step reports, in order.
REPORTED = ("discriminator_loss", "real_right", "generated_right", "generator_loss")


def define(state: GanState) -> Definition:
    """The program of a GAN."""
    recipe = state.recipe

    def discriminator_loss(calls: Calls, arrays: Arrays) -> tuple[Any, Sequence[Any]]:
        loss, real_right, generated_right = losses.discriminator_loss(
            recipe, calls[GENERATOR], calls[DISCRIMINATOR], arrays
        )
        return loss, [real_right, generated_right]

    def generator_loss(calls: Calls, arrays: Arrays) -> tuple[Any, Sequence[Any]]:
        return losses.generator_loss(recipe, calls[GENERATOR], calls[DISCRIMINATOR], arrays), []

    def predict(calls: Calls, arrays: Arrays) -> Any:
        return calls[AVERAGED]([arrays["latent"], arrays["labels"]])

    return Definition(
        networks=state.networks,
        updates=[
            Update(DISCRIMINATOR, state.optimizers[DISCRIMINATOR], discriminator_loss),
            Update(GENERATOR, state.optimizers[GENERATOR], generator_loss),
        ],
        predict=predict,
        average=MovingAverage(GENERATOR, AVERAGED, recipe.average),
        several_steps=True,
        # A DCGAN's convolutions gain from XLA on a CPU too; those of many classifiers do not.
        xla=True,
        name="gan_step",
    )


def draw(
    recipe: GanRecipe, *, seed: int, step: int, side: int, classes: int
) -> dict[str, np.ndarray]:
    """What a step needs in addition to real images; depends on the seed and the step alone.

    Args:
        recipe: batch size, length of latent vectors, augmentation.
        seed: of the training.
        step: its number, from 0.
        side: of the images in pixels.
        classes: number of classes.

    Returns:
        `latent_first` and `latent_second`, (batch, latent) float32, one for each update;
        `labels_second`, (batch,) int32 classes for the generator's update; and the draws of
        `diffaugment`.
    """
    random = np.random.default_rng([seed, step])
    size = (recipe.batch_size, recipe.latent)
    return {
        "latent_first": random.standard_normal(size, dtype=np.float32),
        "latent_second": random.standard_normal(size, dtype=np.float32),
        "labels_second": random.integers(0, classes, recipe.batch_size, dtype=np.int32),
        **diffaugment.draw(recipe.diffaugment, random, images=recipe.batch_size, side=side),
    }


def stacked(steps: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of several steps, stacked along a new second axis; devices share the first."""
    return {name: np.stack([arrays[name] for arrays in steps], axis=1) for name in steps[0]}


def sample(program: Program, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Samples of the averaged generator.

    Args:
        program: the program of `define`.
        latent: (n, latent) float32; always the same n.
        labels: (n,) int32 class indices.

    Returns:
        (n, side, side, channels) uint8.

    Raises:
        TrainingError: a pixel is not finite.
    """
    images = program.predict({"latent": latent, "labels": labels})
    if not np.isfinite(images).all():
        raise TrainingError(
            "divergence: generated images contain NaN or infinity: lower gan.generator_rate and "
            "gan.discriminator_rate"
        )
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)
