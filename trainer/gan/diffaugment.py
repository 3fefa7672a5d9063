"""Differentiable augmentation, which both real and generated images pass before the discriminator
sees them.

After Zhao et al., arXiv:2006.10738, section 3 and appendix: colour (brightness, saturation,
contrast), translation by up to an eighth of the side, and a square of half the side cut out. What
is drawn is drawn on the host, from the seed and the step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

# The three times that a step shows images: real ones, and generated ones to each network.
PARTS = ("real", "first", "second")


def draw(
    kinds: Sequence[str], random: np.random.Generator, *, images: int, side: int
) -> dict[str, np.ndarray]:
    """What `apply` needs for all parts of a step: (images, …) float32 or int32 arrays, by
    "kind_part"."""
    drawn: dict[str, Any] = {}
    for part in PARTS:
        if "color" in kinds:
            # Brightness, added; factors of saturation and of contrast.
            low, high = (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5)
            drawn[f"color_{part}"] = random.uniform(low, high, (images, 3)).astype(np.float32)
        if "translation" in kinds:
            most = round(side / 8)
            drawn[f"translation_{part}"] = random.integers(
                -most, most + 1, (images, 2), dtype=np.int32
            )
        if "cutout" in kinds:
            # Its middle; near the edge a part of the square lies outside.
            drawn[f"cutout_{part}"] = random.integers(0, side + 1, (images, 2), dtype=np.int32)
    return drawn


def apply(images: Any, arrays: Mapping[str, Any], part: str) -> Any:
    """(n, side, side, channels) float32 in -1 to 1, changed as drawn; what comes in from outside,
    or is cut out, is 0."""
    side = images.shape[1]
    if f"color_{part}" in arrays:
        drawn = ops.reshape(arrays[f"color_{part}"], (-1, 3, 1, 1, 1))
        images = images + drawn[:, 0]
        grey = ops.mean(images, axis=3, keepdims=True)
        images = (images - grey) * drawn[:, 1] + grey
        middle = ops.mean(images, axis=(1, 2, 3), keepdims=True)
        images = (images - middle) * drawn[:, 2] + middle
    if f"translation_{part}" in arrays:
        shifts = arrays[f"translation_{part}"]
        # A row of each matrix has a one where the pixel comes from: products suit a TPU, a gather
        # does not.
        down, across = (_moved(shifts[:, axis], side) for axis in (0, 1))
        images = ops.einsum("nij,njwc->niwc", down, images)
        images = ops.einsum("nij,nhjc->nhic", across, images)
    if f"cutout_{part}" in arrays:
        middles = arrays[f"cutout_{part}"]
        rows, columns = (_inside(middles[:, axis], side) for axis in (0, 1))
        hidden = rows[:, :, None] * columns[:, None, :]
        images = images * (1.0 - hidden[..., None])
    return images


def _moved(shift: Any, side: int) -> Any:
    places = ops.arange(side, dtype="int32")
    wanted = places[None, :, None] - ops.reshape(shift, (-1, 1, 1))
    return ops.cast(ops.equal(wanted, places[None, None, :]), "float32")


def _inside(middle: Any, side: int) -> Any:
    """(n, side) ones where a square of half the side about `middle` lies."""
    away = ops.arange(side, dtype="int32")[None, :] - ops.reshape(middle, (-1, 1))
    inside = ops.logical_and(ops.greater_equal(away, -(side // 4)), ops.less(away, side // 4))
    return ops.cast(inside, "float32")
