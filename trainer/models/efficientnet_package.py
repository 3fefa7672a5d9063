"""The only module that uses the package `efficientnet`, an optional extra: its networks and its
weights.

The package was written for an older Keras. Its builders still work if they are passed the modules
that they used then, and if two of their functions are replaced (`tests/test_private_apis.py`).
"""

import contextlib
import importlib
import importlib.util
import types
from collections.abc import Iterator
from typing import Any

import keras

from trainer.config.known_backbones import PACKAGE_PREFIX
from trainer.errors import TrainingError


def build(backbone: str, *, weights: str | None, shape: tuple[int, int, int]) -> keras.Model:
    """Build one of the package's networks, from pixels to a feature map.

    Args:
        backbone: `efficientnet/EfficientNetB3` and the like.
        weights: "imagenet", "noisy-student", or None.
        shape: side, side and channels of the input.

    Raises:
        TrainingError: the package is not installed.
    """
    package = _package(backbone)
    with _for_keras_3(package):
        function = getattr(package, backbone.removeprefix(PACKAGE_PREFIX))
        return function(
            include_top=False,
            weights=weights,
            input_shape=shape,
            backend=types.SimpleNamespace(
                backend=keras.config.backend,
                image_data_format=keras.config.image_data_format,
                is_keras_tensor=keras.utils.is_keras_tensor,
            ),
            layers=types.SimpleNamespace(**vars(keras.layers)),
            models=keras.models,
            utils=keras.utils,
        )


def _package(backbone: str) -> Any:
    if importlib.util.find_spec("efficientnet") is None:
        raise TrainingError(
            f"backbone = {backbone!r} requires the package efficientnet: pip install"
            " '.[efficientnet]', or use the EfficientNets of keras.applications"
        )
    return importlib.import_module("efficientnet.model")


@contextlib.contextmanager
def _for_keras_3(package: Any) -> Iterator[None]:
    """Replace two functions of the package whose results a saved model could not find again."""
    before = package.get_swish, package.get_dropout
    package.get_swish = lambda **_: "swish"
    package.get_dropout = lambda **_: keras.layers.Dropout
    try:
        yield
    finally:
        package.get_swish, package.get_dropout = before
