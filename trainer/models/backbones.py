"""Backbones: from standardised pixels to a feature map."""

import importlib
from typing import Any

import keras

from trainer import runtime
from trainer.config import known_backbones
from trainer.config.known_backbones import IMAGENET_WEIGHTS, PUBLISHED_WEIGHTS
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.models import efficientnet_package

# Name of the backbone inside a member's network, by which its weights are found again.
NAME = "backbone"


def build(member: Member, *, side: int, channels: int) -> keras.Model:
    """Build the backbone of a recipe, from (side, side, channels) standardised pixels to a feature
    map.

    It has published weights if the recipe names them (`imagenet`, `noisy-student`). If these expect
    blue first, the network itself reverses the channels.

    Args:
        member: the recipe.
        side: side of the images in pixels.
        channels: channels of the images.

    Raises:
        TrainingError: a function does not exist or returns no feature map, or weights cannot be
            downloaded.
    """
    pixels = keras.Input((side, side, channels), name="standardised")
    if member.backbone == "cnn":
        features = _cnn(pixels, member)
    elif known_backbones.is_function(member.backbone):
        features = _function(member.backbone)(pixels)
        if len(getattr(features, "shape", ())) != 4:
            raise TrainingError(
                f"member {member.name!r}: {member.backbone} returned {features!r}: it must return a"
                " feature map of (batch, height, width, channels)"
            )
    elif known_backbones.of_package(member.backbone):
        return _of_package(member, side, channels)
    else:
        return _of_keras(member, pixels)
    return keras.Model(pixels, features, name=NAME)


def _cnn(pixels: Any, member: Member) -> Any:
    """Build a plain convolutional network: one 3 x 3 convolution per entry of `filters` and
    `strides`, the first with `first_kernel`.

    A stride at the start keeps the large feature maps cheap, and without batch normalisation a step
    on a CPU takes about half the time. At this depth He's initialisation (He et al.,
    arXiv:1502.01852, section 2.2) is sufficient for training.

    Returns:
        (batch, height', width', filters[-1]); both sides are divided by the product of the strides
        and rounded up.
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
    runtime.search_working_folder()
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        package = module.partition(".")[0]
        own = (
            f" ({package} is a package of Foldline: rename yours)"
            if package in ("trainer", "components", "pipelines", "foldline")
            else ""
        )
        raise TrainingError(
            f"backbone = {name!r}: {error}: is it installed where training runs?{own}"
        ) from None


def _of_keras(member: Member, pixels: Any) -> keras.Model:
    """Build a network of keras.applications, without its own preprocessing."""
    family = known_backbones.family(member.backbone)
    assert family is not None, member.backbone  # the recipe was checked
    options: dict[str, Any] = (
        {"include_preprocessing": False} if family.optional_preprocessing else {}
    )
    weights = IMAGENET_WEIGHTS if member.weights == IMAGENET_WEIGHTS else None
    make = getattr(keras.applications, member.backbone)
    shape = tuple(pixels.shape[1:])
    network = _downloading(
        member, lambda: make(include_top=False, weights=weights, input_shape=shape, **options)
    )
    inputs = (
        _before_efficientnet(network)(pixels)
        if member.backbone.startswith("EfficientNetB")
        else pixels
    )
    if family.pixels.bgr:
        inputs = keras.ops.flip(inputs, axis=-1)
    return keras.Model(pixels, network(inputs), name=NAME)


def _before_efficientnet(network: keras.Model) -> keras.layers.Layer:
    """Return a layer that undoes the preprocessing of EfficientNet B0 to B7 of keras.applications,
    which cannot be switched off.

    The preprocessing divides by 255, normalises with two weights, and with ImageNet's weights
    divides again by the roots of ImageNet's deviations. The two weights are made neutral here, and
    the layer multiplies by the inverse of both factors, so that the first convolution receives the
    input of this layer.
    """
    factor: Any = 255.0
    neutralise(network)
    for layer in network.layers[1:5]:
        if isinstance(layer, keras.layers.Rescaling) and isinstance(layer.scale, list | tuple):
            factor = [255.0 / scale for scale in layer.scale]
    return keras.layers.Rescaling(factor, name="as_given")


def neutralise(network: keras.Model) -> None:
    """Make the normalisation at the start of a network the identity, even if a file of weights
    brought its own."""
    for layer in network.layers[1:5]:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign(keras.ops.zeros_like(layer.adapt_mean))
            layer.adapt_variance.assign(keras.ops.ones_like(layer.adapt_variance))
            layer.finalize_state()


def _of_package(member: Member, side: int, channels: int) -> keras.Model:
    """Build a network of the package efficientnet."""
    weights = member.weights if member.weights in PUBLISHED_WEIGHTS else None
    network = _downloading(
        member,
        lambda: efficientnet_package.build(
            member.backbone, weights=weights, shape=(side, side, channels)
        ),
    )
    return keras.Model(network.inputs[0], network.outputs[0], name=NAME)


def _downloading(member: Member, build: Any) -> Any:
    """Call `build`; a failure to download weights becomes an error that says what to do."""
    try:
        return build()
    except TrainingError:
        raise
    except (OSError, ValueError) as error:
        # Keras wraps a failed download, and a file with another digest, in plain exceptions.
        raise TrainingError(
            f"member {member.name!r}: backbone {member.backbone!r} with weights {member.weights!r}"
            f" could not be built: {error}"
        ) from None
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise TrainingError(
            f"member {member.name!r}: weights = {member.weights!r} could not be downloaded:"
            f" {error}. Without a network connection, name a file: weights = 'path/to/file.h5'"
        ) from None
