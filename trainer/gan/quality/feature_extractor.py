"""The networks that judge samples: their features, and the classes that they assign to images."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from trainer.config.gan import Features
from trainer.config.known_backbones import is_published
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.events import emit
from trainer.models import classifier, pretrained  # a saved model finds its layers there

_BATCH = 250


class Judge:
    """A network that returns features of images, and logits if it is a classifier."""

    def __init__(self, inner: keras.Model, *, logits: bool) -> None:
        """
        Args:
            inner: from (n, side, side, channels) float32 pixels of 0 to 255 to features, or to
                [features, logits].
            logits: whether `inner` also returns logits.
        """
        self.inner, self.logits = inner, logits
        _, self.side, _, self.channels = inner.inputs[0].shape

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (n, d) float32 features of images, and (n, classes) logits or None.

        Grey images are repeated for a network of three channels; images of another side are
        resized.

        Args:
            images: (n, side, side, channels) uint8.
        """
        features, logits = [], []
        for first in range(0, len(images), _BATCH):
            batch = images[np.minimum(np.arange(first, first + _BATCH), len(images) - 1)]
            outputs = self.inner.predict_on_batch(self._fitted(batch))
            count = min(_BATCH, len(images) - first)
            tensors = outputs if self.logits else [outputs]
            features.append(np.asarray(tensors[0], dtype=np.float32)[:count].reshape(count, -1))
            if self.logits:
                logits.append(np.asarray(tensors[1], dtype=np.float32)[:count])
        return np.concatenate(features), np.concatenate(logits) if self.logits else None

    def _fitted(self, images: np.ndarray) -> np.ndarray:
        if self.channels == 3 and images.shape[3] == 1:
            images = np.repeat(images, 3, axis=3)
        pixels = images.astype(np.float32)
        if self.side is not None and images.shape[1] != self.side:
            pixels = np.asarray(
                keras.ops.image.resize(pixels, (self.side, self.side), interpolation="bilinear")
            )
        return pixels


def of_model(path: str | Path, *, classes: int = 0) -> Judge:
    """Load a saved classifier; its features are the input of its last dense layer.

    Args:
        path: the model (.keras).
        classes: if its outputs have this number of classes, they are the judge's logits; 0 for no
            logits.

    Raises:
        TrainingError: the file cannot be read, does not take images alone, or has no dense layer.
    """
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path}: is not a readable model: {error}") from None
    shapes = [tuple(one.shape) for one in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise TrainingError(
            f"{path}: has inputs {shapes}; expected images alone, (n, side, side, channels)"
        )
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise TrainingError(
            f"{path}: has no dense layer, so it is unknown which of its layers returns features"
        )
    # A layer that is called several times, as for several dropout masks, gets the same features
    # each time: those of the first call count.
    features = dense[-1].input
    if classes and model.output_shape[-1] == classes:
        return Judge(keras.Model(model.inputs, [features, model.outputs[0]]), logits=True)
    return Judge(keras.Model(model.inputs, features), logits=False)


def named(
    features: Features,
    *,
    side: int,
    channels: int,
    judge: Judge,
    local_path: Callable[[str], str],
) -> Judge:
    """Return the network whose features are compared.

    Args:
        features: the section `[gan.features]`.
        side: side of the images in pixels.
        channels: channels of the images, 1 or 3.
        judge: the classifier that the pipeline trained; used if the file names no other network.
        local_path: returns a local path for a path or `gs://` URI.

    Raises:
        TrainingError: the file does not exist, or does not fit the images.
    """
    if not features.weights:
        return judge
    path = "" if is_published(features.weights) else local_path(features.weights)
    if path and not Path(path).is_file():
        raise TrainingError(f"gan.features.weights = {features.weights!r}: no such file")
    if not features.backbone:
        network = of_model(path)
        if network.channels not in (channels, 3):
            raise TrainingError(
                f"gan.features.weights = {features.weights!r}: takes images of {network.channels} "
                f"channels, but the data has {channels}"
            )
        return network
    side = features.size or side
    recipe = Member(
        name="features",
        backbone=features.backbone,
        weights=features.weights,
        size=side,
        normalise="backbone",
        epochs=1,
    )
    inputs = classifier.Inputs(side, channels, mean=np.zeros(channels), std=np.ones(channels))
    model = classifier.build(recipe, inputs, outputs=2, seed=0)
    if loaded := pretrained.initialise(model, recipe, path):
        emit("note", "train", loaded)
    return Judge(keras.Model(model.inputs, model.get_layer("pool").output), logits=False)
