"""An image of any size -> a square one.

Shrinking is by box coverage, in steps that OpenCV has fast code for: halving as long as twice the
wanted size is left with half as much to spare, then to exactly twice the size, then the last
halving. A JPEG's decoder halves by the same rule, so that decoding a large image at a fraction of
its size changes next to nothing."""

from typing import Literal

import cv2
import numpy as np

Fit = Literal["stretch", "crop", "pad"]
# The shorter side never falls below this many times the wanted one by halving, or by a decoder's
# fraction.
LEAST = 1.5
# Beyond this ratio in one direction alone, points would be skipped: the general method then.
_MOST = 4.0


def fitted(
    image: np.ndarray, size: int, fit: Fit, extent: tuple[float, float] | None = None
) -> np.ndarray:
    """Resize to a square.

    Args:
        image: (height, width, 1 or 3) uint8, each side at least 1.
        size: the side of the result in pixels.
        fit: `stretch` changes the aspect; `crop` keeps the largest centred square; `pad` keeps all,
            with black bars.
        extent: width and height of what `image` shows, where its last column or row is only partly
            filled, as after decoding 1001 columns at a half: 500.5. For `stretch` alone.

    Returns:
        (size, size, 1 or 3) uint8. The very pixels, where the image has this size already.
    """
    height, width = image.shape[:2]
    if fit == "crop":
        # Before the resize: a long thin image would grow out of all bounds otherwise.
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resized(image[top : top + side, left : left + side], (side, side), size, size)
    if fit == "pad":
        longer = max(height, width)
        # Half a pixel rounds up, and nothing vanishes.
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
        # Shrink by areas, enlarge by cubics: OpenCV's area method is a nearest neighbour where it
        # enlarges.
        smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
        resized = image
        if smaller != (image.shape[1], image.shape[0]):
            resized = cv2.resize(resized, smaller, interpolation=cv2.INTER_AREA)
        resized = cv2.resize(resized, (width, height), interpolation=cv2.INTER_CUBIC)
    # OpenCV drops a single channel's axis.
    return np.ascontiguousarray(resized if resized.ndim == 3 else resized[:, :, None])


def _shrunk(image: np.ndarray, extent: tuple[float, float], height: int, width: int) -> np.ndarray:
    """Shrink an image that shows `extent` (width, height) and is larger than asked in both
    directions, or as large."""
    across, down = extent
    if (image.shape[1], image.shape[0]) == (width, height) == (across, down):
        return image
    while min(across / width, down / height) >= 2 * LEAST:
        rows, columns = image.shape[:2]
        if rows % 2 or columns % 2:
            # As a JPEG fills up its last blocks.
            image = cv2.copyMakeBorder(image, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE)
        image = cv2.resize(image, (-(-columns // 2), -(-rows // 2)), interpolation=cv2.INTER_AREA)
        across, down = across / 2, down / 2
    if max(across / width, down / height) > _MOST:
        return _to(image, (across, down), (width, height), cv2.INTER_AREA)
    if max(across / width, down / height) <= 2:
        # OpenCV's area method covers exactly here too, where it enlarges by less than two.
        middle, how = (2 * width, 2 * height), cv2.INTER_AREA
    else:
        # At two to one, linear interpolation is the box already. Only at just that: near it, points
        # would be weighed unevenly.
        middle = tuple(
            side if abs(whole - 2 * side) <= 0.002 * side else 2 * side
            for whole, side in ((across, width), (down, height))
        )  # type: ignore[assignment]  # two of them
        how = cv2.INTER_LINEAR
    image = _to(image, (across, down), middle, how)
    last = cv2.INTER_AREA if middle == (2 * width, 2 * height) else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=last)


def _to(
    image: np.ndarray, extent: tuple[float, float], size: tuple[int, int], how: int
) -> np.ndarray:
    """Resize what `extent` (width, height) of the image shows to `size`."""
    if (image.shape[1], image.shape[0]) == extent:
        return cv2.resize(image, size, interpolation=how)
    # Told by factors and not by a size, OpenCV takes them as exact.
    scaled = cv2.resize(
        image, None, fx=size[0] / extent[0], fy=size[1] / extent[1], interpolation=how
    )[: size[1], : size[0]]
    below, beside = size[1] - scaled.shape[0], size[0] - scaled.shape[1]
    return (
        cv2.copyMakeBorder(scaled, 0, below, 0, beside, cv2.BORDER_REPLICATE)
        if below or beside
        else scaled
    )
