"""Backbones: from standardised pixels to a feature map."""

import importlib
from typing import Any

import keras

from trainer.config import known_backbones
from trainer.config.known_backbones import PUBLISHED_WEIGHTS
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.models import efficientnet_package

# What a backbone is called inside a member's network, so that its weights are found again.
NAME = "backbone"


def build(member: Member, *, side: int, channels: int) -> keras.Model:
    """The backbone of a recipe, from (side, side, channels) standardised pixels to a feature map,
    with the weights that come with its name where the recipe asks for those (`imagenet`,
    `noisy-student`).

    Channels that weights want in another order are turned round inside.

    Raises:
        TrainingError: a named function is not there or gives no feature map; weights cannot be
            fetched.
    """
    pixels = keras.Input((side, side, channels), name="standardised")
    if member.backbone == "cnn":
        features = _cnn(pixels, member)
    elif known_backbones.is_function(member.backbone):
        features = _function(member.backbone)(pixels)
        if len(getattr(features, "shape", ())) != 4:
            raise TrainingError(
                f"member {member.name!r}: {member.backbone} gave {features!r}: it must give a"
                " feature map of (batch, height, width, channels)"
            )
    elif known_backbones.of_package(member.backbone):
        return _of_package(member, side, channels)
    else:
        return _of_keras(member, pixels)
    return keras.Model(pixels, features, name=NAME)


def _cnn(pixels: Any, member: Member) -> Any:
    """A plain convolutional net: one 3 x 3 convolution an entry of `filters` and `strides`, the
    first of `first_kernel`.

    Striding first keeps the large feature maps cheap, and without batch normalisation a step on a
    CPU takes about half the time; at this depth He's initialisation (He et al., arXiv:1502.01852,
    section 2.2) is enough to train it.

    Returns:
        (batch, height', width', filters[-1]), both sides divided by the product of the strides,
        rounded up.
    """
    for index, (filters, stride) in enumerate(
        zip(member.cnn.filters, member.cnn.strides, strict=True)
    ):
        pixels = keras.layers.Conv2D(
            filters,
            member.cnn.first_kernel if index == 0 else 3,
            strides=stride,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{index}",
        )(pixels)
    return pixels


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise TrainingError(
            f"backbone = {name!r}: {error}: is it installed where training runs?"
        ) from None


def _of_keras(member: Member, pixels: Any) -> keras.Model:
    """One of keras.applications, without its own preprocessing."""
    family = known_backbones.family(member.backbone)
    assert family is not None, member.backbone  # the recipe was checked
    options: dict[str, Any] = (
        {"include_preprocessing": False} if family.optional_preprocessing else {}
    )
    weights = "imagenet" if member.weights == "imagenet" else None
    make = getattr(keras.applications, member.backbone)
    shape = tuple(pixels.shape[1:])
    made = _fetching(
        member, lambda: make(include_top=False, weights=weights, input_shape=shape, **options)
    )
    shown = (
        _before_efficientnet(made)(pixels)
        if member.backbone.startswith("EfficientNetB")
        else pixels
    )
    if family.pixels.bgr:
        shown = keras.ops.flip(shown, axis=-1)
    return keras.Model(pixels, made(shown), name=NAME)


def _before_efficientnet(made: keras.Model) -> keras.layers.Layer:
    """What undoes the preprocessing that EfficientNet B0 to B7 of keras.applications cannot be
    built without.

    It divides by 255, normalises by two weights, and with ImageNet's weights divides again by the
    roots of ImageNet's deviations. The weights are made neutral here, and the two factors are
    multiplied away, so that the first convolution sees what it is given."""
    factor: Any = 255.0
    neutralise(made)
    for layer in made.layers[1:5]:
        if isinstance(layer, keras.layers.Rescaling) and isinstance(layer.scale, list | tuple):
            factor = [255.0 / scale for scale in layer.scale]
    return keras.layers.Rescaling(factor, name="as_given")


def neutralise(made: keras.Model) -> None:
    """Make the normalisation at the start of a network change nothing, also where a file of weights
    brought its own."""
    for layer in made.layers[1:5]:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign(keras.ops.zeros_like(layer.adapt_mean))
            layer.adapt_variance.assign(keras.ops.ones_like(layer.adapt_variance))
            layer.finalize_state()


def _of_package(member: Member, side: int, channels: int) -> keras.Model:
    """One of the package efficientnet."""
    weights = member.weights if member.weights in PUBLISHED_WEIGHTS else None
    network = _fetching(
        member,
        lambda: efficientnet_package.build(
            member.backbone, weights=weights, shape=(side, side, channels)
        ),
    )
    return keras.Model(network.inputs[0], network.outputs[0], name=NAME)


def _fetching(member: Member, build: Any) -> Any:
    """Call `build`; a failure to download weights becomes an error that says what to do."""
    try:
        return build()
    except TrainingError:
        raise
    except (OSError, ValueError) as error:
        # Keras wraps a failed download, and a file with another digest, in plain exceptions.
        raise TrainingError(
            f"member {member.name!r}: backbone {member.backbone!r} with weights {member.weights!r}"
            f" could not be made: {error}"
        ) from None
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise TrainingError(
            f"member {member.name!r}: weights = {member.weights!r} could not be fetched: {error}."
            " Where there is no network, name a file of them: weights = 'path/to/file.h5'"
        ) from None
