"""Decode image bytes in any format to upright RGB pixels, or say why they cannot be used."""

import contextlib
import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from components.records.images.resize import LEAST

# Pillow warns about large images at a limit of its own; this module checks `max_pixels` instead,
# from the header.
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
# Pixels to convert at once.
_BAND = 1 << 18
# Exceptions that Pillow's decoders raise on damaged data.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


class BadImage(Exception):
    """The bytes are not a usable image; the message says why."""


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
    """Decode one image, or the first frame of an animation.

    A JPEG that is much larger than needed is decoded at a fraction of its size, by its DCT; on
    photographs, the result matches a full decode to 42 dB or better. 16-bit grey is scaled to 8
    bits, transparency is composited over white, and the EXIF orientation is applied; colour
    profiles are ignored.

    Args:
        data: the bytes of a file, whatever its name.
        side: the largest size in pixels that the image will be resized to.
        max_pixels: a larger image is refused by its header, before its pixels take memory.
        exact: decode at a fraction only if that leaves no column or row partly filled.
        claim: called with the number of pixels to decode; its context manager reserves them until
            the block ends.

    Yields:
        the pixels, (height, width, 3) uint8 in 0 to 255; the (width, height) of the original image
        in pixels, upright; and the (width, height) that the pixels show, which is less than they
        have if the last column or row is only partly filled.

    Raises:
        BadImage: the bytes are empty, not an image, damaged, truncated, or too large.
    """
    if not data:
        raise BadImage("an empty file")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        kind = "text (an error page?)" if data.lstrip()[:1] == b"<" else f"starts with {data[:8]!r}"
        raise BadImage(f"not an image in a known format: {kind}") from None
    except _DAMAGE as error:
        raise BadImage(f"damaged header: {error}") from None
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise BadImage(
                f"{width} × {height} pixels are more than records.max_pixels = {max_pixels}"
            )
        plain_jpeg = image.format == "JPEG" and image.mode in ("RGB", "L")
        orientation = _orientation(image) if plain_jpeg else 1
        # Rotating or flipping would move a partly filled column to the front.
        factor = _factor(width, height, side, exact or orientation in _UPRIGHT) if plain_jpeg else 1
        with claim(-(-width // factor) * -(-height // factor)):
            pixels = (
                _jpeg(data, width, height, factor, min(width, height) >= 2 * side)
                if plain_jpeg
                else _by_pillow(image)
            )
            # Read it after the pixels: a PNG may store it at its end, and Pillow has applied a
            # TIFF's by then.
            orientation = orientation if plain_jpeg else _orientation(image)
            turn = _UPRIGHT.get(orientation)
            size = (height, width) if orientation >= 5 and turn else (width, height)
            extent = (size[0] / factor, size[1] / factor)
            yield np.ascontiguousarray(turn(pixels) if turn else pixels), size, extent


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_DAMAGE, TypeError):
        # The pixels are intact: ignore metadata that cannot be read.
        return 1


def _factor(width: int, height: int, side: int, exact: bool) -> int:
    """Return the factor to shrink by while decoding: 8, 4, 2 or 1, no more than the resizer would
    halve.

    Other eighths are slower than a full decode.
    """
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
        # Use the accurate transform: the fast one is off by a level or more. How colour is
        # upsampled does not matter if neighbouring pixels are merged into one.
        return simplejpeg.decode_jpeg(
            data, colorspace="RGB", fastdct=False, fastupsample=much_larger, **smallest
        )
    except ValueError as error:
        raise BadImage(f"damaged JPEG: {error}") from None


def _by_pillow(image: Image.Image) -> np.ndarray:
    """Return (height, width, 3) uint8 pixels, converted in bands.

    Converting the complete image at once would hold it in memory several times over.
    """
    try:
        image.load()
        if image.mode == "F":
            raise BadImage("floating-point pixels, whose range is unknown")
        width, height = image.size
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            pixels[top : top + rows] = _rgb(image.crop((0, top, width, min(height, top + rows))))
        return pixels
    except _DAMAGE as error:
        raise BadImage(f"damaged or truncated: {error}") from None


def _rgb(band: Image.Image) -> np.ndarray:
    """Return (rows, width, 3) uint8 pixels of a band."""
    if band.mode == "I" or band.mode.startswith("I;16"):
        # Pillow's own conversion to 8 bits clips; scale and round: 65535 to 255, 257 to 1.
        values = np.clip(np.asarray(band).astype(np.int64), 0, 65535)
        return np.repeat(((values * 255 + 32767) // 65535).astype(np.uint8)[:, :, None], 3, axis=2)
    if band.has_transparency_data:
        white = Image.new("RGBA", band.size, "white")
        band = Image.alpha_composite(white, band.convert("RGBA"))
    return np.asarray(band.convert("RGB"))
