"""Decode image bytes in any format to upright RGB pixels, or say why they cannot be used."""

import contextlib
import io
import re
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from components.records.images import deep
from components.records.images.kinds import described
from components.records.images.resize import LEAST
from trainer.artifacts import jpeg

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
# Formats of drawings: Pillow knows their headers, and would call other programs for their pixels.
_DRAWINGS = ("EPS", "WMF")
# Formats that hold images of other formats, whose size their own header need not tell.
_CONTAINERS = ("ICNS", "ICO", "CUR")
# Pages of a TIFF that are looked at for one that is not a thumbnail.
_MOST_PAGES = 16


class BadImage(Exception):
    """The bytes are not a usable image; the message says why."""


Claim = Callable[[int], contextlib.AbstractContextManager[Any]]


class Decoded(NamedTuple):
    """An image.

    Attributes:
        pixels: (height, width, 3) uint8 in 0 to 255.
        size: (width, height) of the original image in pixels, upright.
        extent: (width, height) that the pixels show, which is less than they have if the last
            column or row is only partly filled.
        bits: bits of a value in the file: 8, 16 or 32.
        fault: faults of a JPEG that were ignored; "" if there are none.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    extent: tuple[float, float]
    bits: int = 8
    fault: str = ""


@contextlib.contextmanager
def decoding(
    data: bytes,
    *,
    side: int,
    max_pixels: int,
    white_level: int = deep.LARGEST,
    exact: bool = True,
    claim: Claim = contextlib.nullcontext,
) -> Iterator[Decoded]:
    """Decode one image: the first frame of an animation, the first page of a TIFF that is not a
    thumbnail.

    A JPEG that is much larger than needed is decoded at a fraction of its size, by its DCT; on
    photographs, the result matches a full decode to 42 dB or better. Values of more than 8 bits are
    scaled, transparency is laid over white, and the EXIF orientation is applied; colour profiles
    are ignored.

    Args:
        data: the bytes of a file, whatever its name.
        side: the largest size in pixels that the image will be resized to.
        max_pixels: a larger image is refused by its header, before its pixels take memory.
        white_level: the value that becomes white in an image of more than 8 bits.
        exact: decode at a fraction only if that leaves no column or row partly filled.
        claim: called with the number of pixels to decode; its context manager reserves them until
            the block ends.

    Raises:
        BadImage: the bytes are empty, not an image, damaged, truncated, or too large; or values are
            below 0 or above the white level.
    """
    if not data:
        raise BadImage("an empty file")
    with opened(data) as image:
        _check_size(*image.size, max_pixels)
        if image.format in _CONTAINERS:
            for size in _sizes_inside(data):
                _check_size(*size, max_pixels)
        width, height = image.size
        plain_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
        orientation = _orientation(image) if plain_jpeg else 1
        # Rotating or flipping would move a partly filled column to the front.
        factor = _factor(width, height, side, exact or orientation in _UPRIGHT) if plain_jpeg else 1
        bits, fault = 8 if plain_jpeg else deep.bits(image, data), ""
        # All bits of an image are in memory twice.
        copies = 1 if bits == 8 else 2
        with claim(copies * -(-width // factor) * -(-height // factor)):
            if plain_jpeg:
                pixels, fault = _jpeg(data, width, height, factor, min(width, height) >= 2 * side)
            else:
                pixels, fault = _by_pillow(image, data, bits, white_level)
                height, width = pixels.shape[:2]
            # Read it after the pixels: a PNG may store it at its end. That of a TIFF is applied.
            if not plain_jpeg:
                orientation = 1 if image.format == "TIFF" else _orientation(image)
            turn = _UPRIGHT.get(orientation)
            size = (height, width) if orientation >= 5 and turn else (width, height)
            extent = (size[0] / factor, size[1] / factor)
            upright = np.ascontiguousarray(turn(pixels) if turn else pixels)
            yield Decoded(upright, size, extent, bits, fault)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Yield the image in some bytes, its header read.

    Raises:
        BadImage: they are not an image, or its header is damaged.
    """
    try:
        image = Image.open(io.BytesIO(data))
        if image.format == "TIFF":
            _seek_full_size(image)
    except UnidentifiedImageError:
        raise BadImage(f"not an image in a known format: it is {described(data)}") from None
    # Decoders raise whatever their parsers trip over: a file must not stop a run without a name.
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"damaged header ({_told(error)})") from None
    with image:
        if image.format in _DRAWINGS:
            raise BadImage(f"not an image: it is {described(data)}")
        yield image


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise BadImage(f"{width} × {height} pixels are more than records.max_pixels = {max_pixels}")


