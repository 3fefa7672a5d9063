"""The section of the competition file that says how training images are changed:
`[members.augment]`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainer.config.schema import Flag, Number, Problem, Section, Whole, Within


@dataclass(frozen=True, kw_only=True)
class Strength(Section):
    """How strongly an image is changed.

    Each value is drawn again for each image and epoch, from ± its bound around no change.
    """

    distribution: Literal["uniform", "normal"] = "uniform"
    """How the value of a change is drawn: `uniform` between plus and minus its bound, or `normal`
    with the bound as standard deviation, as in published notebooks."""
    probability: Annotated[Number, Within(0, 1)] = 1.0
    """Probability that rotation, shear, zoom and shift are applied to an image at all."""
    rotation: Annotated[Number, Within(0, 180, "degrees")] = 0.0
    """Largest rotation, in either direction."""
    shear: Annotated[Number, Within(0, 60, "degrees")] = 0.0
    """Largest shear, in either direction."""
    zoom: Annotated[Number, Within(0, 0.9)] = 0.0
    """Largest change of scale as a fraction, for each axis separately; 0.1 scales by 0.9 to 1.1."""
    shift: Annotated[Number, Within(0, 1)] = 0.0
    """Largest shift along each axis, as a fraction of the image's side."""
    flip_horizontal: Annotated[Number, Within(0, 1)] = 0.0
    """Probability that left and right are swapped."""
    flip_vertical: Annotated[Number, Within(0, 1)] = 0.0
    """Probability that top and bottom are swapped."""
    quarter_turns: Flag = False
    """Turn each image by 0, 90, 180 or 270 degrees, for images without a top, such as those of a
    microscope."""
    hue: Annotated[Number, Within(0, 0.5)] = 0.0
    """Largest shift of the hue, as a fraction of the colour circle."""
    saturation: Annotated[Number, Within(0, 1)] = 0.0
    """Largest change of the saturation as a fraction; 0.3 multiplies it by 0.7 to 1.3."""
    contrast: Annotated[Number, Within(0, 1)] = 0.0
    """Largest change of the contrast as a fraction; 0.3 multiplies it by 0.7 to 1.3."""
    brightness: Annotated[Number, Within(0, 1)] = 0.0
    """Largest change of the brightness, as a fraction of 255."""
    erase: Annotated[Number, Within(0, 1)] = 0.0
    """Probability that a rectangle is filled with the image's mean colour."""
    erase_area: Annotated[Number, Within(0.02, 1)] = 0.33
    """Largest area of that rectangle, as a fraction of the image."""


@dataclass(frozen=True, kw_only=True)
class AugmentChoice(Strength):
    """`[[members.augment.one_of]]`: changes that are applied after those of `[members.augment]`, to
    the images that draw this choice; the other keys are those of `[members.augment]`'s strengths.

    ```toml
    [[members.augment.one_of]]
    weight = 2
    hue = 0.1
    saturation = 0.3

    [[members.augment.one_of]]
    erase = 1
    erase_area = 0.2
    ```
    """

    weight: Annotated[Number, Within(0, 1e6)] = 1.0
    """How often this choice is drawn, relative to the weights of the other choices."""


@dataclass(frozen=True, kw_only=True)
class Augment(Strength):
    """`[members.augment]`: changes of training images and of the additional views of tta;
    validation during training uses unchanged images.

    The strengths (distribution to erase_area) are keys of this section, too.

    ```toml
    [members.augment]
    rotation = 15
    zoom = 0.1
    flip_horizontal = 0.5
    cutmix = 0.5
    ```
    """

    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How pixels are computed between those of the stored image: `bilinear` or `nearest`."""
    fill: Literal["black", "edge"] = "black"
    """What fills areas from outside the image: `black`, or `edge` for the nearest pixel of the
    edge."""
    crop: Annotated[Whole, Within(0, 1024, "pixels")] = 0
    """Side of a square that is cut from the stored image, at least 8; 0 for no crop. Without
    augmentation the square is cut from the middle."""
    crop_at: Literal["random", "middle"] = "random"
    """Where training images are cut: `random`, at another place each time, or `middle`."""
    cutmix: Annotated[Number, Within(0, 1)] = 0.0
    """Probability that a rectangle of the image is replaced with that of another image of the batch
    (Yun et al., arXiv:1905.04899)."""
    cutmix_alpha: Annotated[Number, Within(0.01, 100)] = 1.0
    """Parameter of the Beta distribution that CutMix draws the share of each image from; 1 draws
    all shares equally often."""
    mixup: Annotated[Number, Within(0, 1)] = 0.0
    """Probability that the image is blended with another image of the batch (Zhang et al.,
    arXiv:1710.09412); an image that CutMix changes is not blended."""
    mixup_alpha: Annotated[Number, Within(0.01, 100)] = 0.2
    """Parameter of the Beta distribution that mixup draws the share of each image from; small
    values change images little."""
    off_last: Annotated[Whole, Within(0, 1000, "epochs")] = 0
    """How many of the planned epochs, at the end, CutMix and mixup change no image in, so that the
    network ends on images as it will see them; with `patience` the training may end before."""
    one_of: list[AugmentChoice] = field(default_factory=list)
    """`[[members.augment.one_of]]`: further changes, of which each image draws one."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.one_of and not sum(choice.weight for choice in self.one_of):
            yield Problem("one_of", "has no choice with a weight above 0")
        if self.off_last and not (self.cutmix or self.mixup):
            yield Problem("off_last", f"= {self.off_last}: only applies to cutmix and mixup")
        if self.crop and self.crop < 8:
            yield Problem("crop", f"= {self.crop}: must be at least 8, or 0 for no crop")
