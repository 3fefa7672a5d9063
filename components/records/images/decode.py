"""Image bytes of any kind -> upright RGB pixels, or a sentence about why not."""

import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from components.records.images.resize import LEAST

# Pillow warns of large images by a limit of its own; `max_pixels` is checked here instead, from the
# header.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION = 0x0112
# EXIF 2.32, table 6, tag Orientation: how to turn stored pixels upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels.swapaxes(0, 1)[::-1, ::-1],
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
# Pixels that are converted at once.
_BAND = 1 << 18
# What Pillow's decoders raise on damaged data.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


class BadImage(Exception):
    """The bytes are no image that can be used; the text says why."""


Claim = Callable[[int], contextlib.AbstractContextManager[Any]]


@contextlib.contextmanager
def decoding(
    data: bytes,
    *,
    side: int,
    max_pixels: int,
    exact: bool = True,
    claim: Claim = contextlib.nullcontext,
) -> Iterator[tuple[np.ndarray, tuple[int, int], tuple[float, float]]]:
    """Decode one image; of an animation, the first frame.

    A JPEG that is much larger than needed is decoded at a fraction (its DCT's) of its size; against
    the full way that is 42 dB and more on photographs. 16-bit grey is scaled to 8 bits,
    transparency is laid over white, EXIF's orientation is applied; colour profiles are ignored.

    Args:
        data: a file's bytes; what it is called does not matter.
        side: in pixels, the largest that the image will be resized to.
        max_pixels: a larger image is refused by its header, before its pixels take memory.
        exact: decode at a fraction only where that leaves no column or row partly filled.
        claim: called with the number of pixels that will be decoded; they are held as long as the
            block lasts.

    Yields:
        (height, width, 3) uint8; width and height of the whole image, upright; and how much of
        width and height the pixels show, which is less than they have where the last column or row
        is only partly filled.

    Raises:
        BadImage: the bytes are empty, no image, damaged, cut off, or too large.
    """
    if not data:
        raise BadImage("an empty file")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        what = "text (an error page?)" if data.lstrip()[:1] == b"<" else f"beginning {data[:8]!r}"
        raise BadImage(f"no image of a known format: {what}") from None
    except _DAMAGE as error:
        raise BadImage(f"a damaged header: {error}") from None
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise BadImage(
                f"{width} × {height} pixels are more than records.max_pixels = {max_pixels}"
            )
        plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        orientation = _orientation(image) if plain else 1
        # Turned round, a column that is partly filled would come first.
        factor = _factor(width, height, side, exact or orientation in _UPRIGHT) if plain else 1
        with claim(-(-width // factor) * -(-height // factor)):
            pixels = (
                _jpeg(data, width, height, factor, min(width, height) >= 2 * side)
                if plain
                else _by_pillow(image)
            )
            # Read after the pixels: a PNG may have it at its end, and of a TIFF Pillow has by then
            # applied it.
            orientation = orientation if plain else _orientation(image)
            turn = _UPRIGHT.get(orientation)
            sides = (height, width) if orientation >= 5 and turn else (width, height)
            extent = (sides[0] / factor, sides[1] / factor)
            yield np.ascontiguousarray(turn(pixels) if turn else pixels), sides, extent


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_DAMAGE, TypeError):
        # The pixels are whole; an unreadable note about them says nothing.
        return 1


def _factor(width: int, height: int, side: int, exact: bool) -> int:
    """8, 4, 2 or 1: as far as the resizer would halve anyway. Other eighths are slower than the
    whole."""
    for factor in (8, 4, 2):
        if min(width, height) >= factor * LEAST * side and not (
            exact and (width % factor or height % factor)
        ):
            return factor
    return 1


def _jpeg(data: bytes, width: int, height: int, factor: int, much_larger: bool) -> np.ndarray:
    smallest = (
        {"min_width": -(-width // factor), "min_height": -(-height // factor)} if factor > 1 else {}
    )
    try:
        # The accurate transform: the fast one is off by a level or more. How colours are spread
        # over neighbouring pixels does not matter where these become one.
        return simplejpeg.decode_jpeg(
            data, colorspace="RGB", fastdct=False, fastupsample=much_larger, **smallest
        )
    except ValueError as error:
        raise BadImage(f"a damaged JPEG: {error}") from None


def _by_pillow(image: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8, band by band: converted as a whole, an image would stand in memory
    several times over."""
    try:
        image.load()
        if image.mode == "F":
            raise BadImage("floating-point pixels, whose range no one knows")
        width, height = image.size
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            pixels[top : top + rows] = _rgb(image.crop((0, top, width, min(height, top + rows))))
        return pixels
    except _DAMAGE as error:
        raise BadImage(f"damaged or cut off: {error}") from None


def _rgb(band: Image.Image) -> np.ndarray:
    if band.mode == "I" or band.mode.startswith("I;16"):
        # Pillow's own conversion to 8 bits clips. Rounded: 65535 becomes 255, 257 becomes 1.
        wide = np.clip(np.asarray(band).astype(np.int64), 0, 65535)
        return np.repeat(((wide * 255 + 32767) // 65535).astype(np.uint8)[:, :, None], 3, axis=2)
    if band.has_transparency_data:
        white = Image.new("RGBA", band.size, "white")
        band = Image.alpha_composite(white, band.convert("RGBA"))
    return np.asarray(band.convert("RGB"))
