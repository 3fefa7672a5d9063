"""Augmentation, painted by the processor: uint8 in, uint8 out, one image at a time while it is in
the cache.

OpenCV 5 takes coordinates as they are, so that the device paints the same image to the rounding of
uint8 (older versions cut them to 1/32 of a pixel)."""

import cv2
import numpy as np

from trainer.config.member import Augment
from trainer.input.augment import AugmentParams

_INTERPOLATION = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}
_BORDER = {"black": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE}


def apply(
    image: np.ndarray, drawn: AugmentParams, place: int, augment: Augment, out: np.ndarray
) -> None:
    """One image by itself: moved, coloured, erased; not yet mixed.

    Args:
        image: (size, size, channels) uint8 as stored.
        drawn: of its batch; `place`: where it stands in that.
        augment: says how pixels are interpolated and what comes in from outside.
        out: (side, side, channels) uint8, to write.
    """
    side = out.shape[0]
    affine = drawn.affine[place].astype(np.float64).reshape(2, 3)
    corner = affine[:, 2]
    if (
        (affine[:, :2] == np.eye(2)).all()
        and (corner == np.floor(corner)).all()
        and (corner >= 0).all()
    ):
        # A crop, or nothing at all.
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
    """The batch with every image that takes something of its partner mixed with it, or given a part
    of it.

    Args:
        batch: (n, side, side, channels) uint8, all of them painted.
    """
    if not drawn.mixes:
        return batch
    joined = batch.copy()
    for place in np.flatnonzero(drawn.share < 1):
        partner = batch[drawn.partner[place]]
        x0, y0, x1, y1 = drawn.box[place]
        joined[place, y0:y1, x0:x1] = partner[y0:y1, x0:x1]
        own = float(drawn.mix[place])
        if own < 1:
            cv2.addWeighted(batch[place], own, partner, 1 - own, 0, dst=joined[place])
    return joined
