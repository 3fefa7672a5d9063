"""The backbones that are known by name, and how their weights want pixels. No library is imported
here.

Sources of the constants: the `preprocess_input` of each module of keras.applications 3.15, and
where that does nothing the layers that the network starts with."""

import difflib
import re
from dataclasses import dataclass

import numpy as np

PACKAGE_PREFIX = "efficientnet/"
# Weights that are fetched by name; any other value is a file.
PUBLISHED_WEIGHTS = ("imagenet", "noisy-student")
# "package.module:function"
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class Pixels:
    """(pixel - mean) / std, a channel, of pixels in 0 to 255, after the channels were turned round
    where `bgr`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool = False


IMAGENET = Pixels(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
_PLUS_MINUS_ONE = Pixels(mean=(127.5,) * 3, std=(127.5,) * 3)
_OF_128 = Pixels(mean=(128.0,) * 3, std=(128.0,) * 3)
_CAFFE = Pixels(mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, bgr=True)


@dataclass(frozen=True)
class Family:
    """Networks of one kind: their names in keras.applications, what their weights want, the
    smallest side they take, and whether their own preprocessing is to be left out with
    `include_preprocessing = False`."""

    names: tuple[str, ...]
    pixels: Pixels
    smallest: int = 32
    optional_preprocessing: bool = False


FAMILIES = (
    Family(tuple(f"EfficientNetB{n}" for n in range(8)), IMAGENET),
    Family(tuple(f"EfficientNetV2B{n}" for n in range(4)), IMAGENET, optional_preprocessing=True),
    Family(tuple(f"EfficientNetV2{n}" for n in "SML"), _OF_128, optional_preprocessing=True),
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
    """The family of a backbone that goes by a name; None for `cnn` and for functions."""
    return _BY_NAME.get(backbone.removeprefix(PACKAGE_PREFIX))


def is_published(weights: str) -> bool:
    """Whether `weights` names published weights, or none (""), and not a file."""
    return weights in ("", *PUBLISHED_WEIGHTS)


def of_package(backbone: str) -> bool:
    """Whether it is one of the package efficientnet."""
    return backbone.startswith(PACKAGE_PREFIX)


def is_function(backbone: str) -> bool:
    """Whether it is `package.module:function`."""
    return bool(_FUNCTION.fullmatch(backbone))


def problem(backbone: str, side: int) -> str | None:
    """What is wrong with a backbone's name, or with a side of `side` pixels for it (0: not known
    yet); None if nothing."""
    if backbone == "cnn" or is_function(backbone):
        return None
    known = [*_BY_NAME, *(PACKAGE_PREFIX + name for name in PACKAGE_NAMES), "cnn"]
    if backbone not in known:
        close = difflib.get_close_matches(backbone, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return (
            f"is no known backbone: {hint}Allowed: {', '.join(sorted(known))}, or"
            " package.module:function"
        )
    smallest = _BY_NAME[backbone.removeprefix(PACKAGE_PREFIX)].smallest
    if side and side < smallest:
        return (
            f"takes images of {smallest} pixels or more, and these have {side}: name a larger size"
        )
    return None


def pixels(backbone: str, normalise: str, mean: np.ndarray, std: np.ndarray) -> Pixels:
    """How the pixels of a member are standardised.

    Args:
        normalise: of the recipe.
        mean, std: (channels,) of the fold's training pixels.
    """
    found = family(backbone)
    if normalise == "imagenet" or (normalise == "backbone" and found is None):
        return IMAGENET
    if normalise == "backbone" and found is not None:
        return found.pixels
    if normalise == "none":
        return Pixels(mean=(0.0,) * len(mean), std=(255.0,) * len(mean))
    # A channel that never varies has nothing to scale: leave it, instead of dividing by nought.
    return Pixels(mean=tuple(mean.tolist()), std=tuple(np.where(std > 0, std, 1.0).tolist()))
