"""Resize an image of any size to a square.

Shrinking averages by box coverage, in steps that OpenCV has fast code for: halve while the image is
at least 3 times the target size (twice that, with half as much to spare), then resize to exactly
twice the target, then halve once more. A JPEG decoder halves by the same rule, so decoding a large
image at a fraction of its size changes next to nothing.
"""

from typing import Literal

import cv2
import numpy as np

Fit = Literal["stretch", "crop", "pad"]
# Halving, or decoding at a fraction, never shrinks the shorter side below this multiple of the
# target.
LEAST = 1.5
# Above this ratio in one direction, linear interpolation would skip pixels: use the area method.
_MOST = 4.0


def fitted(
    image: np.ndarray, size: int, fit: Fit, extent: tuple[float, float] | None = None
) -> np.ndarray:
    """Resize an image to a square.

    Args:
        image: (height, width, 1 or 3) uint8, each side at least 1.
        size: the side of the result in pixels.
        fit: `stretch` changes the aspect ratio; `crop` keeps the largest centred square; `pad`
            keeps the complete image and adds black bars.
        extent: (width, height) in pixels of what `image` shows, if its last column or row is only
            partly filled: 500.5 after decoding 1001 columns at half size. Only applies to
            `stretch`.

    Returns:
        (size, size, 1 or 3) uint8; the same pixels if the image has this size already.
    """
    height, width = image.shape[:2]
    if fit == "crop":
        # Crop before the resize: a long thin image would grow out of all bounds otherwise.
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resized(image[top : top + side, left : left + side], (side, side), size, size)
    if fit == "pad":
        longer = max(height, width)
        # Half a pixel rounds up, and each side keeps at least one pixel.
        inner_height, inner_width = (
            max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width)
        )
        inner = _resized(image, (width, height), inner_height, inner_width)
        padded = np.zeros((size, size, image.shape[2]), dtype=np.uint8)
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        padded[top : top + inner_height, left : left + inner_width] = inner
        return padded
    return _resized(image, extent or (width, height), size, size)


def _resized(image: np.ndarray, extent: tuple[float, float], height: int, width: int) -> np.ndarray:
    if extent[0] >= width and extent[1] >= height:
        resized = _shrunk(image, extent, height, width)
    else:
        # Shrink by area, enlarge by cubic interpolation: OpenCV's area method is nearest neighbour
        # when it enlarges.
        smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
        resized = image
        if smaller != (image.shape[1], image.shape[0]):
            resized = cv2.resize(resized, smaller, interpolation=cv2.INTER_AREA)
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_CUBIC)
    # OpenCV drops the axis of a single channel.
    return np.ascontiguousarray(resized if resized.ndim == 3 else resized[:, :, None])


def _shrunk(image: np.ndarray, extent: tuple[float, float], height: int, width: int) -> np.ndarray:
    """Shrink an image whose `extent` (width, height) is at least the target in both directions."""
    across, down = extent
    if (image.shape[1], image.shape[0]) == (width, height) == (across, down):
        return image
    while min(across / width, down / height) >= 2 * LEAST:
        rows, columns = image.shape[:2]
        if rows % 2 or columns % 2:
            # Repeat the last row or column, as a JPEG pads its last blocks.
            image = cv2.copyMakeBorder(image, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE)
        image = cv2.resize(image, (-(-columns // 2), -(-rows // 2)), interpolation=cv2.INTER_AREA)
        across, down = across / 2, down / 2
    if max(across / width, down / height) > _MOST:
        return _extent_resized(image, (across, down), (width, height), cv2.INTER_AREA)
    if max(across / width, down / height) <= 2:
        # OpenCV's area method is exact here too, although it enlarges by up to a factor of two.
        middle, interpolation = (2 * width, 2 * height), cv2.INTER_AREA
    else:
        # At exactly two to one, linear interpolation equals the box average. Near that ratio
        # but not at it, pixels would get uneven weights.
        middle = tuple(
            side if abs(length - 2 * side) <= 0.002 * side else 2 * side
            for length, side in ((across, width), (down, height))
        )  # type: ignore[assignment]  # two of them
        interpolation = cv2.INTER_LINEAR
    image = _extent_resized(image, (across, down), middle, interpolation)
    last = cv2.INTER_AREA if middle == (2 * width, 2 * height) else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=last)


def _extent_resized(
    image: np.ndarray, extent: tuple[float, float], size: tuple[int, int], interpolation: int
) -> np.ndarray:
    """Resize the part of the image that `extent` covers to `size`, both (width, height)."""
    if (image.shape[1], image.shape[0]) == extent:
        return cv2.resize(image, size, interpolation=interpolation)
    # Pass factors, not a size: OpenCV takes factors as exact.
    scaled = cv2.resize(
        image, None, fx=size[0] / extent[0], fy=size[1] / extent[1], interpolation=interpolation
    )[: size[1], : size[0]]
    missing_rows, missing_columns = size[1] - scaled.shape[0], size[0] - scaled.shape[1]
    return (
        cv2.copyMakeBorder(scaled, 0, missing_rows, 0, missing_columns, cv2.BORDER_REPLICATE)
        if missing_rows or missing_columns
        else scaled
    )
