"""A member's network: pixel statistics, backbone, tabular tower, head; and its optimizer."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.utils.naming import reset_uids  # nothing public does this

from trainer.config import known_backbones
from trainer.config.member import Head, Member, Tabular
from trainer.models import backbones, pretrained

# Towers for metadata that others have published: that of Ha, Liu and Liu, arXiv:2010.05351, section
# 3.
_PRESETS: dict[str, dict[str, Any]] = {
    "melanoma": {"layers": [512, 128], "batch_norm": True, "dropout": 0.3, "activation": "swish"}
}


@keras.saving.register_keras_serializable("foldline")
class Standardize(keras.layers.Layer):
    """(pixels - mean) / std, a channel. Both are weights: a fold brings its own without the graph
    being built again."""

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
    """Pooling by the mean of the p-th powers, p learnt from 3 (Radenović et al., arXiv:1711.02512,
    equation 3)."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.power = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(3.0), name="power"
        )

    def call(self, features):  # type: ignore[no-untyped-def]  # a backend tensor
        # Powers of small numbers underflow in half precision.
        features = ops.maximum(ops.cast(features, "float32"), 1e-6)
        pooled = ops.mean(ops.power(features, self.power), axis=(1, 2))
        return ops.cast(ops.power(pooled, 1 / ops.cast(self.power, "float32")), self.compute_dtype)


def build(
    member: Member,
    *,
    outputs: int,
    size: int,
    channels: int,
    tabular: int = 0,
    mean: np.ndarray,
    std: np.ndarray,
    seed: int,
    weights: str = "",
) -> keras.Model:
    """A freshly initialised network from pixels to logits.

    Args:
        member: the recipe.
        outputs: how many logits.
        size: side of the images that the network sees.
        tabular: how many tabular inputs there are.
        mean, std: (channels,) statistics of the fold's training pixels, in 0 to 255.
        seed: decides every initial weight and every dropout mask.
        weights: a file near by to begin with, "" for none besides what the recipe names.

    Returns:
        a model from (batch, size, size, channels) float32 pixels in 0 to 255, and (batch, tabular)
        values where there are some, to (batch, outputs) float32 logits.
    """
    keras.config.set_dtype_policy(member.precision)
    keras.utils.set_random_seed(seed)
    # Layers without a name get the same ones in each build, so that files of weights fit every
    # fold's network alike.
    reset_uids()
    pixels = keras.Input((size, size, channels), dtype="float32", name="pixels")
    # Weights of others are for three channels.
    wanted = 3 if channels == 1 and member.backbone != "cnn" else channels
    shown = (
        keras.layers.Concatenate(name="three_channels")([pixels] * 3)
        if wanted > channels
        else pixels
    )
    standardize = Standardize(dtype="float32", name="standardize")
    backbone = backbones.build(member, side=size, channels=wanted)
    features = backbone(standardize(shown))
    features = _pooled(features, member.head)
    inputs = [pixels]
    if tabular:
        columns = keras.Input((tabular,), dtype="float32", name="tabular")
        inputs.append(columns)
        features = keras.layers.Concatenate(name="joined")(
            [features, _tower(columns, member.tabular, seed)]
        )
    logits = _logits(features, member.head, outputs, seed)
    model = keras.Model(inputs if tabular else pixels, logits, name=member.name.replace("-", "_"))
    repeated = (np.resize(values, wanted) for values in (mean, std))
    wanted_pixels = known_backbones.pixels(member.backbone, member.normalise, *repeated)
    # Weights that want blue first are given it inside the backbone: here channels are red, green,
    # blue.
    order = -1 if wanted_pixels.bgr else 1
    standardize.set_weights(
        [np.resize(values, wanted)[::order] for values in (wanted_pixels.mean, wanted_pixels.std)]
    )
    if weights:
        pretrained.load(model, member, weights)
    elif member.weights == "noisy-student" and not known_backbones.of_package(member.backbone):
        pretrained.load(model, member, pretrained.noisy_student(member))
    return model


def _pooled(features: Any, head: Head) -> Any:
    layers = {
        "average": keras.layers.GlobalAveragePooling2D,
        "max": keras.layers.GlobalMaxPooling2D,
        "gem": GeneralisedMean,
        "flatten": keras.layers.Flatten,
    }
    return layers[head.pooling](name="pool")(features)


def _tower(columns: Any, tabular: Tabular, seed: int) -> Any:
    """The tabular inputs through dense layers, each with batch normalisation where asked for, its
    activation, and dropout between them."""
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
    # Several masks at once, the same weights (Inoue, arXiv:1905.09788, section 3).
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


def optimizer(member: Member, *, head_only: bool) -> keras.optimizers.Optimizer:
    """The optimizer of a recipe, its learning rate a variable that each step sets.

    Args:
        head_only: for the epochs in which the backbone is frozen.
    """
    recipe = member.optimizer
    options: dict[str, Any] = {
        "learning_rate": member.head_learning_rate if head_only else recipe.learning_rate,
        "global_clipnorm": recipe.clip_norm or None,
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
        "use_ema": recipe.average > 0,
        "ema_momentum": recipe.average or 0.99,
    }
    if recipe.kind == "adam":
        made = keras.optimizers.Adam(**options)
    elif recipe.kind == "adamw":
        made = keras.optimizers.AdamW(weight_decay=recipe.weight_decay, **options)
    else:
        made = keras.optimizers.SGD(
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            weight_decay=recipe.weight_decay or None,
            **options,
        )
    if recipe.kind != "adam":
        made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "power"])
    if member.precision == "mixed_float16":
        made = keras.optimizers.LossScaleOptimizer(made)
    return made
