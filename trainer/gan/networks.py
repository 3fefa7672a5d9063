"""A DCGAN: its generator and its discriminator.

After Radford, Metz and Chintala, arXiv:1511.06434, section 3: strided convolutions instead of
pooling, batch normalisation except at the image and the logit, ReLU in the generator and leaky ReLU
in the discriminator, tanh at the image, initial weights with a standard deviation of 0.02. The
class is concatenated with the latent vector of the generator, and enters the discriminator's logit
by a projection (Miyato and Koyama, arXiv:1802.05637, equation 3).

Images are in -1 to 1 here, the range of tanh.
"""

import math

import keras
from keras import layers, ops

from trainer.config.gan import GanRecipe
from trainer.gan.spectral_norm import Bounded

# Side in pixels of the generator's first feature map, and of the discriminator's last.
_FIRST = 4
_SLOPE = 0.2
# Momentum of batch normalisation's moving statistics. With Keras's 0.99, those of the first steps
# would still count after hundreds of steps.
_MOMENTUM = 0.9


def generator(gan: GanRecipe, *, side: int, channels: int, classes: int, seed: int) -> keras.Model:
    """Build the generator.

    Args:
        gan: the section `[gan]`. Without `gan.conditional` the network accepts classes and ignores
            them.
        side: side of the images in pixels.
        channels: channels of the images.
        classes: number of classes.
        seed: determines the initial weights.

    Returns:
        a model from (batch, latent) float32 and (batch,) int32 class indices to (batch, side, side,
        channels) float32 in -1 to 1.
    """
    keras.config.set_dtype_policy(gan.precision)
    draw = _Initializers(seed)
    latent = keras.Input((gan.latent,), dtype="float32", name="latent")
    labels = keras.Input((), dtype="int32", name="labels")
    # With this factor the class contributes a fifth of the first layer's output, the latent vector
    # the rest. With a larger share, the samples of a class became alike; with an unscaled one-hot
    # vector next to a hundred latent values, samples ignored their class for a long time.
    inputs = (
        layers.Concatenate(name="told")(
            [latent, ops.one_hot(labels, classes) * (math.sqrt(gan.latent) / 2)]
        )
        if gan.conditional
        else latent
    )
    doublings = _doublings(side)
    channels_first = gan.width * 2 ** (doublings - 1)
    x = layers.Dense(
        _FIRST * _FIRST * channels_first, use_bias=False, kernel_initializer=draw(), name="project"
    )(inputs)
    x = layers.Reshape((_FIRST, _FIRST, channels_first), name="map")(x)
    x = layers.ReLU(name="relu0")(layers.BatchNormalization(momentum=_MOMENTUM, name="norm0")(x))
    for index in range(1, doublings):
        up = layers.Conv2DTranspose(
            gan.width * 2 ** (doublings - 1 - index),
            4,
            strides=2,
            padding="same",
            use_bias=False,
            kernel_initializer=draw(),
            name=f"up{index}",
        )
        x = layers.ReLU(name=f"relu{index}")(
            layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{index}")(up(x))
        )
    image = layers.Conv2DTranspose(
        channels, 4, strides=2, padding="same", kernel_initializer=draw(), name="image"
    )(x)
    image = layers.Activation("tanh", dtype="float32", name="tanh")(image)
    return _with_default_policy(keras.Model([latent, labels], image, name="generator"))


def discriminator(
    gan: GanRecipe, *, side: int, channels: int, classes: int, seed: int
) -> keras.Model:
    """Build the discriminator.

    Args:
        gan: the section `[gan]`.
        side: side of the images in pixels.
        channels: channels of the images.
        classes: number of classes.
        seed: determines the initial weights.

    Returns:
        a model from (batch, side, side, channels) float32 in -1 to 1 and (batch,) int32 class
        indices to (batch,) float32 logits, above 0 for real.
    """
    keras.config.set_dtype_policy(gan.precision)
    draw = _Initializers(seed + 1)

    def bounded(layer: keras.layers.Layer) -> keras.layers.Layer:
        return Bounded(layer, name=f"{layer.name}_bounded") if gan.spectral_norm else layer

    image = keras.Input((side, side, channels), dtype="float32", name="image")
    labels = keras.Input((), dtype="int32", name="labels")
    x = image
    for index in range(_doublings(side)):
        normalised = index > 0 and not gan.spectral_norm
        down = layers.Conv2D(
            gan.width * 2**index,
            4,
            strides=2,
            padding="same",
            use_bias=not normalised,
            kernel_initializer=draw(),
            name=f"down{index}",
        )
        x = bounded(down)(x)
        if normalised:
            x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{index}")(x)
        x = layers.LeakyReLU(_SLOPE, name=f"leaky{index}")(x)
    flat = layers.Flatten(name="flat")(x)
    # In single precision, because one number is a sum over all features.
    logit = bounded(layers.Dense(1, dtype="float32", kernel_initializer=draw(), name="logit"))(flat)
    if gan.conditional:
        pooled = ops.sum(ops.cast(x, "float32"), axis=(1, 2))
        # The rows of this matrix are the embeddings of the classes; as a dense layer it can be
        # bounded, too.
        embed = layers.Dense(
            pooled.shape[-1],
            use_bias=False,
            dtype="float32",
            kernel_initializer=draw(),
            name="embed",
        )
        embedding = bounded(embed)(ops.one_hot(labels, classes))
        logit = layers.Add(dtype="float32", name="projected")(
            [logit, layers.Dot(1, dtype="float32", name="dot")([pooled, embedding])]
        )
    return _with_default_policy(
        keras.Model(
            [image, labels],
            layers.Reshape((), dtype="float32", name="scalar")(logit),
            name="discriminator",
        )
    )


class _Initializers:
    """Random initialisers of a network's layers, each with its own seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.number = seed, 0

    def __call__(self) -> keras.initializers.Initializer:
        self.number += 1
        return keras.initializers.RandomNormal(stddev=0.02, seed=self.seed + 1000 * self.number)


def _doublings(side: int) -> int:
    """Return how many times the side of the first feature map is doubled to reach `side`."""
    return (side // _FIRST).bit_length() - 1


def _with_default_policy(model: keras.Model) -> keras.Model:
    """Return the model after resetting the dtype policy to float32."""
    keras.config.set_dtype_policy("float32")
    return model
