"""Tells copies of a picture from different pictures of one scene, by the largest local difference.

A picture that was saved again, resized or made brighter differs a little everywhere, and more along
its edges. Two pictures of a camera that does not move, or of two parts of one kind, agree almost
everywhere, and differ in one place: a scratch, a car, a cell.
"""

import cv2
import numpy as np

# Side of the grey images that are compared, in pixels. Smaller images show no details to compare.
SIDE, LEAST = 96, 48
# Levels by which a pixel may differ for being saved again.
_NOISE = 5.0
# Largest mean difference of 5 by 5 pixels beyond that, in levels. Of 874 copies of 79 pictures
# (saved again, resized, brighter, without up to two per cent at the edges), 1.5 % have more; of 134
# pairs of pictures of one scene (a scratch on a part, things in front of a camera), 2 % have less.
_MOST = 4.0
# A difference above which no crop explains it.
_FAR = 30.0
_WINDOW = (5, 5)
# Levels at which a sensor or a change of brightness saturates, and those that it can come from.
_BLACK, _WHITE = 6, 249
_DIM, _BRIGHT = 50, 170
# Pixels at each side that are not compared after that.
_MARGIN = 4
# Steps in which one image is aligned with the other.
_STEPS = 20
_AROUND = np.ones((3, 3))


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return a (96, 96) uint8 grey image of (side, side, 3) uint8 RGB pixels, or a smaller one if
    the pixels are fewer."""
    flat = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    side = min(SIDE, *flat.shape)
    return np.asarray(cv2.resize(flat, (side, side), interpolation=cv2.INTER_AREA))


def same_in_detail(one: np.ndarray, other: np.ndarray, *, align: bool = True) -> bool:
    """Return whether two grey images that look alike as a whole have no local difference.

    Args:
        one: (side, side) uint8.
        other: (side, side) uint8; its brightness and contrast may differ.
        align: whether one of them may lack a per cent or two at its edges; takes ten times as long.
    """
    direct = _difference(one, other)
    if direct <= _MOST or direct > _FAR or not align:
        return direct <= _MOST
    aligned = _aligned(one, other)
    if aligned is None:
        return False
    # What one of them lacks is at the edges.
    inner = slice(_MARGIN, -_MARGIN)
    return _difference(one[inner, inner], aligned[inner, inner]) <= _MOST


def _aligned(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Return `other` scaled and moved to where it fits `one` best; None if that is not found.

    Evangelidis and Psarakis, Parametric Image Alignment Using Enhanced Correlation Coefficient
    Maximization, IEEE TPAMI 30(10), 2008.
    """
    matrix = np.eye(2, 3, dtype=np.float32)
    ending = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, _STEPS, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(one, other, matrix, cv2.MOTION_AFFINE, ending)
    except cv2.error:
        return None  # it does not converge: the images do not correlate
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (one.shape[1], one.shape[0])
    return np.asarray(
        cv2.warpAffine(other, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest local difference in levels, beyond that of noise and of edges.

    In both directions: brightness that fits a blank picture would blank the other one, too.
    """
    return max(_difference_to(one, other), _difference_to(other, one))


def _difference_to(one: np.ndarray, other: np.ndarray) -> float:
    first, second = one.astype(np.float32), _with_brightness_of(one, other)
    # An edge that is a pixel further in one picture is no difference. A mark that only one picture
    # has is an edge in that one alone.
    edges = np.minimum(_range(first), _range(second))
    excess = np.maximum(0, np.abs(first - second) - _NOISE - edges)
    low, high = np.minimum(one, other), np.maximum(one, other)
    saturated = ((high > _WHITE) & (low > _BRIGHT)) | ((low < _BLACK) & (high < _DIM))
    excess[saturated] = 0
    return float(cv2.blur(excess, _WINDOW).max())


def _with_brightness_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `other` with the levels that a polynomial of the second degree gives it, closest to
    `one`: brightness, contrast and gamma.

    Least squares on the mean of `one` at each level of `other`.
    """
    level = np.arange(256, dtype=np.float64)
    rows = np.bincount(other.ravel(), minlength=256).astype(np.float64)
    sums = np.bincount(other.ravel(), weights=one.ravel(), minlength=256)
    powers = np.stack([np.ones(256), level / 255, (level / 255) ** 2], axis=1)
    weighted = powers * rows[:, None]
    solution = np.linalg.lstsq(powers.T @ weighted, powers.T @ sums, rcond=None)[0]
    return np.asarray((powers @ solution).astype(np.float32)[other])


def _range(image: np.ndarray) -> np.ndarray:
    """Return the range of the levels around each pixel."""
    return np.asarray(cv2.dilate(image, _AROUND) - cv2.erode(image, _AROUND))
