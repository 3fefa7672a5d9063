"""Draws the augmentation of each image of a batch, as numbers that the host and the device apply
alike.

The values depend on nothing but (seed, epoch, row), so a run that is repeated, resumed or split
into other jobs trains on the same images. augment_cpu.py and augment_device.py apply them: all
geometric changes are one affine map of the coordinates, and all colour changes one affine map of
the channels.
"""

from dataclasses import dataclass

import numpy as np

from trainer.config.augment import Augment, Strength

# Uniform values per image: for the strengths of the augmentation and again of each choice, and for
# everything else.
_STRENGTH_DRAWS, _OTHER_DRAWS = 19, 10
_SMALLEST_ERASED = 0.02
_FLATTEST_ERASED = 0.3
# Rows: brightness (ITU-R BT.601), and the two colour differences of YIQ (FCC NTSC).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class AugmentParams:
    """The augmentation of n images of a batch.

    Attributes:
        affine: (n, 6) float32; the output pixel (x, y) is read at (a x + b y + c, d x + e y + f) of
            the stored image.
        colour: (n, channels, channels + 1) float32; the pixel v, 0 to 255, becomes M v + m and is
            clipped.
        erase: (n, 4) int32; x0, y0, x1, y1 of the rectangle [x0, x1) × [y0, y1) of the output that
            is painted with `fill`; x0 = x1 for none.
        fill: (n, channels) float32, the colour of the erased rectangle, 0 to 255.
        box: (n, 4) int32; the rectangle that is copied from the image at `partner` in the batch.
        partner: (n,) int32, the position in the batch of the image to mix with.
        mix: (n,) float32; the weight of the image itself if it is blended with its partner, else 1.
        share: (n,) float32; the weight of its own label; the rest is the weight of its partner's
            label.
    """

    affine: np.ndarray
    colour: np.ndarray
    erase: np.ndarray
    fill: np.ndarray
    box: np.ndarray
    partner: np.ndarray
    mix: np.ndarray
    share: np.ndarray

    @property
    def mixes(self) -> bool:
        """Whether any image is mixed with another."""
        return bool((self.share < 1).any())

    def of(self, rows: np.ndarray | slice) -> "AugmentParams":
        """Return the augmentation of some of the images; `partner` still counts in the complete
        batch."""
        return AugmentParams(**{name: values[rows] for name, values in vars(self).items()})


def epoch_generator(seed: int, epoch: int, *, stream: int) -> np.random.Generator:
    """Return the generator of random numbers of one epoch.

    The streams share no values: 0 for the order of the images, 1 for their augmentation, 2 for the
    views of predictions (one epoch per view). Philox is counter-based, so seed and epoch are the
    key and a stream is a distant counter (Salmon et al., "Parallel random numbers: as easy as 1, 2,
    3", SC11, section 3).

    Args:
        seed: seed of the model.
        epoch: number of the epoch, or of the view.
        stream: 0, 1 or 2.
    """
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, stream]))


def epoch_draws(
    augment: Augment, *, seed: int, epoch: int, rows: int, stream: int = 1
) -> np.ndarray:
    """Return the random values of an epoch: (rows, k) float64 in [0, 1).

    Each image has its own row, so its values do not depend on the order of the images.

    Args:
        augment: determines k.
        seed: seed of the model.
        epoch: number of the epoch, or of the view.
        rows: number of images.
        stream: as for `epoch_generator`.
    """
    columns = _STRENGTH_DRAWS * (1 + len(augment.one_of)) + _OTHER_DRAWS
    return epoch_generator(seed, epoch, stream=stream).random((rows, columns))


def untouched(images: int, *, size: int, side: int, channels: int) -> AugmentParams:
    """Return parameters that cut the middle out of the images and change nothing else.

    Args:
        images: number of images.
        size: side of the stored images in pixels.
        side: side of the output in pixels.
        channels: channels of the images.
    """
    uniform = np.full((images, _STRENGTH_DRAWS + _OTHER_DRAWS), 0.5)
    return draw(
        Augment(crop=side if side < size else 0, crop_at="middle"),
        uniform,
        size=size,
        means=np.zeros((images, channels)),
    )


