"""What the examples table says of an image's pixels: exact sums, and a perceptual hash."""

import hashlib
import threading
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

_SIDE = 32
_KEPT = 8
# Rows of a large image that the hash is made from: more of them cost time and change a bit in a
# hundred.
_ROWS = 64
_scratch = threading.local()


class Described(NamedTuple):
    """bytes and sha256 of what was read; phash, 64 bits; sum_c and sumsq_c, a value a channel."""

    bytes: int
    sha256: str
    phash: int
    sum_c: list[int]
    sumsq_c: list[int]


def described(pixels: np.ndarray, data: bytes) -> Described:
    """Describe an image.

    Args:
        pixels: (h, w, 1 or 3) uint8, as they are stored.
        data: the bytes they were read from.
    """
    return Described(
        len(data), hashlib.sha256(data).hexdigest(), perceptual_hash(pixels), *sums(pixels)
    )


def sums(pixels: np.ndarray) -> tuple[list[int], list[int]]:
    """The sum of the values of each channel, and of their squares, exactly.

    OpenCV adds whole numbers; the norm it makes of the squares is off by less than a millionth,
    which rounding takes back."""
    planes = [pixels] if pixels.shape[2] == 1 else cv2.split(pixels, _planes(pixels.shape))
    totals = [int(value) for value in cv2.sumElems(pixels)[: pixels.shape[2]]]
    return totals, [round(cv2.norm(plane, cv2.NORM_L2SQR)) for plane in planes]


def _planes(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Planes to split into, a set a thread: fresh memory would cost three times the work itself."""
    if getattr(_scratch, "shape", None) != shape:
        _scratch.shape = shape
        # A little apart, or their addresses would fight for the same lines of the cache.
        _scratch.planes = [
            np.empty(shape[0] * shape[1] + 64 * place, np.uint8) for place in range(shape[2])
        ]
    return [plane[: shape[0] * shape[1]].reshape(shape[:2]) for plane in _scratch.planes]


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits that mostly stay when an image is saved again, resized, or made a little brighter:
    pHash.

    The signs of the 8 × 8 lowest frequencies of a 32 × 32 grey thumbnail (after Zauner,
    Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1, who
    compares with the median: that makes the distance of two hashes always even, and a weak
    coefficient flips two bits). The mean, whose sign says nothing, gives its place to the next
    vertical frequency.

    Args:
        pixels: (h, w, 1 or 3) uint8.
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
    """(9, height) and (width, 8) float32: shrinking to 32 by areas, and the first rows of the
    orthonormal DCT-II, as one matrix a side."""
    place = np.arange(_SIDE)
    cosines = np.cos(np.pi * (2 * place + 1) * place[:, None] / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    cosines[0] /= np.sqrt(2)
    down = cosines[: _KEPT + 1] @ _areas(height)
    across = (cosines[:_KEPT] @ _areas(width)).T
    return np.ascontiguousarray(down, np.float32), np.ascontiguousarray(across, np.float32)


def _areas(side: int) -> np.ndarray:
    """(32, side): how much each pixel counts in each of 32 equal stretches."""
    edges, pixel = np.arange(_SIDE + 1) * side / _SIDE, np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(overlap, 0, 1) * (_SIDE / side)
