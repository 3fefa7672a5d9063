"""Applies augmentation on the device, inside the compiled step: a complete batch, by gathers and
one matrix product.

It is written in keras.ops, so it is the same for TensorFlow and JAX. With JAX, a batch that is
split over several devices is augmented where it is; only partners of a mix are sent between
devices.
"""

from collections.abc import Mapping
from typing import Any

from keras import ops

from trainer.config.augment import Augment

# Fields of trainer.input.augment.AugmentParams that are used here; labels are mixed on the host.
FIELDS = ("affine", "colour", "erase", "fill", "box", "partner", "mix")


def apply(
    images: Any, drawn: Mapping[str, Any], augment: Augment, *, side: int, mixing: bool
) -> Any:
    """Augment a batch as trainer.input.augment_cpu does, in float32 and without rounding.

    Args:
        images: (n, size, size, channels) uint8, as stored.
        drawn: the FIELDS of trainer.input.augment.AugmentParams, as tensors.
        augment: determines the interpolation, and the fill of areas from outside.
        side: side of the output in pixels.
        mixing: whether images are mixed.

    Returns:
        (n, side, side, channels) float32 in 0 to 255.
    """
    rows, columns = _grid(side)
    affine = drawn["affine"]
    x, y = (
        affine[:, None, None, first] * columns
        + (affine[:, None, None, first + 1] * rows + affine[:, None, None, first + 2])
        for first in (0, 3)
    )
    if augment.interpolation == "nearest":
        pixels = _at(images, ops.floor(x + 0.5), ops.floor(y + 0.5), augment.fill)
    else:
        pixels = _bilinear(images, x, y, augment.fill)
    colour = drawn["colour"]
    channels = images.shape[-1]
    # Channel by channel: a matrix unit gains nothing from a product of 3 by 3 matrices.
    mapped = [
        sum(colour[:, None, None, to, of] * pixels[..., of] for of in range(channels))
        + colour[:, None, None, to, channels]
        for to in range(channels)
    ]
    pixels = ops.clip(ops.stack(mapped, axis=-1), 0.0, 255.0)
    pixels = ops.where(
        _inside(drawn["erase"], rows, columns), drawn["fill"][:, None, None, :], pixels
    )
    if not mixing:
        return pixels
    partners = ops.take(pixels, drawn["partner"], axis=0)
    own = ops.where(_inside(drawn["box"], rows, columns), 0.0, drawn["mix"][:, None, None, None])
    return own * pixels + (1 - own) * partners


def _grid(side: int) -> tuple[Any, Any]:
    """Return row coordinates, (1, side, 1), and column coordinates, (1, 1, side), float32."""
    line = ops.arange(side, dtype="float32")
    return line[None, :, None], line[None, None, :]


def _inside(boxes: Any, rows: Any, columns: Any) -> Any:
    """Return which pixels are in each image's rectangle: (n, side, side, 1) bool."""
    x0, y0, x1, y1 = (ops.cast(boxes[:, edge], "float32")[:, None, None] for edge in range(4))
    return ((columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1))[..., None]


def _at(images: Any, x: Any, y: Any, fill: str) -> Any:
    """Return the pixels at integer coordinates: (n, side, side, channels) float32."""
    size, channels = images.shape[1], images.shape[-1]
    last = float(size - 1)
    inside_x, inside_y = ops.clip(x, 0.0, last), ops.clip(y, 0.0, last)
    index = ops.cast(inside_y, "int32") * size + ops.cast(inside_x, "int32")
    side = index.shape[1]
    flat = ops.reshape(images, (-1, size * size, channels))
    gathered = ops.take_along_axis(flat, ops.reshape(index, (-1, side * side, 1)), axis=1)
    pixels = ops.cast(ops.reshape(gathered, (-1, side, side, channels)), "float32")
    if fill == "edge":
        return pixels
    return ops.where(((x == inside_x) & (y == inside_y))[..., None], pixels, 0.0)


def _bilinear(images: Any, x: Any, y: Any, fill: str) -> Any:
    """Return bilinearly interpolated pixels: the four nearest, weighted by proximity."""
    left, top = ops.floor(x), ops.floor(y)
    right, below = (x - left)[..., None], (y - top)[..., None]
    upper = _at(images, left, top, fill) * (1 - right) + _at(images, left + 1, top, fill) * right
    lower = (
        _at(images, left, top + 1, fill) * (1 - right)
        + _at(images, left + 1, top + 1, fill) * right
    )
    return upper * (1 - below) + lower * below
