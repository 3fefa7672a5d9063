"""The section of the competition file that says how training images are changed:
`[members.augment]`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.schema import Problem, number


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How strongly an image is changed.

    Each value is drawn again for each image and epoch, from ± its bound around no change.

    distribution: `uniform` between the bounds, or `normal` with the bound as standard deviation, as
        in published notebooks.
    probability: probability that rotation, shear, zoom and shift are applied at all, 0 to 1.
    rotation: bound in degrees, 0 to 180.
    shear: bound in degrees, 0 to 60.
    zoom: bound as a fraction, 0 to 0.9, for each axis separately; 0.1 gives a factor of 0.9 to 1.1.
    shift: bound as a fraction of the side, 0 to 1, for each axis.
    flip_horizontal: probability of a horizontal flip, 0 to 1.
    flip_vertical: probability of a vertical flip, 0 to 1.
    quarter_turns: whether images are turned by 0, 90, 180 or 270 degrees.
    hue: bound as a fraction of the colour circle, 0 to 0.5.
    saturation: bound as a fraction, 0 to 1; 0.3 gives a factor of 0.7 to 1.3.
    contrast: bound as a fraction, 0 to 1; 0.3 gives a factor of 0.7 to 1.3.
    brightness: bound as a fraction of 255, 0 to 1.
    erase: probability that a rectangle is filled with the image's mean colour, 0 to 1.
    erase_area: largest area of that rectangle as a fraction of the image, 0.02 to 1.
    """

    distribution: Literal["uniform", "normal"] = "uniform"
    probability: float = number(1.0, low=0, high=1)
    rotation: float = number(0.0, low=0, high=180)
    shear: float = number(0.0, low=0, high=60)
    zoom: float = number(0.0, low=0, high=0.9)
    shift: float = number(0.0, low=0, high=1)
    flip_horizontal: float = number(0.0, low=0, high=1)
    flip_vertical: float = number(0.0, low=0, high=1)
    quarter_turns: bool = False
    hue: float = number(0.0, low=0, high=0.5)
    saturation: float = number(0.0, low=0, high=1)
    contrast: float = number(0.0, low=0, high=1)
    brightness: float = number(0.0, low=0, high=1)
    erase: float = number(0.0, low=0, high=1)
    erase_area: float = number(0.33, low=0.02, high=1)


@dataclass(frozen=True, kw_only=True)
class AugmentChoice(Strength):
    """`[[members.augment.one_of]]`: changes that are applied after those of `[members.augment]`, to
    the images that draw this choice; the other keys are those of `[members.augment]`'s strengths.

    weight: how often the choice is drawn, relative to the other choices, 0 to 1,000,000.
    """

    weight: float = number(1.0, low=0, high=1e6)


@dataclass(frozen=True, kw_only=True)
class Augment(Strength):
    """`[members.augment]`: changes of training images and of the additional views of tta;
    validation during training uses unchanged images.

    The strengths (distribution to erase_area) are keys of this section, too.

    interpolation: `bilinear` or `nearest`, between pixels.
    fill: what fills areas from outside the image: `black`, or `edge` for the nearest pixel of the
        edge.
    crop: side in pixels of a square that is cut from the stored image, 8 to 1024; 0 for no crop.
        Without augmentation the square is cut from the middle.
    crop_at: `random` crops training images at a random place, `middle` always in the middle.
    cutmix: probability that a rectangle of the image is replaced with that of another image of the
        batch, 0 to 1.
    cutmix_alpha: parameter of the Beta distribution that the share of the image is drawn from, 0.01
        to 100.
    mixup: probability that the image is mixed with another image of the batch, 0 to 1; an image
        that CutMix changes is not mixed.
    mixup_alpha: parameter of the Beta distribution that the share of the image is drawn from, 0.01
        to 100.
    one_of: `[[members.augment.one_of]]`, of which each image draws one.
    """

    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    fill: Literal["black", "edge"] = "black"
    crop: int = number(0, low=0, high=1024)
    crop_at: Literal["random", "middle"] = "random"
    cutmix: float = number(0.0, low=0, high=1)
    cutmix_alpha: float = number(1.0, low=0.01, high=100)
    mixup: float = number(0.0, low=0, high=1)
    mixup_alpha: float = number(0.2, low=0.01, high=100)
    one_of: list[AugmentChoice] = field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.one_of and not sum(choice.weight for choice in self.one_of):
            yield Problem("one_of", "has no choice with a weight above 0")
        if self.crop and self.crop < 8:
            yield Problem("crop", f"= {self.crop}: must be at least 8, or 0 for no crop")