def draw(
    augment: Augment,
    uniform: np.ndarray,
    *,
    size: int,
    means: np.ndarray,
    mixing: bool = True,
    batch: int = 0,
) -> AugmentParams:
    """Return the augmentation of the images of one batch, or of several.

    Args:
        augment: the bounds.
        uniform: (n, k) the row of `epoch_draws` of each image, in the order of the batch.
        size: side of the stored images in pixels.
        means: (n, channels) mean pixel of each stored image, 0 to 255; contrast changes around it,
            and erasing paints it.
        mixing: whether images may be mixed; views of a prediction are not.
        batch: images per batch, 0 if all images are one batch; partners are from the same batch and
            count within it.
    """
    images, side = len(means), augment.crop or size
    own, rest = uniform[:, :_STRENGTH_DRAWS], uniform[:, -_OTHER_DRAWS:]
    linear, shift = _geometry(augment, own, side)
    colour = _colour(augment, own, means)
    erase = _erased(augment, own, side)
    if augment.one_of:
        weights = np.array([choice.weight for choice in augment.one_of])
        picked = np.searchsorted(np.cumsum(weights) / weights.sum(), rest[:, 0], side="right")
        for index, choice in enumerate(augment.one_of):
            rows = picked == index
            values = uniform[rows, _STRENGTH_DRAWS * (index + 1) : _STRENGTH_DRAWS * (index + 2)]
            choice_linear, choice_shift = _geometry(choice, values, side)
            shift[rows] += (linear[rows] @ choice_shift[:, :, None])[:, :, 0]
            linear[rows] = linear[rows] @ choice_linear
            choice_colour = _colour(
                choice, values, np.einsum("nij,nj->ni", colour[rows], _with_one(means[rows]))
            )
            colour[rows] = _after(choice_colour, colour[rows])
            patch = _erased(choice, values, side)
            erase[rows] = np.where((patch[:, 2] > patch[:, 0])[:, None], patch, erase[rows])
    corner = np.full((images, 2), (size - side) // 2, dtype=np.float64)
    if augment.crop_at == "random":
        corner = np.floor(rest[:, 1:3] * (size - side + 1))
    box, partner, mix = _mixed(augment, rest, side, mixing=mixing, batch=batch or images)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    # The exact share of pixels, after the box was clipped.
    share = mix * (1 - area / (side * side))
    return AugmentParams(
        affine=_of_pixels(linear, shift + corner, side),
        colour=colour.astype(np.float32),
        erase=erase,
        fill=np.einsum("nij,nj->ni", colour, _with_one(means)).clip(0, 255).astype(np.float32),
        box=box,
        partner=partner,
        mix=mix.astype(np.float32),
        share=share.astype(np.float32),
    )


def _symmetric(uniform: np.ndarray, distribution: str) -> np.ndarray:
    """Return values around 0: in ±1, or of the standard normal distribution."""
    if distribution == "uniform":
        return uniform * 2 - 1
    from scipy.special import ndtri

    # 0 occurs once in 2**53 draws and would give minus infinity.
    return np.asarray(ndtri(np.maximum(uniform, 2.0**-53)))


def _geometry(strength: Strength, uniform: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return maps from output to input around the centre, (n, 2, 2), and shifts in pixels, (n, 2).

    The map is shear, rotation, then zoom.
    """
    values = _symmetric(uniform[:, 1:7], strength.distribution)
    rotation = np.deg2rad(strength.rotation) * values[:, 0]
    shear = np.tan(np.deg2rad(np.clip(strength.shear * values[:, 1], -80, 80)))
    # A normal draw may be extreme: limit the factor to ten in either direction.
    zoom = np.clip(1 + strength.zoom * values[:, 2:4], 0.1, 10)
    shift = strength.shift * side * values[:, 4:6]
    cos, sin = np.cos(rotation), np.sin(rotation)
    linear = (
        np.stack([cos, cos * shear - sin, sin, sin * shear + cos], axis=1).reshape(-1, 2, 2)
        / zoom[:, :, None]
    )
    unchanged = uniform[:, 0] >= strength.probability
    linear[unchanged], shift[unchanged] = np.eye(2), 0
    turned = (
        np.floor(uniform[:, 9] * 4) * (np.pi / 2)
        if strength.quarter_turns
        else np.zeros(len(uniform))
    )
    # Exact zeros and ones, so that a turned image has exactly the pixels of the original.
    c, s = np.round(np.cos(turned)), np.round(np.sin(turned))
    turn = np.stack([c, -s, s, c], axis=1).reshape(-1, 2, 2)
    flip = np.where(
        np.stack(
            [uniform[:, 7] < strength.flip_horizontal, uniform[:, 8] < strength.flip_vertical],
            axis=1,
        ),
        -1.0,
        1.0,
    )
    return linear @ (turn * flip[:, None, :]), shift


def _of_pixels(linear: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Return a map around the centre as a map of pixel coordinates: (n, 6) float32.

    Args:
        linear: (n, 2, 2) map around the centre of the output.
        shift: (n, 2) shift in pixels, added to the map.
        side: side of the output in pixels.
    """
    centre = (side - 1) / 2
    offset = centre - linear.sum(axis=2) * centre + shift
    return np.concatenate([linear, offset[:, :, None]], axis=2).astype(np.float32).reshape(-1, 6)


def _with_one(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the maps `second` after `first`; all are (n, c, c + 1)."""
    channels = first.shape[1]
    combined = second[:, :, :channels] @ first
    combined[:, :, channels] += second[:, :, channels]
    return combined


def _colour(strength: Strength, uniform: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return hue, saturation, contrast and brightness, in this order, as one affine map of the
    channels: (n, c, c + 1).

    Hue rotates the plane of colour differences in YIQ, which leaves brightness unchanged; contrast
    changes around the image's mean after hue and saturation.
    """
    images, channels = means.shape
    values = _symmetric(uniform[:, 10:14], strength.distribution)
    matrix = np.tile(np.eye(channels), (images, 1, 1))
    if channels == 3:
        angle = 2 * np.pi * strength.hue * values[:, 0]
        turn = np.tile(np.eye(3), (images, 1, 1))
        turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        if strength.hue:
            matrix = np.linalg.inv(_YIQ) @ turn @ _YIQ
        saturation = np.maximum(0, 1 + strength.saturation * values[:, 1])[:, None, None]
        matrix = (saturation * np.eye(3) + (1 - saturation) * _YIQ[0]) @ matrix
    contrast = np.maximum(0, 1 + strength.contrast * values[:, 2])[:, None]
    offset = (1 - contrast) * np.einsum(
        "nij,nj->ni", matrix, means
    ) + 255 * strength.brightness * values[:, 3:4]
    return np.concatenate([contrast[:, :, None] * matrix, offset[:, :, None]], axis=2)


def _erased(strength: Strength, uniform: np.ndarray, side: int) -> np.ndarray:
    """Return the erased rectangles, clipped: (n, 4) int32 (Zhong et al., "Random erasing data
    augmentation", AAAI 2020, algorithm 1)."""
    area = _SMALLEST_ERASED + (strength.erase_area - _SMALLEST_ERASED) * uniform[:, 15]
    aspect = _FLATTEST_ERASED ** (1 - 2 * uniform[:, 16])
    width, height = side * np.sqrt(area * aspect), side * np.sqrt(area / aspect)
    boxes = _boxes(uniform[:, 17], uniform[:, 18], width, height, side)
    boxes[uniform[:, 14] >= strength.erase] = 0
    return boxes


def _boxes(
    x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray, side: int
) -> np.ndarray:
    """Return rectangles around points, clipped at the edges: (n, 4) int32.

    Args:
        x: (n,) centre as a fraction of the side, in [0, 1).
        y: (n,) centre as a fraction of the side, in [0, 1).
        width: (n,) in pixels.
        height: (n,) in pixels.
        side: side of the image in pixels.
    """
    centre = np.stack([x, y], axis=1) * side
    half = np.stack([width, height], axis=1) / 2
    return (
        np.concatenate([centre - half, centre + half], axis=1)
        .round()
        .clip(0, side)
        .astype(np.int32)
    )


def _mixed(
    augment: Augment, rest: np.ndarray, side: int, *, mixing: bool, batch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the box, the partner, and the weight of its own pixels for each image.

    CutMix: Yun et al., ICCV 2019, section 3.1; MixUp: Zhang et al., ICLR 2018, section 2. The
        weights are drawn from Beta(a, a).
    """
    images = len(rest)
    # Any other image of the batch; in a batch of one, the image itself.
    partner = (
        np.arange(images) % batch + 1 + np.floor(rest[:, 3] * max(1, batch - 1)).astype(np.int64)
    ) % batch
    box, mix = np.zeros((images, 4), np.int32), np.ones(images)
    cuts = mixing & (rest[:, 4] < augment.cutmix)
    if cuts.any():
        edge = side * np.sqrt(1 - _beta(augment.cutmix_alpha, rest[cuts, 5]))
        box[cuts] = _boxes(rest[cuts, 6], rest[cuts, 7], edge, edge, side)
    mixes = mixing & ~cuts & (rest[:, 8] < augment.mixup)
    if mixes.any():
        mix[mixes] = _beta(augment.mixup_alpha, rest[mixes, 9])
    return box, partner.astype(np.int32), mix


def _beta(alpha: float, uniform: np.ndarray) -> np.ndarray:
    """Return values of Beta(alpha, alpha) by the inverse distribution function, one per uniform
    value for any alpha."""
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, uniform))
