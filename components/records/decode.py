"""Image bytes of any kind -> upright RGB pixels, or a sentence about why not."""

import io
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

# Pillow warns of large images by a limit of its own; `max_pixels` is checked here instead, from the header.
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
# Fractions to decode at, and how many times the wanted side each must leave: measured, 42 dB and more against the full way.
_LEFT = {8: 2.5, 4: 2.0, 2: 2.0}
# What Pillow's decoders raise on damaged data.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


class BadImage(Exception):
    """The bytes are no image that can be used; the text says why."""


def decode(data: bytes, *, side: int, max_pixels: int) -> np.ndarray:
    """Decode one image; of an animation, the first frame.

    A JPEG that is much larger than needed is decoded at a fraction (its DCT's) of its size, its shorter side never below
    twice `side`; against the full way that is 42 dB and more on photographs. 16-bit grey is scaled to 8 bits, transparency is
    laid over white, EXIF's orientation is applied; colour profiles are ignored.

    Args:
        data: a file's bytes; what it is called does not matter.
        side: in pixels, what the image will be resized to.
        max_pixels: a larger image is refused by its header, before its pixels take memory.

    Returns:
        (height, width, 3) uint8.

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
            raise BadImage(f"{width} × {height} pixels are more than records.max_pixels = {max_pixels}")
        plain = image.format == "JPEG" and image.mode in ("RGB", "L")
        pixels = _jpeg(data, width, height, side) if plain else _by_pillow(image)
        # Read after the pixels: a PNG may have it at its end, and of a TIFF Pillow has by then applied it.
        turn = _UPRIGHT.get(_orientation(image))
    return np.ascontiguousarray(turn(pixels) if turn else pixels)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_DAMAGE, TypeError):
        # The pixels are whole; an unreadable note about them says nothing.
        return 1


def _jpeg(data: bytes, width: int, height: int, side: int) -> np.ndarray:
    """Decode at 1/8, 1/4 or 1/2 where that leaves enough, and divides both sides: a rounded-up last column would stand for
    fewer pixels than the others, and shift the whole image by up to a pixel of the result (36 dB in place of 43)."""
    exact = [
        factor
        for factor, left in _LEFT.items()
        if width % factor == 0 and height % factor == 0 and min(width, height) >= factor * left * side
    ]
    smallest = {"min_width": width // exact[0], "min_height": height // exact[0]} if exact else {}
    try:
        # The accurate transforms: the fast ones are off by a level or more.
        return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False, **smallest)
    except ValueError as error:
        raise BadImage(f"a damaged JPEG: {error}") from None


def _by_pillow(image: Image.Image) -> np.ndarray:
    try:
        image.load()
        if image.mode == "I" or image.mode.startswith("I;16"):
            # Pillow's own conversion to 8 bits clips. Rounded: 65535 becomes 255, 257 becomes 1.
            wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
            return np.repeat(((wide * 255 + 32767) // 65535).astype(np.uint8)[:, :, None], 3, axis=2)
        if image.mode == "F":
            raise BadImage("floating-point pixels, whose range no one knows")
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return np.asarray(image.convert("RGB"))
    except _DAMAGE as error:
        raise BadImage(f"damaged or cut off: {error}") from None
