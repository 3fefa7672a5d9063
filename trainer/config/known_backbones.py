"""The backbones that are known by name, and how their weights expect pixels. Imports no
deep-learning library.

Sources of the constants: the `preprocess_input` of each module of keras.applications 3.15; if that
does nothing, the layers that the network starts with.
"""

import difflib
import re
from dataclasses import dataclass

import numpy as np

# Logistic regression on pixels: no network, and no TensorFlow.
LINEAR = "linear"
PACKAGE_PREFIX = "efficientnet/"
# Weights that are fetched by name; any other value is a file.
IMAGENET_WEIGHTS, NOISY_STUDENT = PUBLISHED_WEIGHTS = ("imagenet", "noisy-student")
# "package.module:function"
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Pixels:
    """Standardises each channel as (pixel - mean) / std, for pixels in 0 to 255.

    Attributes:
        mean: one value per channel.
        std: one value per channel.
        bgr: whether the channels are reversed first, to blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False


IMAGENET = Pixels(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
_PLUS_MINUS_ONE = Pixels(mean=(127.5,) * 3, std=(127.5,) * 3)
_AROUND_128 = Pixels(mean=(128.0,) * 3, std=(128.0,) * 3)
_CAFFE = Pixels(mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, bgr=True)


@dataclass(frozen=True)
class Family:
    """Networks of one architecture.

    Attributes:
        names: their names in keras.applications.
        pixels: how their weights expect pixels.
        smallest: the smallest image side in pixels that they accept.
        optional_preprocessing: whether `include_preprocessing = False` removes their own
            preprocessing.
    """

    names: tuple[str, ...]
    pixels: Pixels
    smallest: int = 32
    optional_preprocessing: bool = False


FAMILIES = (
    Family(tuple(f"EfficientNetB{n}" for n in range(8)), IMAGENET),
    Family(tuple(f"EfficientNetV2B{n}" for n in range(4)), IMAGENET, optional_preprocessing=True),
    Family(tuple(f"EfficientNetV2{n}" for n in "SML"), _AROUND_128, optional_preprocessing=True),
    Family(
        tuple(f"ConvNeXt{n}" for n in ("Tiny", "Small", "Base", "Large", "XLarge")),
        IMAGENET,
        optional_preprocessing=True,
    ),
    Family(tuple(f"DenseNet{n}" for n in (121, 169, 201)), IMAGENET),
    Family(tuple(f"ResNet{n}" for n in (50, 101, 152)), _CAFFE),
    Family(tuple(f"ResNet{n}V2" for n in (50, 101, 152)), _PLUS_MINUS_ONE),
    Family(("MobileNet", "MobileNetV2", "NASNetMobile", "NASNetLarge"), _PLUS_MINUS_ONE),
    Family(("MobileNetV3Small", "MobileNetV3Large"), _PLUS_MINUS_ONE, optional_preprocessing=True),
    Family(("Xception",), _PLUS_MINUS_ONE, smallest=71),
    Family(("InceptionV3", "InceptionResNetV2"), _PLUS_MINUS_ONE, smallest=75),
    Family(("VGG16", "VGG19"), _CAFFE),
)
_BY_NAME = {name: family for family in FAMILIES for name in family.names}
PACKAGE_NAMES = tuple(f"EfficientNetB{n}" for n in range(8))


def family(backbone: str) -> Family | None:
    """Return the family of a named backbone; None for `cnn` and for functions."""
    return _BY_NAME.get(backbone.removeprefix(PACKAGE_PREFIX))


def is_published(weights: str) -> bool:
    """Whether `weights` names published weights, or none (""), and not a file."""
    return weights in ("", *PUBLISHED_WEIGHTS)


def weights_problem(weights: str, backbone: str) -> str | None:
    """Return what is wrong with the name of published weights for a backbone; None if nothing is.

    Args:
        weights: published weights, a file, or "".
        backbone: the name of a known backbone, or a function.
    """
    if weights == NOISY_STUDENT and "EfficientNetB" not in backbone:
        return f"= {weights!r}: only available for EfficientNetB0 to B7, not for {backbone!r}"
    if weights in PUBLISHED_WEIGHTS and (backbone in ("cnn", LINEAR) or is_function(backbone)):
        return f"= {weights!r}: there are no such weights for backbone = {backbone!r}"
    return None


def of_package(backbone: str) -> bool:
    """Return whether the backbone is from the package efficientnet."""
    return backbone.startswith(PACKAGE_PREFIX)


def is_function(backbone: str) -> bool:
    """Return whether the backbone is written as `package.module:function`."""
    return bool(_FUNCTION.fullmatch(backbone))


def problem(backbone: str, side: int) -> str | None:
    """Return what is wrong with a backbone, or None.

    Args:
        backbone: name of the backbone.
        side: image side in pixels; 0 if it is not known yet.
    """
    if backbone in ("cnn", LINEAR) or is_function(backbone):
        return None
    known = [*_BY_NAME, *(PACKAGE_PREFIX + name for name in PACKAGE_NAMES), "cnn", LINEAR]
    if backbone not in known:
        close = difflib.get_close_matches(backbone, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        return (
            f"unknown backbone{hint} Allowed: {', '.join(sorted(known))}, or"
            " package.module:function"
        )
    smallest = _BY_NAME[backbone.removeprefix(PACKAGE_PREFIX)].smallest
    if side and side < smallest:
        return (
            f"requires images of at least {smallest} pixels, but these have {side}: set a larger"
            " size"
        )
    return None


def pixels(backbone: str, normalise: str, mean: np.ndarray, std: np.ndarray) -> Pixels:
    """Return how the pixels of a member are standardised.

    Args:
        backbone: the member's backbone.
        normalise: the member's normalise.
        mean: (channels,) of the fold's training pixels, 0 to 255.
        std: (channels,) of the fold's training pixels.
    """
    known_family = family(backbone)
    if normalise == "imagenet" or (normalise == "backbone" and known_family is None):
        return IMAGENET
    if normalise == "backbone" and known_family is not None:
        return known_family.pixels
    if normalise == "none":
        return Pixels(mean=(0.0,) * len(mean), std=(255.0,) * len(mean))
    # A constant channel is left unscaled instead of divided by zero.
    return Pixels(mean=tuple(mean.tolist()), std=tuple(np.where(std > 0, std, 1.0).tolist()))
