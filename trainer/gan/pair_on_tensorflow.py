"""The pair on TensorFlow: one device. By XLA, which a DCGAN's convolutions gain from, other than
those of the classifiers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.gan import networks as dcgan
from trainer.gan import state
from trainer.gan.state import GanState


class PairOnTensorFlow:
    """The state lives in the variables of the networks."""

    def __init__(self, networks: GanState) -> None:
        self.networks = networks
        gan, generator, discriminator = networks.gan, networks.generator, networks.discriminator
        of_generator, of_discriminator = networks.optimizers

        def generate(latent: Any, labels: Any) -> Any:
            return generator([latent, labels], training=True)

        def discriminate(images: Any, labels: Any) -> Any:
            return discriminator([images, labels], training=True)

        def one(arrays: Any) -> Any:
            """The discriminator's step, then the generator's before the discriminator as it is
            now."""
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in discriminator.trainable_variables])
                first, right = dcgan.discriminator_loss(gan, generate, discriminate, arrays)
            _apply(tape, first, of_discriminator, discriminator)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in generator.trainable_variables])
                second = dcgan.generator_loss(gan, generate, discriminate, arrays)
            step = tf.cast(of_generator.iterations.value, tf.float32)
            _apply(tape, second, of_generator, generator)
            kept = state.share(gan, step, tf.minimum)
            for average, variable in zip(
                networks.averaged.variables, generator.variables, strict=True
            ):
                average.assign(kept * average.value + (1.0 - kept) * variable.value)
            return tf.stack([first, second, right["real"], right["generated"]])

        @tf.function(jit_compile=True)
        def steps(arrays: Any) -> Any:
            count = next(iter(arrays.values())).shape[1]
            if count == 1:
                return one({name: values[:, 0] for name, values in arrays.items()})[None]
            told = tf.TensorArray(tf.float32, count, element_shape=(len(state.TOLD),))
            for number in tf.range(count):
                told = told.write(
                    number, one({name: values[:, number] for name, values in arrays.items()})
                )
            return told.stack()

        @tf.function(jit_compile=True)
        def sample(latent: Any, labels: Any) -> Any:
            return networks.averaged([latent, labels], training=False)

        self._steps, self._sample = steps, sample

    @property
    def compilations(self) -> int:
        return int(self._steps.experimental_get_tracing_count())

    def steps(self, arrays: Mapping[str, np.ndarray]) -> Any:
        return self._steps({name: tf.convert_to_tensor(values) for name, values in arrays.items()})

    def sample(self, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return state.pixels(
            self._sample(tf.convert_to_tensor(latent), tf.convert_to_tensor(labels))
        )

    def pull(self) -> None:
        """Nothing: the state is there already."""

    def push(self) -> None:
        """Nothing: the state is there already."""


def _apply(tape: Any, loss: Any, optimizer: Any, network: Any) -> None:
    variables = network.trainable_variables
    optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
