"""Differentiable augmentation of real and generated images before the discriminator.

After Zhao et al., arXiv:2006.10738, section 3 and appendix: colour (brightness, saturation,
contrast), translation by up to an eighth of the side, and a square cutout of half the side. The
random values are drawn on the host, from the seed and the step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

# The three image batches of a step: real images, and generated ones for each network.
PARTS = ("real", "first", "second")


def draw(
    kinds: Sequence[str], random: np.random.Generator, *, images: int, side: int
) -> dict[str, np.ndarray]:
    """Draw what `apply` needs for all parts of a step.

    Args:
        kinds: any of "color", "translation" and "cutout".
        random: the generator of random numbers.
        images: number of images per part.
        side: side of the images in pixels.

    Returns:
        float32 or int32 arrays by "kind_part", each with one row per image.
    """
    drawn: dict[str, Any] = {}
    for part in PARTS:
        if "color" in kinds:
            # Brightness is added; saturation and contrast are factors.
            low, high = (-0.5, 0.0, 0.5), (0.5, 2.0, 1.5)
            drawn[f"color_{part}"] = random.uniform(low, high, (images, 3)).astype(np.float32)
        if "translation" in kinds:
            largest = round(side / 8)
            drawn[f"translation_{part}"] = random.integers(
                -largest, largest + 1, (images, 2), dtype=np.int32
            )
        if "cutout" in kinds:
            # The centre of the square; near the edge a part of the square is outside the image.
            drawn[f"cutout_{part}"] = random.integers(0, side + 1, (images, 2), dtype=np.int32)
    return drawn


def apply(images: Any, arrays: Mapping[str, Any], part: str) -> Any:
    """Augment images with drawn values; pixels from outside the image and in the cutout are 0.

    Args:
        images: (n, side, side, channels) float32 in -1 to 1.
        arrays: as `draw` returns them.
        part: one of PARTS.

    Returns:
        (n, side, side, channels) float32; colours may leave -1 to 1.
    """
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
        # Each row of a matrix has a one at the source pixel: a TPU is fast at products, not at
        # gathers.
        down, across = (_shift_matrices(shifts[:, axis], side) for axis in (0, 1))
        images = ops.einsum("nij,njwc->niwc", down, images)
        images = ops.einsum("nij,nhjc->nhic", across, images)
    if f"cutout_{part}" in arrays:
        middles = arrays[f"cutout_{part}"]
        rows, columns = (_inside(middles[:, axis], side) for axis in (0, 1))
        hidden = rows[:, :, None] * columns[:, None, :]
        images = images * (1.0 - hidden[..., None])
    return images


def _shift_matrices(shift: Any, side: int) -> Any:
    """Return (n, side, side) float32 matrices that move rows or columns by (n,) pixels."""
    positions = ops.arange(side, dtype="int32")
    sources = positions[None, :, None] - ops.reshape(shift, (-1, 1, 1))
    return ops.cast(ops.equal(sources, positions[None, None, :]), "float32")


def _inside(middle: Any, side: int) -> Any:
    """Return (n, side) float32: 1 within a quarter of the side of `middle`, 0 elsewhere."""
    away = ops.arange(side, dtype="int32")[None, :] - ops.reshape(middle, (-1, 1))
    inside = ops.logical_and(ops.greater_equal(away, -(side // 4)), ops.less(away, side // 4))
    return ops.cast(inside, "float32")
