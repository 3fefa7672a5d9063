"""Augmentation, drawn: what is done to each image of a batch, as numbers that the host and the
device paint alike.

The draws depend on nothing but (seed, epoch, row), so a run that is repeated, resumed or cut into
other tasks sees the same images. How they are applied stands in augment_cpu.py and
augment_device.py: all changes of place are one affine map of coordinates, and all changes of colour
one affine map of the channels."""

from dataclasses import dataclass

import numpy as np

from trainer.config.member import Augment, Strength

# Uniform values an image: of the strengths of the augmentation itself and of each choice, and of
# all the rest.
_STRENGTH_DRAWS, _OTHER_DRAWS = 19, 10
_SMALLEST_ERASED = 0.02
_FLATTEST_ERASED = 0.3
# ITU-R BT.601: brightness, and the two colour differences of YIQ (FCC NTSC).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class AugmentParams:
    """What is done to n images of a batch.

    affine: (n, 6) float32: the output pixel (x, y) is taken at (a x + b y + c, d x + e y + f) of
    the stored image.
    colour: (n, channels, channels + 1) float32: the pixel v, 0 to 255, becomes M v + m, and is
    clipped.
    erase: (n, 4) int32: the rectangle [x0, x1) × [y0, y1) of the output, x0, y0, x1, y1, that is
        painted with `fill`, (n, channels) float32; x0 = x1 for none.
    box: (n, 4) int32: the rectangle that comes from the image at `partner` in the batch.
    partner: (n,) int32.
    mix: (n,) float32: the share of the image itself where it is mixed with its partner all over,
    else 1.
    share: (n,) float32: of its own label; the rest is its partner's.
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
        """Whether any image takes something of another."""
        return bool((self.share < 1).any())

    def of(self, rows: np.ndarray | slice) -> "AugmentParams":
        """What is done to some of the images; `partner` still counts in the whole batch."""
        return AugmentParams(**{name: values[rows] for name, values in vars(self).items()})


def epoch_generator(seed: int, epoch: int, *, stream: int) -> np.random.Generator:
    """The random numbers of one epoch. Streams 0 (the order of the images), 1 (what is done to
    them) and 2 (views of a prediction, an epoch a view) share no value.

    Philox is counter-based, so seed and epoch are a key and a stream is a far-off counter (Salmon
    et al., "Parallel random numbers: as easy as 1, 2, 3", SC11, section 3)."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=[0, 0, 0, stream]))


def epoch_draws(
    augment: Augment, *, seed: int, epoch: int, rows: int, stream: int = 1
) -> np.ndarray:
    """(rows, k) float64 in [0, 1): the values of an epoch, a row an image: it keeps its own in
    whatever order it comes."""
    drawn = _STRENGTH_DRAWS * (1 + len(augment.one_of)) + _OTHER_DRAWS
    return epoch_generator(seed, epoch, stream=stream).random((rows, drawn))


