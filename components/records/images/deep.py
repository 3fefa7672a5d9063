"""Images of more than 8 bits a value: reading all of their bits, and scaling them to 8."""

import cv2
import numpy as np
from PIL import Image

# A value that a file does not explain: the largest of 16 bits.
LARGEST = 65535
# What a message says of values that are too large.
ABOVE = "above the white level"
# Pixels to convert at once.
_BAND = 1 << 18


class OutOfRange(ValueError):
    """Values are below 0 or above the white level; the message says which, and what to do."""


def bits(image: Image.Image, data: bytes) -> int:
    """Return the bits of a value: 8 of most images, 16, or 32.

    Args:
        image: an opened image, whose pixels need not be loaded.
        data: the bytes of its file: Pillow shows colours of 16 bits as if they had 8.
    """
    if image.mode == "I" and image.format == "TIFF":
        return (*_tags(image, 258), 32)[0]
    if image.mode == "I" or image.mode.startswith("I;16"):
        return 16
    if image.format == "PNG" and data[24:26] in (b"\x10\2", b"\x10\4", b"\x10\6"):
        return 16  # colours, grey with transparency, colours with transparency
    if image.format == "TIFF" and set(_tags(image, 258)) == {16} and image.mode in ("RGB", "RGBA"):
        return 16
    return 8


def values(image: Image.Image, data: bytes) -> np.ndarray:
    """Return the values of an image for which `bits` is above 8.

    Args:
        image: opened; its pixels are loaded here.
        data: the bytes of its file.

    Returns:
        (height, width, channels) of 1 grey, 3 RGB or 4 RGBA channels: uint16, or int32, or uint32.
        A TIFF is upright.

    Raises:
        ValueError: the values cannot be read.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        image.load()
        grey = np.asarray(image)
        unsigned = image.format == "TIFF" and _tags(image, 339) in ((), (1,))
        if grey.dtype == np.int32 and unsigned:
            grey = grey.view(np.uint32)
        return grey.astype(grey.dtype.newbyteorder("="), copy=False)[:, :, None]
    if image.format == "TIFF" and image.tell():
        raise ValueError("colours of 16 bits that are not on the first page")
    if image.format == "TIFF" and _tags(image, 284) == (2,):
        raise ValueError("colours of 16 bits in planes of their own: save it with pixels together")
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16 or read.ndim != 3:
        raise ValueError("colours of 16 bits in a form that cannot be read")
    order = [2, 1, 0, 3][: read.shape[2]]
    return np.asarray(read[:, :, order])


def highest(image: Image.Image, data: bytes) -> int:
    """Return the largest value of an image for which `bits` is above 8, without transparency."""
    return int(values(image, data)[:, :, :3].max())


def scaled(pixels: np.ndarray, white: int) -> np.ndarray:
    """Scale values to 8 bits, rounded: 0 stays 0, the white level becomes 255.

    Transparency is laid over white.

    Args:
        pixels: (height, width, 1, 3 or 4) whole numbers.
        white: the white level, 1 or more.

    Returns:
        (height, width, 3) uint8.

    Raises:
        OutOfRange: a value is below 0 or above `white`.
    """
    colours = pixels[:, :, :3]
    low, high = int(colours.min()), int(colours.max())
    if low < 0:
        raise OutOfRange(
            f"values from {low} to {high}: negative ones have no place between black and white; add"
            " an offset to the files"
        )
    if high > white:
        raise OutOfRange(
            f"values up to {high}, which are {ABOVE} {white}: set"
            f" records.white_level = {suggested(high)}"
        )
    result = np.empty((*pixels.shape[:2], 3), dtype=np.uint8)
    rows = max(1, _BAND // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        band = pixels[top : top + rows].astype(np.int64)
        levels = (band[:, :, :3] * 255 + white // 2) // white
        if band.shape[2] == 4:
            opacity = band[:, :, 3:]
            levels = (levels * opacity + 255 * (LARGEST - opacity) + LARGEST // 2) // LARGEST
        result[top : top + rows] = levels
    return result


def suggested(highest: int) -> int:
    """Return the white level of images with these values: the largest number of as many bits, 8 or
    more."""
    return max(255, int((1 << highest.bit_length()) - 1))


def _tags(image: Image.Image, tag: int) -> tuple[int, ...]:
    """Return the values of a TIFF's tag, () if it has none."""
    found = image.tag_v2.get(tag, ())  # type: ignore[attr-defined]  # a TIFF has it
    return found if isinstance(found, tuple) else (found,)
