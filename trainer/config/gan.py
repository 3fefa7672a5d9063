"""The file of a GAN: which images it is to imitate, how it is trained, and by what it is judged.

It shares its sections with a competition file; what makes it a GAN's is `[gan]`.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.config import known_backbones
from trainer.config.competition import Train
from trainer.config.data import Data, Folds, Records
from trainer.config.machine import Machine
from trainer.config.member import Member
from trainer.config.schema import NAME, Problem, number, optional_text, short

SIDES = (32, 64)
# The fold whose images neither the GAN nor the judge is trained on.
HELD_OUT_FOLD = 0
# Images of a class, of samples as of real ones, whose diversity is told: with two, it would be that
# of a single pair.
MIN_CLASS_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Features:
    """`[gan.features]`: the network in whose features samples are compared with real images;
    without any, the judge.

    weights: a model (.keras) that takes pixels of 0 to 255, of which the input of the last dense
        layer is taken; or the weights of a backbone: `imagenet`, or a file. backbone: one of
        keras.applications or of efficientnet, as a member's. size: the side in pixels that images
        are enlarged to for a backbone, 0 for as they are.
    """

    backbone: str = optional_text()
    weights: str = optional_text()
    size: int = number(0, low=0, high=1024)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if self.backbone and not self.weights:
            yield Problem(
                "weights", f"is missing: backbone = {self.backbone!r} has learnt nothing without"
            )
        if self.weights and not self.backbone and not self.weights.endswith(".keras"):
            yield Problem(
                "backbone", f"is missing: weights = {self.weights!r} is no whole model (.keras)"
            )
        if self.weights == "noisy-student" and "EfficientNetB" not in self.backbone:
            yield Problem(
                "weights",
                "= 'noisy-student': there are such weights for EfficientNetB0 to B7, not"
                f" {self.backbone!r}",
            )
        if self.backbone == "cnn" or ":" in self.backbone:
            yield Problem(
                "backbone",
                f"= {self.backbone!r}: must be one with published weights, or a whole model as"
                " weights",
            )
        elif self.backbone and (found := known_backbones.problem(self.backbone, self.size)):
            yield Problem("backbone", f"= {self.backbone!r}: {found}")
        if self.size and not self.backbone:
            yield Problem("size", f"= {self.size}: goes with backbone; a whole model knows its own")

    def measure(self) -> str:
        """What the Fréchet distance in these features is called: FID is that of Inception's alone
        (Heusel et al., arXiv:1706.08500, section 2), and these are not the weights that published
        figures were made with."""
        inception = self.backbone == "InceptionV3" and self.weights == "imagenet"
        return "FID (Keras's InceptionV3)" if inception else "Fréchet distance"

    def name(self) -> str:
        """The network, for people."""
        if self.backbone:
            return f"{self.backbone} ({self.weights.rpartition('/')[2]})"
        return self.weights.rpartition("/")[2] or "the judge"


@dataclass(frozen=True, kw_only=True)
class GanRecipe:
    """`[gan]`: a DCGAN, and how it is trained.

    steps: of both networks in turn, the discriminator first; another number is another training,
        from the beginning. batch_size: images a step, on all devices together. latent: numbers that
        an image is made of. width: channels of the feature maps next to the image; each halving of
        the side doubles them.
    conditional: both networks are told the class. loss: `non_saturating` (Goodfellow et al.,
        arXiv:1406.2661, section 3) or `hinge` (Lim and Ye, arXiv:1705.02894). spectral_norm: of the
        discriminator's weights, in place of its batch normalisation (Miyato et al.,
        arXiv:1802.05957).
    generator_rate, discriminator_rate: Adam's learning rates, two time scales where they differ
        (Heusel et al., arXiv:1706.08500); momentum: its first; decay: both rates fall in a line to
        this share of themselves.
    average: of the exponential average of the generator's weights, which makes all samples; 0 for
        none. It is shorter in the first steps.
    diffaugment: what is done to real and generated images alike before the discriminator sees them,
        for small data (Zhao et al., arXiv:2006.10738). flip: real images are mirrored half the
        time.
    steps_per_execution: steps that the device does at one call, for devices that are faster than
    their host.
    evaluate_every: steps. samples: images that are judged each time, and that are left as records
        at the end. neighbours: of precision and recall.
    """

    steps: int = number(low=1, high=10_000_000)
    batch_size: int = number(64, low=2, high=65_536)
    latent: int = number(100, low=1, high=4096)
    width: int = number(64, low=4, high=1024)
    conditional: bool = True
    loss: Literal["non_saturating", "hinge"] = "non_saturating"
    spectral_norm: bool = False
    generator_rate: float = number(2e-4, low=1e-8, high=1)
    discriminator_rate: float = number(2e-4, low=1e-8, high=1)
    momentum: float = number(0.5, low=0, high=0.999)
    decay: float = number(1.0, low=0, high=1)
    average: float = number(0.999, low=0, high=0.99999)
    diffaugment: list[Literal["color", "translation", "cutout"]] = field(default_factory=list)
    flip: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    steps_per_execution: int = number(1, low=1, high=10_000)
    evaluate_every: int = number(1000, low=1, high=10_000_000)
    samples: int = number(1000, low=20, high=20_000)
    neighbours: int = number(3, low=1, high=100)
    features: Features = field(default_factory=Features)

    def multiply_adds(self, side: int, channels: int) -> tuple[float, float]:
        """Of one image by the generator and by the discriminator, forward: each of their
        convolutions has kernels of 4 × 4, and a map that is half as wide has twice the channels."""
        sides = [side >> number for number in range(1, (side // 4).bit_length())]
        widths = [self.width << number for number in range(len(sides))]
        maps = sum(
            16 * half * half * before * after
            for half, before, after in zip(sides, [channels, *widths], widths, strict=False)
        )
        flat = sides[-1] ** 2 * widths[-1]
        return float(maps + self.latent * flat), float(maps + flat)

    def operations(self, side: int, channels: int) -> float:
        """Of a step, two for a multiply-add: the generator runs forward twice and back once, the
        discriminator forward three times and back three times, the last time for its inputs alone.
        Going back costs as much as two times forward."""
        of_generator, of_discriminator = self.multiply_adds(side, channels)
        return 2.0 * self.batch_size * (4 * of_generator + 8 * of_discriminator)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if len(set(self.diffaugment)) < len(self.diffaugment):
            yield Problem("diffaugment", f"= {short(self.diffaugment)}: names one more than once")
        for key in ("steps", "evaluate_every"):
            if getattr(self, key) % self.steps_per_execution:
                yield Problem(
                    key,
                    f"= {getattr(self, key)}: must be a multiple of steps_per_execution ="
                    f" {self.steps_per_execution}",
                )


@dataclass(frozen=True, kw_only=True)
class Gan:
    """A whole file of a GAN; paths as in a competition file.

    judge: a member's recipe: the network that says of which class a sample is, and in whose
    features samples are compared with real images. It is trained by the same pipeline on the same
    images as the GAN; the first fold is kept from both."""

    name: str
    classes: list[str]
    data: Data
    records: Records
    judge: Member
    gan: GanRecipe
    seed: int = number(0, low=0, high=2**31 - 1)
    folds: Folds = field(default_factory=Folds)
    train: Train = field(default_factory=Train)
    machine: Machine = field(default_factory=Machine)

    def problems(self) -> Iterator[Problem]:
        """What no single section shows."""
        if not NAME.fullmatch(self.name):
            yield Problem(
                "name",
                f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at"
                " most 63",
            )
        if len(self.classes) < 2:
            yield Problem(
                "classes", f"= {self.classes!r}: name at least two: the judge tells them apart"
            )
        for name in sorted({c for c in self.classes if self.classes.count(c) > 1}):
            yield Problem("classes", f"names {name!r} more than once")
        if self.records.sizes not in [[side] for side in SIDES]:
            yield Problem(
                "records.sizes", f"= {self.records.sizes}: must be [32] or [64], a DCGAN's side"
            )
        if self.data.target_parts:
            yield Problem("data.target_parts", "goes with a competition only")
        side = (self.records.sizes or [0])[0]
        if self.judge.size not in (0, side):
            yield Problem("judge.size", f"= {self.judge.size}: must be that of the records, {side}")
        if found := known_backbones.problem(self.judge.backbone, self.judge.augment.crop or side):
            yield Problem("judge.backbone", f"= {self.judge.backbone!r}: {found}")
        if self.judge.augment.crop:
            yield Problem(
                "judge.augment.crop",
                f"= {self.judge.augment.crop}: the judge must see whole images",
            )
        if self.judge.validation != "last":
            yield Problem(
                "judge.validation",
                f"= {self.judge.validation!r}: must be 'last': what a judge knows is told by images"
                " that decided nothing",
            )
        if known_backbones.is_function(self.judge.backbone):
            yield Problem(
                "judge.backbone",
                f"= {self.judge.backbone!r}: must go by a name: samples are judged where it is not"
                " known",
            )
        features = self.gan.features
        if (
            features.backbone
            and not features.size
            and (found := known_backbones.problem(features.backbone, side))
        ):
            yield Problem(
                "gan.features.backbone", f"= {features.backbone!r}: {found}, or gan.features.size"
            )
        if self.judge.tabular.columns:
            yield Problem("judge.tabular", "goes without a GAN: a sample has no columns")
        least = MIN_CLASS_SAMPLES * len(self.classes)
        if self.gan.samples < least:
            yield Problem(
                "gan.samples",
                f"= {self.gan.samples}: must be at least {MIN_CLASS_SAMPLES} a class, {least}",
            )

    def pipeline_arguments(self) -> dict[str, Any]:
        """What the pipeline takes, as plain JSON values: all but the machines, which are chosen
        when it is compiled."""
        values = dataclasses.asdict(self)
        del values["machine"]
        return values
