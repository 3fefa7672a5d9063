"""Initial weights from files: another run's member, Keras's own formats, and those of the package
efficientnet."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer.config import known_backbones
from trainer.config.member import Member
from trainer.errors import TrainingError
from trainer.models.backbones import NAME, neutralise

# Weights without a head (Xie et al., arXiv:1911.04252), converted to Keras by the authors of the
# package efficientnet 1.1.1, and the MD5 digests that the package lists.
_NOISY_STUDENT_URL = "https://github.com/qubvel/efficientnet/releases/download/v0.0.1/"
_NOISY_STUDENT_MD5 = {
    "efficientnet-b0": "a5b48ae7547fc990c7e4f3951230290d",
    "efficientnet-b1": "4d35baa41ca36f175506a33918f7e334",
    "efficientnet-b2": "e496e531f41242598288ff3a4b4199f9",
    "efficientnet-b3": "47da5b154de1372b557a65795d3e6135",
    "efficientnet-b4": "47c10902a4949eec589ab92fe1c35ed8",
    "efficientnet-b5": "4d53ef3544d4114e2d8080d6d777a74c",
    "efficientnet-b6": "71f96d7e15d9f891f3729b4f4e701f77",
    "efficientnet-b7": "e112b00c464fe929b821edbb35d1af55",
}


def initialise(model: keras.Model, member: Member, path: str) -> str:
    """Load the weights that a recipe starts from, unless its backbone already came with them.

    Args:
        model: as `classifier.build` returns it.
        member: the recipe.
        path: a local file of weights; "" for those that the recipe names, if any.

    Returns:
        what `load` returns; "" if nothing was loaded.

    Raises:
        TrainingError: as `load`.
    """
    if not path and member.weights == known_backbones.NOISY_STUDENT:
        # The package's own networks come with them.
        own = known_backbones.of_package(member.backbone)
        path = "" if own else noisy_student(member)
    return load(model, member, path) if path else ""


def load(model: keras.Model, member: Member, path: str) -> str:
    """Load the weights of a file into a network, as far as they fit: the heads may differ, the
    backbones may not.

    Args:
        model: the network, built.
        member: its recipe, for the error.
        path: a model (.keras, layers are matched by name), the weights of a backbone (.weights.h5),
            or weights of an older Keras (.h5, layers are matched by name).

    Returns:
        a line that says how many weights of the backbone the file has set.

    Raises:
        TrainingError: the file does not exist or cannot be read, or nothing in it fits the
            backbone.
    """
    backbone = model.get_layer(NAME)
    before = [np.array(variable) for variable in backbone.variables]
    try:
        if path.endswith(".keras"):
            _by_layer(keras.models.load_model(path, compile=False, safe_mode=True), model)
        elif path.endswith(".weights.h5"):
            backbone.load_weights(path, skip_mismatch=True)
        else:
            for part in (
                backbone,
                *(layer for layer in backbone.layers if isinstance(layer, keras.Model)),
            ):
                part.load_weights(path, by_name=True, skip_mismatch=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"member {member.name!r}: weights = {path!r}: {error}") from None
    for part in backbone.layers:
        if isinstance(part, keras.Model):
            neutralise(part)
    # Backbone variables that no file sets, such as the seeds of dropout, stay the same.
    same = [
        np.array_equal(old, np.array(new))
        for old, new in zip(before, backbone.variables, strict=True)
    ]
    if all(same):
        raise TrainingError(
            f"member {member.name!r}: weights = {path!r}: no weights in it fit backbone ="
            f" {member.backbone!r}: is it from the same network?"
        )
    return (
        f"{member.name}: {len(same) - sum(same)} of {len(same)} backbone weights from"
        f" {Path(path).name}"
    )


def _by_layer(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of layers that have the same name and shapes in both models.

    The standardisation of pixels is not copied, because the recipe determines it.
    """
    sources = dict(_leaves(source))
    for name, layer in _leaves(target):
        weights = sources[name].get_weights() if name in sources and name != "standardize" else []
        if weights and [w.shape for w in weights] == [w.shape for w in layer.get_weights()]:
            layer.set_weights(weights)


def _leaves(model: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the layers that have weights, named with the models that contain them, except for the
    outermost."""
    leaves: list[tuple[str, Any]] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            leaves += _leaves(layer, f"{prefix}{layer.name}/")
        else:
            leaves.append((prefix + layer.name, layer))
    return leaves


def noisy_student(member: Member) -> str:
    """Return the path of the noisy-student weights of an EfficientNet, downloaded if necessary.

    The package efficientnet published them; they also fit the EfficientNets of keras.applications.

    Raises:
        TrainingError: they cannot be downloaded.
    """
    name = member.backbone.rpartition("/")[2].lower().replace("efficientnetb", "efficientnet-b")
    file = f"{name}_noisy-student_notop.h5"
    digest = _NOISY_STUDENT_MD5[name]
    try:
        path: str = keras.utils.get_file(
            file, _NOISY_STUDENT_URL + file, cache_subdir="models", file_hash=digest
        )
    except Exception as error:  # noqa: BLE001
        # Keras raises a bare Exception for a failed download.
        raise TrainingError(
            f"member {member.name!r}: weights = 'noisy-student' could not be downloaded: {error}."
            f" Without a network connection, name a file: weights = 'path/to/{file}'"
        ) from None
    return path
