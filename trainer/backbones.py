"""Backbones: from standardised pixels to a feature map."""

from typing import Any

import keras

from trainer.competition import Member


def cnn(pixels: Any, member: Member) -> Any:
    """A plain convolutional net: one 3 x 3 convolution an entry of `filters` and `strides`, the first of `first_kernel`.

    Striding first keeps the large feature maps cheap, and without batch normalisation a step on a CPU takes about half
    the time; at this depth He's initialisation (He et al., arXiv:1502.01852, section 2.2) is enough to train it.

    Args:
        pixels: (batch, height, width, channels) standardised.

    Returns:
        (batch, height', width', filters[-1]), both sides divided by the product of the strides, rounded up.
    """
    for index, (filters, stride) in enumerate(zip(member.filters, member.strides, strict=True)):
        pixels = keras.layers.Conv2D(
            filters,
            member.first_kernel if index == 0 else 3,
            strides=stride,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{index}",
        )(pixels)
    return pixels
