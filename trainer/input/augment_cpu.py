"""Applies augmentation on the CPU: uint8 in, uint8 out, one image at a time while it is in the
cache.

OpenCV 5 uses exact coordinates, so the device computes the same image up to the rounding to uint8.
Older versions round coordinates to 1/32 of a pixel.
"""

import cv2
import numpy as np

from trainer.config.augment import Augment
from trainer.input.augment import AugmentParams

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}
_BORDER = {"black": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE}


def apply(
    image: np.ndarray, drawn: AugmentParams, place: int, augment: Augment, out: np.ndarray
) -> None:
    """Augment one image: geometry, colour, erasing; `mix` is separate.

    Args:
        image: (size, size, channels) uint8, as stored.
        drawn: the augmentation of the batch.
        place: position of the image in the batch.
        augment: determines the interpolation, and the fill of areas from outside.
        out: (side, side, channels) uint8, written by this function.
    """
    side = out.shape[0]
    affine = drawn.affine[place].astype(np.float64).reshape(2, 3)
    corner = affine[:, 2]
    if (
        (affine[:, :2] == np.eye(2)).all()
        and (corner == np.floor(corner)).all()
        and (corner >= 0).all()
    ):
        # A crop, or no change.
        x, y = corner.astype(int)
        out[:] = image[y : y + side, x : x + side]
    else:
        moved = cv2.warpAffine(
            image,
            affine,
            (side, side),
            flags=_INTERPOLATION[augment.interpolation] | cv2.WARP_INVERSE_MAP,
            borderMode=_BORDER[augment.fill],
        )
        out[:] = moved.reshape(out.shape)
    colour = drawn.colour[place]
    channels = out.shape[2]
    if not (colour == np.eye(channels, channels + 1, dtype=np.float32)).all():
        out[:] = cv2.transform(out, colour).reshape(out.shape)
    x0, y0, x1, y1 = drawn.erase[place]
    if x1 > x0:
        out[y0:y1, x0:x1] = np.round(drawn.fill[place]).astype(np.uint8)


def mix(batch: np.ndarray, drawn: AugmentParams) -> np.ndarray:
    """Return the batch after CutMix and MixUp.

    Args:
        batch: (n, side, side, channels) uint8, all images augmented.
        drawn: the augmentation of the batch.
    """
    if not drawn.mixes:
        return batch
    mixed = batch.copy()
    for place in np.flatnonzero(drawn.share < 1):
        partner = batch[drawn.partner[place]]
        x0, y0, x1, y1 = drawn.box[place]
        mixed[place, y0:y1, x0:x1] = partner[y0:y1, x0:x1]
        own = float(drawn.mix[place])
        if own < 1:
            cv2.addWeighted(batch[place], own, partner, 1 - own, 0, dst=mixed[place])
    return mixed
