"""A member's network: pixel statistics, backbone, head; and how it is compiled."""

import keras
import numpy as np

from trainer.backbones import cnn
from trainer.competition import Member


@keras.saving.register_keras_serializable("foldline")
class Standardize(keras.layers.Layer):
    """(pixels - mean) / std, a channel. Both are weights: a fold brings its own without the graph being built again."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        channels = (input_shape[-1],)
        self.mean = self.add_weight(shape=channels, initializer="zeros", trainable=False, name="mean")
        self.std = self.add_weight(shape=channels, initializer="ones", trainable=False, name="std")

    def call(self, pixels):  # type: ignore[no-untyped-def]  # a backend tensor
        return (pixels - self.mean) / self.std


def build(
    member: Member, *, classes: int, size: int, channels: int, mean: np.ndarray, std: np.ndarray, seed: int
) -> keras.Model:
    """A freshly initialised network from pixels to logits.

    Args:
        member: the recipe.
        mean, std: (channels,) statistics of the fold's training pixels, in 0 to 255.
        seed: decides every initial weight and every dropout mask.

    Returns:
        a model from (batch, size, size, channels) float32 pixels in 0 to 255 to (batch, classes) float32 logits.
    """
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((size, size, channels), name="pixels")
    standardize = Standardize(name="standardize")
    features = cnn(standardize(pixels), member)
    if member.pooling == "average":
        features = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    else:
        features = keras.layers.Flatten(name="flatten")(features)
    features = keras.layers.Dropout(member.dropout, seed=seed, name="dropout")(features)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(features)
    model = keras.Model(pixels, logits, name=member.name.replace("-", "_"))
    # A channel that never varies has nothing to scale: leave it, instead of dividing by nought.
    standardize.set_weights([mean, np.where(std > 0, std, 1.0)])
    return model


def compile_for(model: keras.Model, member: Member, *, steps_per_epoch: int) -> None:
    """Compile with AdamW, linear warm-up and a cosine decay to a hundredth of the learning rate (stepwise)."""
    warmup = round(member.warmup_epochs * steps_per_epoch)
    schedule = keras.optimizers.schedules.CosineDecay(
        member.learning_rate / 20,
        max(1, member.epochs * steps_per_epoch - warmup),
        alpha=0.01,
        warmup_target=member.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=member.weight_decay)
    # Built before the first step, which then comes twice as soon.
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=member.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA's depthwise convolutions are several times slower on a CPU, and its plain ones no faster.
        jit_compile=False,
    )
