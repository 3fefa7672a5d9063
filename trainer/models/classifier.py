"""A member's network: pixel statistics, backbone, tabular tower, head; and its optimizer."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.config import known_backbones
from trainer.config.member import Member
from trainer.config.network import Head, Tabular
from trainer.models import backbones, normalisation

# Published layers for metadata: those of Ha, Liu and Liu, arXiv:2010.05351, section 3.
_PRESETS: dict[str, dict[str, Any]] = {
    "melanoma": {"layers": [512, 128], "batch_norm": True, "dropout": 0.3, "activation": "swish"}
}


@keras.saving.register_keras_serializable("foldline")
class Standardize(keras.layers.Layer):
    """Computes (pixels - mean) / std for each channel.

    Both are weights, so that a fold sets its own without rebuilding the graph.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = (input_shape[-1],)
        self.mean = self.add_weight(
            shape=channels, initializer="zeros", trainable=False, name="mean"
        )
        self.std = self.add_weight(shape=channels, initializer="ones", trainable=False, name="std")

    def call(self, pixels):  # type: ignore[no-untyped-def]  # a backend tensor
        return (pixels - self.mean) / self.std


@keras.saving.register_keras_serializable("foldline")
class GeneralisedMean(keras.layers.Layer):
    """Pooling by the mean of the p-th powers; p is learnt, starting at 3 (Radenović et al.,
    arXiv:1711.02512, equation 3)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.power = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(3.0), name="power"
        )

    def call(self, features):  # type: ignore[no-untyped-def]  # a backend tensor
        # Powers of small numbers underflow in half precision.
        features = ops.maximum(ops.cast(features, "float32"), 1e-6)
        pooled = ops.mean(ops.power(features, self.power), axis=(1, 2))
        return ops.cast(ops.power(pooled, 1 / ops.cast(self.power, "float32")), self.compute_dtype)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a network.

    Attributes:
        side: side of the images in pixels.
        channels: channels of the images, 1 or 3.
        mean: (channels,) mean of the fold's training pixels, 0 to 255.
        std: (channels,) standard deviation of the fold's training pixels.
        tabular: number of tabular inputs.
    """

    side: int
    channels: int
    mean: np.ndarray
    std: np.ndarray
    tabular: int = 0


def build(
    member: Member,
    inputs: Inputs,
    *,
    outputs: int,
    seed: int,
    steps: int = 0,
) -> keras.Model:
    """Build a freshly initialised network from pixels to logits.

    Args:
        member: the recipe.
        inputs: the images and their statistics.
        outputs: number of logits.
        seed: determines every initial weight and every dropout mask.
        steps: of the training, for the momentum of batch normalisation, unless the backbone is the
            user's own; 0 leaves it as it is.

    Returns:
        a model from (batch, side, side, channels) float32 pixels in 0 to 255, and (batch, tabular)
        values if there are any, to (batch, outputs) float32 logits.
    """
    _restart_layer_names()
    keras.config.set_dtype_policy(member.precision)
    keras.utils.set_random_seed(seed)
    side, channels = inputs.side, inputs.channels
    pixels = keras.Input((side, side, channels), dtype="float32", name="pixels")
    # Published weights are for three channels.
    colours = 3 if channels == 1 and member.backbone != "cnn" else channels
    images = pixels
    if colours > channels:
        images = keras.layers.Concatenate(name="three_channels")([pixels] * 3)
    standardize = Standardize(dtype="float32", name="standardize")
    backbone = backbones.build(member, side=side, channels=colours)
    features = _pooled(backbone(standardize(images)), member.head)
    tensors = [pixels]
    if inputs.tabular:
        columns = keras.Input((inputs.tabular,), dtype="float32", name="tabular")
        tensors.append(columns)
        tower = _tower(columns, member.tabular, seed)
        features = keras.layers.Concatenate(name="joined")([features, tower])
    logits = _logits(features, member.head, outputs, seed)
    name = member.name.replace("-", "_")
    model = keras.Model(tensors if inputs.tabular else pixels, logits, name=name)
    if steps:
        own = known_backbones.is_function(member.backbone)
        value = normalisation.momentum(steps)
        normalisation.set_momentum(model, value, leave=backbone if own else None)
    standardize.set_weights(_statistics(member, inputs, colours))
    return model


def _restart_layer_names() -> None:
    """Number unnamed layers from 1 again, so that files of weights fit the network of any fold."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session(free_memory=False)
    if distribution is not None:
        # It is part of the session.
        keras.distribution.set_distribution(distribution)


def _statistics(member: Member, inputs: Inputs, colours: int) -> list[np.ndarray]:
    """Mean and standard deviation, (colours,) each, in the order of the network's input."""
    mean, std = (np.resize(values, colours) for values in (inputs.mean, inputs.std))
    pixels = known_backbones.pixels(member.backbone, member.normalise, mean, std)
    # Channels are red, green, blue here; the backbone itself reverses them for weights that want
    # blue first.
    order = -1 if pixels.bgr else 1
    return [np.resize(values, colours)[::order] for values in (pixels.mean, pixels.std)]


def _pooled(features: Any, head: Head) -> Any:
    layers = {
        "average": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "gem": GeneralisedMean,
        "flatten": keras.layers.Flatten,
    }
    return layers[head.pooling](name="pool")(features)


def _tower(columns: Any, tabular: Tabular, seed: int) -> Any:
    """Apply dense layers to the tabular inputs: each with optional batch normalisation and its
    activation, and with dropout between them."""
    recipe = {**dataclasses.asdict(tabular), **_PRESETS.get(tabular.preset, {})}
    for index, size in enumerate(recipe["layers"]):
        columns = keras.layers.Dense(size, name=f"tabular{index}")(columns)
        if recipe["batch_norm"]:
            columns = keras.layers.BatchNormalization(name=f"tabular_norm{index}")(columns)
        columns = keras.layers.Activation(recipe["activation"], name=f"tabular_act{index}")(columns)
        if recipe["dropout"] and index < len(recipe["layers"]) - 1:
            columns = keras.layers.Dropout(
                recipe["dropout"], seed=seed + 200 + index, name=f"tabular_dropout{index}"
            )(columns)
    return columns


def _logits(features: Any, head: Head, outputs: int, seed: int) -> Any:
    for index, size in enumerate(head.hidden):
        features = keras.layers.Dropout(
            head.dropout, seed=seed + 100 + index, name=f"dropout{index}"
        )(features)
        features = keras.layers.Dense(
            size, activation="relu", kernel_initializer="he_normal", name=f"hidden{index}"
        )(features)
    last = keras.layers.Dense(outputs, dtype="float32", name="logits")
    # Several masks with the same weights (Inoue, arXiv:1905.09788, section 3).
    masked = [
        keras.layers.Dropout(head.dropout, seed=seed + n, name=f"dropout_last{n}")(features)
        for n in range(head.samples)
    ]
    logits = [last(features) for features in masked]
    return (
        logits[0]
        if len(logits) == 1
        else keras.layers.Average(dtype="float32", name="samples")(logits)
    )
