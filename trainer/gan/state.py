"""A GAN's networks and optimizers: all that its training changes."""

from typing import Any

import keras

from trainer.config.gan import GanRecipe
from trainer.gan import networks

GENERATOR, DISCRIMINATOR, AVERAGED = "generator", "discriminator", "averaged"


class GanState:
    """Generator, discriminator, the generator of averaged weights, and both optimizers."""

    def __init__(
        self, recipe: GanRecipe, *, side: int, channels: int, classes: int, seed: int
    ) -> None:
        """
        Args:
            recipe: the section `[gan]`.
            side: of the images in pixels.
            channels: of the images, 1 or 3.
            classes: number of classes.
            seed: decides all initial weights.
        """
        self.recipe, self.classes = recipe, classes
        shape = {"side": side, "channels": channels, "classes": classes, "seed": seed}
        self.networks = {
            GENERATOR: networks.generator(recipe, **shape),
            DISCRIMINATOR: networks.discriminator(recipe, **shape),
            AVERAGED: networks.generator(recipe, **shape),
        }
        self.optimizers = {
            GENERATOR: _adam(recipe, recipe.generator_rate),
            DISCRIMINATOR: _adam(recipe, recipe.discriminator_rate),
        }

    @property
    def averaged(self) -> keras.Model:
        """The generator of averaged weights, which makes all samples."""
        return self.networks[AVERAGED]


def _adam(recipe: GanRecipe, rate: float) -> keras.optimizers.Optimizer:
    schedule: Any = rate
    if recipe.decay != 1.0:
        schedule = keras.optimizers.schedules.PolynomialDecay(
            rate, recipe.steps, end_learning_rate=rate * recipe.decay
        )
    return keras.optimizers.Adam(schedule, beta_1=recipe.momentum, beta_2=0.999)
