"""Describe the pixels of an image for the examples table: exact sums and a perceptual hash."""

import hashlib
import threading
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

_SIDE = 32
_KEPT = 8
# Rows of a large image that the hash is computed from: more rows cost time and change one bit in a
# hundred.
_ROWS = 64
_scratch = threading.local()


class Described(NamedTuple):
    """What the examples table stores about an image.

    Attributes:
        bytes: the length of the data that was read.
        sha256: the hexadecimal digest of that data.
        phash: the perceptual hash, 64 bits.
        sum_c: the sum of the pixel values, one per channel.
        sumsq_c: the sum of the squares of the pixel values, one per channel.
        fault: faults of the JPEG that touch no pixel; "" if there are none.
    """

    bytes: int
    sha256: str
    phash: int
    sum_c: list[int]
    sumsq_c: list[int]
    fault: str = ""


def described(pixels: np.ndarray, data: bytes, fault: str = "") -> Described:
    """Describe an image.

    Args:
        pixels: (height, width, 1 or 3) uint8 in 0 to 255, as stored.
        data: the bytes that the pixels were decoded from.
        fault: faults that were ignored.
    """
    return Described(
        len(data), hashlib.sha256(data).hexdigest(), perceptual_hash(pixels), *sums(pixels), fault
    )


def sums(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the exact sum of the values in each channel, and of their squares.

    OpenCV adds integers exactly; the norm from which it derives the squares is off by less than a
    millionth, which rounding corrects.

    Args:
        pixels: (height, width, 1 or 3) uint8 in 0 to 255.
    """
    planes = [pixels] if pixels.shape[2] == 1 else cv2.split(pixels, _planes(pixels.shape))
    totals = [int(value) for value in cv2.sumElems(pixels)[: pixels.shape[2]]]
    return totals, [round(cv2.norm(plane, cv2.NORM_L2SQR)) for plane in planes]


def _planes(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return buffers to split the channels into, one set per thread.

    Allocating fresh memory would cost three times as much as the split itself.
    """
    if getattr(_scratch, "shape", None) != shape:
        _scratch.shape = shape
        # Space them a little apart, or their addresses would compete for the same cache lines.
        _scratch.planes = [
            np.empty(shape[0] * shape[1] + 64 * channel, np.uint8) for channel in range(shape[2])
        ]
    return [plane[: shape[0] * shape[1]].reshape(shape[:2]) for plane in _scratch.planes]


def perceptual_hash(pixels: np.ndarray) -> int:
    """Return the pHash: 64 bits that mostly survive saving again, resizing or slight brightening.

    The bits are the signs of the 8 × 8 lowest frequencies of a 32 × 32 grey thumbnail, after
    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1.
    Zauner compares with the median, which makes the distance between two hashes always even, and
    lets a weak coefficient flip two bits. The sign of the mean carries no information, so the next
    vertical frequency takes its place.

    Args:
        pixels: (height, width, 1 or 3) uint8 in 0 to 255.

    Returns:
        an int in 0 to 2**64 - 1.
    """
    step = max(1, pixels.shape[0] // _ROWS)
    rows = pixels[step // 2 :: step]
    grey = rows[:, :, 0] if pixels.shape[2] == 1 else cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY)
    down, across = _frequencies(*grey.shape)
    low = down @ (grey.astype(np.float32) @ across)
    low[0, 0] = low[_KEPT, 0]
    return int.from_bytes(np.packbits(low[:_KEPT] > 0, bitorder="little").tobytes(), "little")


@lru_cache(maxsize=64)
def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (9, height) and (width, 8) float32 matrices, one per side of the image.

    Each combines shrinking to 32 by area with the first rows of the orthonormal DCT-II.
    """
    index = np.arange(_SIDE)
    cosines = np.cos(np.pi * (2 * index + 1) * index[:, None] / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    cosines[0] /= np.sqrt(2)
    down = cosines[: _KEPT + 1] @ _areas(height)
    across = (cosines[:_KEPT] @ _areas(width)).T
    return np.ascontiguousarray(down, np.float32), np.ascontiguousarray(across, np.float32)


def _areas(side: int) -> np.ndarray:
    """Return (32, side) float64 weights: how much a pixel counts in each of 32 equal intervals."""
    edges, pixel = np.arange(_SIDE + 1) * side / _SIDE, np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(overlap, 0, 1) * (_SIDE / side)