def _sizes_inside(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the (width, height) of each PNG and JPEG 2000 inside a container of icons.

    A PNG has them in its IHDR (W3C, PNG, section 11.2.1), a JPEG 2000 file in its ihdr box (ITU-T
    T.800, annex I.5.3.1) or in the SIZ segment of its codestream (annex A.5.1).
    """
    for found in re.finditer(rb"IHDR(.{8})", data, re.DOTALL):
        yield struct.unpack(">II", found[1])
    for found in re.finditer(rb"ihdr(.{8})", data, re.DOTALL):
        height, width = struct.unpack(">II", found[1])
        yield width, height
    for found in re.finditer(rb"\xff\x4f\xff\x51.{4}(.{8})", data, re.DOTALL):
        yield struct.unpack(">II", found[1])


def _seek_full_size(image: Image.Image) -> None:
    """Go to the first page of a TIFF that is not marked as a smaller version of another (TIFF 6.0,
    tags NewSubfileType and SubfileType)."""
    for page in range(_MOST_PAGES):
        try:
            image.seek(page)
        except EOFError:
            break
        tags = image.tag_v2  # type: ignore[attr-defined]  # a TIFF has it
        if not tags.get(254, 0) & 1 and tags.get(255, 1) != 2:
            return
    image.seek(0)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # the pixels are intact: ignore what cannot be read
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


def _jpeg(
    data: bytes, width: int, height: int, factor: int, much_larger: bool
) -> tuple[np.ndarray, str]:
    """Return pixels, and faults that were ignored."""
    smallest = (
        {"min_width": -(-width // factor), "min_height": -(-height // factor)} if factor > 1 else {}
    )
    try:
        # How colour is upsampled does not matter if neighbouring pixels are merged into one.
        return jpeg.decode(data, "RGB", fastupsample=much_larger, **smallest)
    except ValueError as error:
        raise BadImage(f"damaged or truncated JPEG: {error}") from None


def _by_pillow(image: Image.Image, data: bytes, bits: int, white: int) -> tuple[np.ndarray, str]:
    """Return (height, width, 3) uint8 pixels, and faults that were ignored.

    Pixels are converted in bands: a complete image at once would be in memory several times over.
    """
    fault = ""
    if image.format in ("JPEG", "MPO"):
        # Pillow fills up a truncated file that has a proper end.
        try:
            fault = jpeg.decode(data, "CMYK")[1]
        except ValueError as error:
            raise BadImage(f"damaged or truncated JPEG: {error}") from None
    try:
        if bits > 8:
            return deep.scaled(deep.values(image, data), white), fault
        image.load()
        if image.mode == "F":
            raise BadImage("floating-point pixels, whose range is unknown: save them as PNG")
        width, height = image.size
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            pixels[top : top + rows] = _rgb(image.crop((0, top, width, min(height, top + rows))))
    except BadImage:
        raise
    except deep.OutOfRange as error:
        raise BadImage(str(error)) from None
    # As for the header: any error of a decoder means that this file cannot be used.
    except Exception as error:  # noqa: BLE001
        raise BadImage(f"damaged or truncated ({_told(error)})") from None
    return pixels, fault


def _rgb(band: Image.Image) -> np.ndarray:
    """Return (rows, width, 3) uint8 pixels of a band."""
    if band.has_transparency_data:
        white = Image.new("RGBA", band.size, "white")
        band = Image.alpha_composite(white, band.convert("RGBA"))
    return np.asarray(band.convert("RGB"))
