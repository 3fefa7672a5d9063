"""A DCGAN: its generator and its discriminator.

After Radford, Metz and Chintala, arXiv:1511.06434, section 3: strided convolutions in place of
pooling, batch normalisation but at the image and the logit, ReLU in the generator and leaky ReLU in
the discriminator, tanh at the image, weights drawn with a deviation of 0.02. The class joins the
latent vector of the generator, and the discriminator's logit by a projection (Miyato and Koyama,
arXiv:1802.05637, equation 3).

Images are in -1 to 1 here, as tanh gives them.
"""

import math

import keras
from keras import layers, ops

from trainer.config.gan import GanRecipe
from trainer.gan.spectral_norm import Bounded

# The side of the first feature map of the generator, and the last of the discriminator.
_FIRST = 4
_SLOPE = 0.2
# Of batch normalisation's moving statistics. Keras's 0.99 would still hold the first steps' after
# hundreds.
_MOMENTUM = 0.9


def generator(gan: GanRecipe, *, side: int, channels: int, classes: int, seed: int) -> keras.Model:
    """From (batch, latent) float32 and (batch,) int32 class indices to (batch, side, side,
    channels) float32 in -1 to 1.

    Without `gan.conditional` the classes are taken and not used.
    """
    keras.config.set_dtype_policy(gan.precision)
    draw = _Draws(seed)
    latent = keras.Input((gan.latent,), dtype="float32", name="latent")
    labels = keras.Input((), dtype="int32", name="labels")
    # Of what the first layer gives the class then makes a fifth, and the latent vector the rest:
    # with more of it samples of a class came out alike, with a single one in a vector of a hundred
    # they were of any class for long.
    shown = (
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
    )(shown)
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
    return _done(keras.Model([latent, labels], image, name="generator"))


def discriminator(
    gan: GanRecipe, *, side: int, channels: int, classes: int, seed: int
) -> keras.Model:
    """From (batch, side, side, channels) float32 in -1 to 1 and (batch,) int32 class indices to
    (batch,) float32 logits, above 0 for real."""
    keras.config.set_dtype_policy(gan.precision)
    draw = _Draws(seed + 1)

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
    # In single precision: a sum over all features decides about one number.
    logit = bounded(layers.Dense(1, dtype="float32", kernel_initializer=draw(), name="logit"))(flat)
    if gan.conditional:
        pooled = ops.sum(ops.cast(x, "float32"), axis=(1, 2))
        # The rows of this matrix are the classes' embeddings; as a dense layer it can be bounded,
        # too.
        embed = layers.Dense(
            pooled.shape[-1],
            use_bias=False,
            dtype="float32",
            kernel_initializer=draw(),
            name="embed",
        )
        told = bounded(embed)(ops.one_hot(labels, classes))
        logit = layers.Add(dtype="float32", name="projected")(
            [logit, layers.Dot(1, dtype="float32", name="dot")([pooled, told])]
        )
    return _done(
        keras.Model(
            [image, labels],
            layers.Reshape((), dtype="float32", name="scalar")(logit),
            name="discriminator",
        )
    )


class _Draws:
    """Initial weights of a network's layers, each drawn by itself from the seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self.number = seed, 0

    def __call__(self) -> keras.initializers.Initializer:
        self.number += 1
        return keras.initializers.RandomNormal(stddev=0.02, seed=self.seed + 1000 * self.number)


def _doublings(side: int) -> int:
    return (side // _FIRST).bit_length() - 1


def _done(model: keras.Model) -> keras.Model:
    keras.config.set_dtype_policy("float32")
    return model