def untouched(images: int, *, size: int, side: int, channels: int) -> AugmentParams:
    """The middle `side` × `side` pixels of stored images of `size`, as they are."""
    still = np.full((images, _STRENGTH_DRAWS + _OTHER_DRAWS), 0.5)
    return draw(
        Augment(crop=side if side < size else 0, crop_at="middle"),
        still,
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
    """What is done to the images of a batch, or of several.

    Args:
        augment: the bounds.
        uniform: (n, k) each image's row of `epoch_draws`, in the order of the batch.
        size: side of the stored images in pixels.
        means: (n, channels) mean pixel of each stored image, 0 to 255: contrast is about it, and
            erasing paints it.
        mixing: whether images may be mixed; views of a prediction are not.
        batch: how many images a batch has, 0 for all: partners are of the same batch, and count in
            it.
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
            drawn = uniform[rows, _STRENGTH_DRAWS * (index + 1) : _STRENGTH_DRAWS * (index + 2)]
            further, moved = _geometry(choice, drawn, side)
            shift[rows] += (linear[rows] @ moved[:, :, None])[:, :, 0]
            linear[rows] = linear[rows] @ further
            later = _colour(
                choice, drawn, np.einsum("nij,nj->ni", colour[rows], _with_one(means[rows]))
            )
            colour[rows] = _after(later, colour[rows])
            again = _erased(choice, drawn, side)
            erase[rows] = np.where((again[:, 2] > again[:, 0])[:, None], again, erase[rows])
    corner = np.full((images, 2), (size - side) // 2, dtype=np.float64)
    if augment.crop_at == "random":
        corner = np.floor(rest[:, 1:3] * (size - side + 1))
    box, partner, mix = _joined(augment, rest, side, mixing=mixing, batch=batch or images)
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    # The exact share of pixels, after the box was clipped at the edges.
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
    """Values about 0: in ±1, or of the standard normal distribution."""
    if distribution == "uniform":
        return uniform * 2 - 1
    from scipy.special import ndtri

    # 0 is drawn once in 2**53 times and would be infinite.
    return np.asarray(ndtri(np.maximum(uniform, 2.0**-53)))


def _geometry(strength: Strength, uniform: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2, 2) from output to input about the centre, and (n, 2) the shift in pixels: shear,
    rotation, then zoom."""
    values = _symmetric(uniform[:, 1:7], strength.distribution)
    rotation = np.deg2rad(strength.rotation) * values[:, 0]
    shear = np.tan(np.deg2rad(np.clip(strength.shear * values[:, 1], -80, 80)))
    # A normal draw may be far out: an image is made at most ten times larger or smaller.
    zoom = np.clip(1 + strength.zoom * values[:, 2:4], 0.1, 10)
    shift = strength.shift * side * values[:, 4:6]
    cos, sin = np.cos(rotation), np.sin(rotation)
    linear = (
        np.stack([cos, cos * shear - sin, sin, sin * shear + cos], axis=1).reshape(-1, 2, 2)
        / zoom[:, :, None]
    )
    still = uniform[:, 0] >= strength.probability
    linear[still], shift[still] = np.eye(2), 0
    turned = (
        np.floor(uniform[:, 9] * 4) * (np.pi / 2)
        if strength.quarter_turns
        else np.zeros(len(uniform))
    )
    # Exact noughts and ones: a turned image is the image's own pixels.
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
    """(n, 6) float32: the map about the centre of a picture of `side`, moved by `shift`, as one of
    pixel coordinates."""
    centre = (side - 1) / 2
    moved = centre - linear.sum(axis=2) * centre + shift
    return np.concatenate([linear, moved[:, :, None]], axis=2).astype(np.float32).reshape(-1, 6)


def _with_one(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, np.ones((len(values), 1))], axis=1)


def _after(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(n, c, c + 1) maps: `second` of what `first` gives."""
    channels = first.shape[1]
    combined = second[:, :, :channels] @ first
    combined[:, :, channels] += second[:, :, channels]
    return combined


def _colour(strength: Strength, uniform: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(n, c, c + 1): hue, saturation, contrast, brightness, in this order, as one affine map of the
    channels.

    Hue turns the plane of colour differences in YIQ, which leaves brightness as it is; contrast is
    about the image's own mean as the map before has made it."""
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
    """(n, 4) int32 rectangles (Zhong et al., "Random erasing data augmentation", AAAI 2020,
    algorithm 1), clipped."""
    area = _SMALLEST_ERASED + (strength.erase_area - _SMALLEST_ERASED) * uniform[:, 15]
    aspect = _FLATTEST_ERASED ** (1 - 2 * uniform[:, 16])
    width, height = side * np.sqrt(area * aspect), side * np.sqrt(area / aspect)
    boxes = _boxes(uniform[:, 17], uniform[:, 18], width, height, side)
    boxes[uniform[:, 14] >= strength.erase] = 0
    return boxes


def _boxes(
    x: np.ndarray, y: np.ndarray, width: np.ndarray, height: np.ndarray, side: int
) -> np.ndarray:
    """(n, 4) int32: rectangles about the points (x, y), in [0, 1) of the side, clipped at the
    edges."""
    centre = np.stack([x, y], axis=1) * side
    half = np.stack([width, height], axis=1) / 2
    return (
        np.concatenate([centre - half, centre + half], axis=1)
        .round()
        .clip(0, side)
        .astype(np.int32)
    )


def _joined(
    augment: Augment, rest: np.ndarray, side: int, *, mixing: bool, batch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each image's box, partner and share of itself.

    CutMix: Yun et al., ICCV 2019, section 3.1; MixUp: Zhang et al., ICLR 2018, section 2. The
    shares are of Beta(a, a)."""
    images = len(rest)
    # Any other image of the batch; of a batch of one, itself.
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
    """Beta(alpha, alpha) by its inverse distribution function: one uniform value each, whatever
    alpha is."""
    from scipy.special import betaincinv

    return np.asarray(betaincinv(alpha, alpha, uniform))
