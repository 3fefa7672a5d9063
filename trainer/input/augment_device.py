"""Augmentation, painted by the device, inside the compiled step: a whole batch at once, by gathers
and one matrix product.

Written in keras.ops, so it is the same for TensorFlow and JAX. Under JAX a batch that lies on
several devices is painted where it lies; only partners in a mix travel."""

from collections.abc import Mapping
from typing import Any

from keras import ops

from trainer.config.member import Augment

# What of trainer.input.augment.Drawn is painted here; the labels are mixed on the host.
FIELDS = ("affine", "colour", "erase", "fill", "box", "partner", "mix")


def apply(
    images: Any, drawn: Mapping[str, Any], augment: Augment, *, side: int, mixing: bool
) -> Any:
    """What trainer.input.augment_cpu paints, in float32 and before it is rounded.

    Args:
        images: (n, size, size, channels) uint8 as stored.
        drawn: the FIELDS of trainer.input.augment.Drawn, as tensors.
        augment: says how pixels are interpolated, what comes in from outside and whether images are
            ever mixed.
        side: of the output in pixels.
        mixing: whether images are mixed at all.

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
        pixels = _between(images, x, y, augment.fill)
    colour = drawn["colour"]
    channels = images.shape[-1]
    # Channel by channel: a product of three by three matrices is no work for a matrix unit.
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
    """(1, side, 1) rows and (1, 1, side) columns."""
    line = ops.arange(side, dtype="float32")
    return line[None, :, None], line[None, None, :]


def _inside(boxes: Any, rows: Any, columns: Any) -> Any:
    """(n, side, side, 1): which pixels lie in each image's rectangle."""
    x0, y0, x1, y1 = (ops.cast(boxes[:, edge], "float32")[:, None, None] for edge in range(4))
    return ((columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1))[..., None]


def _at(images: Any, x: Any, y: Any, fill: str) -> Any:
    """(n, side, side, channels) float32: the pixels at whole coordinates."""
    size, channels = images.shape[1], images.shape[-1]
    last = float(size - 1)
    inside_x, inside_y = ops.clip(x, 0.0, last), ops.clip(y, 0.0, last)
    place = ops.cast(inside_y, "int32") * size + ops.cast(inside_x, "int32")
    side = place.shape[1]
    flat = ops.reshape(images, (-1, size * size, channels))
    taken = ops.take_along_axis(flat, ops.reshape(place, (-1, side * side, 1)), axis=1)
    pixels = ops.cast(ops.reshape(taken, (-1, side, side, channels)), "float32")
    if fill == "edge":
        return pixels
    return ops.where(((x == inside_x) & (y == inside_y))[..., None], pixels, 0.0)


def _between(images: Any, x: Any, y: Any, fill: str) -> Any:
    """Bilinear: the four pixels around, each by its nearness."""
    left, top = ops.floor(x), ops.floor(y)
    right, below = (x - left)[..., None], (y - top)[..., None]
    upper = _at(images, left, top, fill) * (1 - right) + _at(images, left + 1, top, fill) * right
    lower = (
        _at(images, left, top + 1, fill) * (1 - right)
        + _at(images, left + 1, top + 1, fill) * right
    )
    return upper * (1 - below) + lower * below
