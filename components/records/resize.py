"""An image of any size -> a square one."""

from typing import Literal

import cv2
import numpy as np

Fit = Literal["stretch", "crop", "pad"]


def fitted(image: np.ndarray, size: int, fit: Fit) -> np.ndarray:
    """Resize to a square.

    Args:
        image: (height, width, 3) uint8, each side at least 1.
        size: the side of the result in pixels.
        fit: `stretch` changes the aspect; `crop` keeps the largest centred square; `pad` keeps all, with black bars.

    Returns:
        (size, size, 3) uint8. The very pixels, where the image has this size already.
    """
    height, width = image.shape[:2]
    if fit == "crop":
        # Before the resize: a long thin image would grow out of all bounds otherwise.
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _resized(image[top : top + side, left : left + side], size, size)
    if fit == "pad":
        longer = max(height, width)
        # Half a pixel rounds up, and nothing vanishes.
        inner_height, inner_width = (max(1, (2 * side * size + longer) // (2 * longer)) for side in (height, width))
        inner = _resized(image, inner_height, inner_width)
        padded = np.zeros((size, size, 3), dtype=np.uint8)
        top, left = (size - inner_height) // 2, (size - inner_width) // 2
        padded[top : top + inner_height, left : left + inner_width] = inner
        return padded
    return _resized(image, size, size)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Shrink by areas, enlarge by cubics: OpenCV's area method is a nearest neighbour where it enlarges."""
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(image)
