"""The networks that judge samples: their features, and the classes they take images for."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from trainer.config.gan import Features
from trainer.config.known_backbones import is_published
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.models import classifier  # a saved model finds its layers there

_BATCH = 250


class Judge:
    """A network that gives features of images, and logits where it is a classifier."""

    def __init__(self, inner: keras.Model, *, logits: bool) -> None:
        """
        Args:
            inner: from (n, side, side, channels) float32 pixels of 0 to 255 to features, or to
                [features, logits].
        """
        self.inner, self.logits = inner, logits
        _, self.side, _, self.channels = inner.inputs[0].shape

    def look(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(n, d) float32 features of (n, side, side, channels) uint8 images, and (n, classes)
        logits or None.

        Grey images are repeated for a network of colours; images of another side are enlarged or
        made smaller."""
        features, logits = [], []
        for first in range(0, len(images), _BATCH):
            some = images[np.minimum(np.arange(first, first + _BATCH), len(images) - 1)]
            given = self.inner.predict_on_batch(self._fitted(some))
            count = min(_BATCH, len(images) - first)
            found = given if self.logits else [given]
            features.append(np.asarray(found[0], dtype=np.float32)[:count].reshape(count, -1))
            if self.logits:
                logits.append(np.asarray(found[1], dtype=np.float32)[:count])
        return np.concatenate(features), np.concatenate(logits) if self.logits else None

    def _fitted(self, images: np.ndarray) -> np.ndarray:
        if self.channels == 3 and images.shape[3] == 1:
            images = np.repeat(images, 3, axis=3)
        shown = images.astype(np.float32)
        if self.side is not None and images.shape[1] != self.side:
            shown = np.asarray(
                keras.ops.image.resize(shown, (self.side, self.side), interpolation="bilinear")
            )
        return shown


def of_model(path: str | Path, *, classes: int = 0) -> Judge:
    """A saved classifier: the input of its last dense layer, and that layer's outputs where they
    are `classes`.

    Raises:
        TrainingError: it cannot be read, or has no dense layer.
    """
    try:
        whole = keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path}: is no model that can be read: {error}") from None
    shapes = [tuple(one.shape) for one in whole.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise TrainingError(f"{path}: takes {shapes}, not images alone: (n, side, side, channels)")
    dense = [layer for layer in whole.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise TrainingError(
            f"{path}: has no dense layer, so nothing says which of its layers are features"
        )
    # A layer that is called several times, as for several dropout masks, gets the same features
    # each time: those of the first call count.
    features = dense[-1].input
    if classes and whole.output_shape[-1] == classes:
        return Judge(keras.Model(whole.inputs, [features, whole.outputs[0]]), logits=True)
    return Judge(keras.Model(whole.inputs, features), logits=False)


def named(
    features: Features,
    *,
    side: int,
    channels: int,
    judge: Judge,
    local_path: Callable[[str], str],
) -> Judge:
    """The network in whose features samples are compared with real images.

    Args:
        features: the section `[gan.features]`.
        side: of the images in pixels.
        channels: of the images, 1 or 3.
        judge: the classifier that the pipeline trained; used if the file names no other network.
        local_path: returns a local path for a path or `gs://` URI.

    Raises:
        TrainingError: there is no such file, or it does not fit the images.
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
    whole = classifier.build(recipe, inputs, outputs=2, seed=0, weights=path)
    return Judge(keras.Model(whole.inputs, whole.get_layer("pool").output), logits=False)
