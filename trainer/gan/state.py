"""Generator and discriminator in training: one compiled graph does both, in turn.

What differs between the backends stands in trainer/gan/pair_on_tensorflow.py and
trainer/gan/pair_on_jax.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from trainer.backends.devices import Device
from trainer.config.gan import GanRecipe
from trainer.errors import TrainingError
from trainer.gan import diffaugment
from trainer.gan import networks as dcgan

# What a step tells, in order: both losses, and the shares of real and generated images that the
# discriminator is right about.
TOLD = ("discriminator_loss", "generator_loss", "real_right", "generated_right")


class GanState:
    """The two networks, their optimizers, and the generator of averaged weights; made, and not
    trained yet."""

    def __init__(
        self, gan: GanRecipe, *, side: int, channels: int, classes: int, seed: int
    ) -> None:
        self.gan = gan
        shape = {"side": side, "channels": channels, "classes": classes, "seed": seed}
        self.generator = dcgan.generator(gan, **shape)
        self.discriminator = dcgan.discriminator(gan, **shape)
        self.averaged = dcgan.generator(gan, **shape)
        self.optimizers = [
            keras.optimizers.Adam(_rate(gan, rate), beta_1=gan.momentum, beta_2=0.999)
            for rate in (gan.generator_rate, gan.discriminator_rate)
        ]
        for optimizer, network in zip(
            self.optimizers, (self.generator, self.discriminator), strict=True
        ):
            optimizer.build(network.trainable_variables)

    def groups(self) -> dict[str, list[Any]]:
        """All variables that a step changes, by what they are."""
        of_generator, of_discriminator = self.optimizers
        return {
            "generator": self.generator.variables,
            "discriminator": self.discriminator.variables,
            "averaged": self.averaged.variables,
            "generator_optimizer": of_generator.variables,
            "discriminator_optimizer": of_discriminator.variables,
        }


def _rate(gan: GanRecipe, rate: float) -> Any:
    if gan.decay == 1.0:
        return rate
    return keras.optimizers.schedules.PolynomialDecay(
        rate, gan.steps, end_learning_rate=rate * gan.decay
    )


def share(gan: GanRecipe, step: Any, minimum: Callable[[Any, Any], Any]) -> Any:
    """How much of the average is kept at a step, from 0: less at first, when the weights are still
    far away."""
    return minimum(gan.average, (1.0 + step) / (10.0 + step))


class Pair(Protocol):
    """Both networks in training."""

    networks: GanState

    @property
    def compilations(self) -> int:
        """How often the step was compiled."""

    def steps(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Train by some steps: each array has them along its second axis. Gives (steps, 4) of TOLD,
        which is not waited for."""

    def sample(self, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n, side, side, channels) uint8 of the averaged generator, for one n."""

    def pull(self) -> None:
        """Bring the state into the variables of the networks."""

    def push(self) -> None:
        """Take the state from those variables."""


def make(device: Device, networks: GanState) -> Pair:
    """The pair on the devices that were found."""
    if device.backend == "jax":
        from trainer.gan.pair_on_jax import PairOnJax

        return PairOnJax(networks)
    from trainer.gan.pair_on_tensorflow import PairOnTensorFlow

    return PairOnTensorFlow(networks)


def draw(gan: GanRecipe, *, seed: int, step: int, side: int, classes: int) -> dict[str, np.ndarray]:
    """What a step needs besides the real images: new latent vectors for each phase, classes for the
    second, augmentation.

    Depends on the seed and the step alone, so that a training may go on from anywhere.
    """
    random = np.random.default_rng([seed, step])
    size = (gan.batch_size, gan.latent)
    return {
        "latent_first": random.standard_normal(size, dtype=np.float32),
        "latent_second": random.standard_normal(size, dtype=np.float32),
        "labels_second": random.integers(0, classes, gan.batch_size, dtype=np.int32),
        **diffaugment.draw(gan.diffaugment, random, images=gan.batch_size, side=side),
    }


def stacked(steps: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays of some steps as one of each, the steps along the second axis: the first is cut over
    the devices."""
    return {name: np.stack([arrays[name] for arrays in steps], axis=1) for name in steps[0]}


def state(pair: Pair) -> dict[str, list[np.ndarray]]:
    """All that a step changes, as arrays."""
    pair.pull()
    return {
        name: [np.array(variable) for variable in group]
        for name, group in pair.networks.groups().items()
    }


def restore(pair: Pair, arrays: Mapping[str, list[np.ndarray]]) -> None:
    """Go back to what `state` gave."""
    for name, group in pair.networks.groups().items():
        for variable, value in zip(group, arrays[name], strict=True):
            variable.assign(value)
    pair.push()


def pixels(images: Any) -> np.ndarray:
    """Images of -1 to 1 as uint8.

    Raises:
        TrainingError: they are no numbers.
    """
    found = np.asarray(images)
    if not np.isfinite(found).all():
        raise TrainingError(
            "divergence: the generator's images are no numbers: lower gan.generator_rate and"
            " gan.discriminator_rate"
        )
    return np.clip(np.rint((found + 1.0) * 127.5), 0, 255).astype(np.uint8)
