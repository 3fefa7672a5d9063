"""Augmentation: parameters drawn statelessly on the host, one affine map an image.

The draws depend on nothing but (seed, epoch, row), so a run that is repeated, resumed or cut into other tasks sees the
same images.
"""

import numpy as np

from trainer.competition import Augment

# Uniform values an image: rotation, shear, zoom of both axes, shift along both.
_DRAWS = 6


def epoch_generator(seed: int, epoch: int, *, stream: int) -> np.random.Generator:
    """The random numbers of one epoch. Streams 0 (the order of the images) and 1 (their maps) share no value.

    Philox is counter-based, so seed and epoch are a key and a stream is a far-off counter (Salmon et al., "Parallel
    random numbers: as easy as 1, 2, 3", SC11, section 3).
    """
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, stream]))


def affine_maps(augment: Augment, *, seed: int, epoch: int, rows: np.ndarray, size: int) -> np.ndarray:
    """The map from output to input pixels of each image in one epoch.

    Args:
        augment: bounds; rotation and shear in degrees.
        seed: of the member and fold.
        epoch: from 0.
        rows: (n,) row numbers, not negative: an image keeps its own draws in whatever order it comes.
        size: side of the square images in pixels.

    Returns:
        (n, 8) float32 in the layout of TensorFlow's ImageProjectiveTransformV3: the output pixel (x, y) takes the value
        at ((a x + b y + c) / k, (d x + e y + f) / k) with k = g x + h y + 1; g and h are 0 here.
    """
    generator = epoch_generator(seed, epoch, stream=1)
    draws = generator.random((int(rows.max(initial=-1)) + 1, _DRAWS))[rows] * 2 - 1
    rotation = np.deg2rad(augment.rotation) * draws[:, 0]
    shear = np.tan(np.deg2rad(augment.shear) * draws[:, 1])
    zoom_x, zoom_y = 1 + augment.zoom * draws[:, 2], 1 + augment.zoom * draws[:, 3]
    shift_x, shift_y = augment.shift * size * draws[:, 4], augment.shift * size * draws[:, 5]
    # A shear along x, then a rotation, then a scale of each axis, all about the image's centre.
    cos, sin = np.cos(rotation), np.sin(rotation)
    a, b = cos / zoom_x, (cos * shear - sin) / zoom_x
    d, e = sin / zoom_y, (sin * shear + cos) / zoom_y
    centre = (size - 1) / 2
    c = centre - a * centre - b * centre + shift_x
    f = centre - d * centre - e * centre + shift_y
    zero = np.zeros_like(a)
    return np.stack([a, b, c, d, e, f, zero, zero], axis=1).astype(np.float32)
