"""The GAN file: the images that the GAN imitates, how it is trained, and how its samples are
judged.

It shares its sections with a competition file; `[gan]` is its own.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from trainer.config import known_backbones
from trainer.config.data import Data
from trainer.config.machine import Machine, Train, Vertex
from trainer.config.member import Member
from trainer.config.preparation import Folds, Records
from trainer.config.schema import (
    Flag,
    Number,
    Problem,
    Section,
    Text,
    Whole,
    Within,
    name_problems,
    repeated_classes,
    short,
)

SIDES = (32, 64)
# The fold whose images neither the GAN nor the judge is trained on.
HELD_OUT_FOLD = 0
# Diversity is only computed for a class with at least this many samples and real images: with two,
# it would be the distance of a single pair.
MIN_CLASS_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Features(Section):
    """`[gan.features]`: the network whose features are used to compare samples with real images;
    without weights, the judge.

    ```toml
    [gan.features]
    backbone = "InceptionV3"
    weights = "imagenet"
    size = 299
    ```
    """

    backbone: Text = ""
    """A network of keras.applications or of the package efficientnet, named as a member's backbone;
    "" for a complete model in `weights`."""
    weights: Text = ""
    """A complete model (.keras) that takes pixels from 0 to 255, whose features are the input of
    its last dense layer; or the weights of `backbone`: `imagenet`, `noisy-student` or a file."""
    size: Annotated[Whole, Within(0, 1024, "pixels")] = 0
    """Side that images are resized to for `backbone`; 0 for no resizing."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.backbone and not self.weights:
            yield Problem(
                "weights", f"is missing: backbone = {self.backbone!r} is untrained without weights"
            )
        if self.weights and not self.backbone and not self.weights.endswith(".keras"):
            yield Problem(
                "backbone",
                f"is missing: weights = {self.weights!r} is not a complete model (.keras)",
            )
        if error := known_backbones.weights_problem(self.weights, self.backbone):
            yield Problem("weights", error)
        if self.backbone in ("cnn", "linear") or ":" in self.backbone:
            yield Problem(
                "backbone",
                f"= {self.backbone!r}: must have published weights; or name a complete model in"
                " weights",
            )
        elif self.backbone and (error := known_backbones.problem(self.backbone, self.size)):
            yield Problem("backbone", f"= {self.backbone!r}: {error}")
        if self.size and not self.backbone:
            yield Problem(
                "size", f"= {self.size}: requires backbone; a complete model has its own size"
            )

    def measure(self) -> str:
        """Return the name of the Fréchet distance in these features.

        FID is its name for Inception's features alone (Heusel et al., arXiv:1706.08500, section 2),
        and Keras's weights are not those that published figures were computed with.
        """
        inception = self.backbone == "InceptionV3" and self.weights == "imagenet"
        return "FID (Keras's InceptionV3)" if inception else "Fréchet distance"

    def name(self) -> str:
        """Return the name of the network, for reports."""
        if self.backbone:
            return f"{self.backbone} ({self.weights.rpartition('/')[2]})"
        return self.weights.rpartition("/")[2] or "the judge"


@dataclass(frozen=True, kw_only=True)
class GanRecipe(Section):
    """`[gan]`: a DCGAN, and how it is trained.

    ```toml
    [gan]
    steps = 20000
    loss = "hinge"
    spectral_norm = true
    diffaugment = ["color", "translation"]
    ```
    """

    steps: Annotated[Whole, Within(1, 10_000_000, "steps")]
    """Training steps, each of both networks, the discriminator first. After a change of `steps`
    training starts from scratch."""
    batch_size: Annotated[Whole, Within(2, 65_536, "images")] = 64
    """Images per step, on all devices together."""
    latent: Annotated[Whole, Within(1, 4096)] = 100
    """Length of the vector of random numbers that an image is generated from."""
    width: Annotated[Whole, Within(4, 1024, "channels")] = 64
    """Channels of the feature maps next to the image; each halving of the side doubles them."""
    conditional: Flag = True
    """Tell both networks the class, so that images of a chosen class can be generated."""
    loss: Literal["non_saturating", "hinge"] = "non_saturating"
    """`non_saturating` (Goodfellow et al., arXiv:1406.2661, section 3) or `hinge` (Lim and Ye,
    arXiv:1705.02894)."""
    spectral_norm: Flag = False
    """Use spectral normalisation of the discriminator's weights instead of batch normalisation
    (Miyato et al., arXiv:1802.05957)."""
    generator_rate: Annotated[Number, Within(1e-8, 1)] = 2e-4
    """Learning rate of the generator's Adam; different rates give two time scales (Heusel et al.,
    arXiv:1706.08500)."""
    discriminator_rate: Annotated[Number, Within(1e-8, 1)] = 2e-4
    """Learning rate of the discriminator's Adam."""
    momentum: Annotated[Number, Within(0, 0.999)] = 0.5
    """First momentum (beta 1) of both Adams."""
    decay: Annotated[Number, Within(0, 1)] = 1.0
    """Both learning rates fall linearly to this fraction of themselves; 1 keeps them constant."""
    average: Annotated[Number, Within(0, 0.99999)] = 0.999
    """Decay of the exponential moving average of the generator's weights, which makes all samples;
    the average is shorter in the first steps. 0 for no averaging."""
    diffaugment: list[Literal["color", "translation", "cutout"]] = field(default_factory=list)
    """Augmentation of real and generated images before the discriminator, for small data sets (Zhao
    et al., arXiv:2006.10738): any of `color`, `translation` and `cutout`."""
    flip: Flag = False
    """Mirror real images horizontally with a probability of one half."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """Number format of the computation: `float32`, or `mixed_bfloat16` on devices that have it."""
    steps_per_execution: Annotated[Whole, Within(1, 10_000, "steps")] = 1
    """Steps that the device runs per call, for devices that are faster than their host; `steps` and
    `evaluate_every` must be multiples of it."""
    evaluate_every: Annotated[Whole, Within(1, 10_000_000, "steps")] = 1000
    """Steps between two evaluations."""
    samples: Annotated[Whole, Within(20, 20_000, "images")] = 1000
    """Images that each evaluation judges, and that are stored as records at the end: at least four
    per class."""
    neighbours: Annotated[Whole, Within(1, 100)] = 3
    """Number of nearest neighbours that precision and recall use (k in Kynkäänniemi et al.,
    arXiv:1904.06991)."""
    features: Features = field(default_factory=Features)
    """`[gan.features]`: the network that samples are compared with real images by."""

    def multiply_adds(self, side: int, channels: int) -> tuple[float, float]:
        """Return the multiply-adds of one image in a forward pass of the generator and of the
        discriminator.

        Each convolution has 4 × 4 kernels, and a feature map of half the side has twice the
        channels.

        Args:
            side: side of the images in pixels.
            channels: channels of the images.
        """
        sides = [side >> number for number in range(1, (side // 4).bit_length())]
        widths = [self.width << number for number in range(len(sides))]
        maps = sum(
            16 * half * half * before * after
            for half, before, after in zip(sides, [channels, *widths], widths, strict=False)
        )
        flat = sides[-1] ** 2 * widths[-1]
        return float(maps + self.latent * flat), float(maps + flat)

    def operations(self, side: int, channels: int) -> float:
        """Return the floating-point operations of a training step, two per multiply-add.

        The generator runs forward twice and backward once; the discriminator runs forward three
        times and backward three times, the last time for the gradient of its inputs alone. A
        backward pass costs as much as two forward passes.

        Args:
            side: side of the images in pixels.
            channels: channels of the images.
        """
        generator, discriminator = self.multiply_adds(side, channels)
        return 2.0 * self.batch_size * (4 * generator + 8 * discriminator)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if len(set(self.diffaugment)) < len(self.diffaugment):
            yield Problem("diffaugment", f"= {short(self.diffaugment)}: each may be listed once")
        for key in ("steps", "evaluate_every"):
            if getattr(self, key) % self.steps_per_execution:
                yield Problem(
                    key,
                    f"= {getattr(self, key)}: must be a multiple of steps_per_execution ="
                    f" {self.steps_per_execution}",
                )


@dataclass(frozen=True, kw_only=True)
class Gan(Section):
    """The keys at the top of a GAN file, before its sections.

    ```toml
    name = "digits_gan"
    classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    seed = 42
    ```
    """

    name: Text
    """Name of the GAN, for file names and titles: lower-case letters, digits, _ and -; the first
    must be a letter."""
    classes: list[Text]
    """Names of the classes as they are in the labels, in the order of the class indices; at least
    two."""
    data: Data
    """`[data]`: where the images and labels are."""
    records: Records
    """`[records]`: how the images are stored; `sizes` must be [32] or [64]."""
    judge: Member
    """`[judge]`: a member that the same pipeline trains on the same images as the GAN. It
    classifies the samples, and its features compare them with real images unless `[gan.features]`
    names another network. The first fold is held out from both."""
    gan: GanRecipe
    """`[gan]`: the GAN and how it is trained."""
    seed: Annotated[Whole, Within(0, 2**31 - 1)] = 0
    """Seed of folds, initial weights, latent vectors and augmentation."""
    folds: Folds = field(default_factory=Folds)
    """`[folds]`: how the labelled images are split; the first fold is held out."""
    train: Train = field(default_factory=Train)
    """`[train]`: checkpoints, and which library computes."""
    machine: Machine = field(default_factory=Machine)
    """`[machine]`: what a training job runs on if it does not run on this machine."""
    vertex: Vertex = field(default_factory=Vertex)
    """`[vertex]`: resources of your project that a run on Vertex AI uses."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several sections."""
        yield from name_problems(self.name)
        if len(self.classes) < 2:
            yield Problem(
                "classes", f"= {self.classes!r}: name at least two, for the judge to tell apart"
            )
        yield from repeated_classes(self.classes)
        if self.records.sizes not in [[side] for side in SIDES]:
            yield Problem(
                "records.sizes", f"= {self.records.sizes}: must be [32] or [64], the DCGAN's sides"
            )
        if self.data.target_parts:
            yield Problem("data.target_parts", "only applies to a competition")
        side = (self.records.sizes or [0])[0]
        if self.judge.size not in (0, side):
            yield Problem("judge.size", f"= {self.judge.size}: must be the stored size, {side}")
        if error := known_backbones.problem(self.judge.backbone, self.judge.augment.crop or side):
            yield Problem("judge.backbone", f"= {self.judge.backbone!r}: {error}")
        if self.judge.augment.crop:
            yield Problem(
                "judge.augment.crop",
                f"= {self.judge.augment.crop}: must be 0: the judge must see complete images",
            )
        if self.judge.validation != "last":
            yield Problem(
                "judge.validation",
                f"= {self.judge.validation!r}: must be 'last': the images that measure the judge"
                " must not have selected it",
            )
        if self.judge.backbone == known_backbones.LINEAR:
            yield Problem("judge.backbone", "= 'linear': must be a network, whose features judge")
        if known_backbones.is_function(self.judge.backbone):
            yield Problem(
                "judge.backbone",
                f"= {self.judge.backbone!r}: must be a named backbone: the function is unknown"
                " where samples are judged",
            )
        features = self.gan.features
        if (
            features.backbone
            and not features.size
            and (error := known_backbones.problem(features.backbone, side))
        ):
            yield Problem(
                "gan.features.backbone",
                f"= {features.backbone!r}: {error}, or set gan.features.size",
            )
        if self.judge.tabular.columns:
            yield Problem("judge.tabular", "cannot be used with a GAN: samples have no columns")
        least = MIN_CLASS_SAMPLES * len(self.classes)
        if self.gan.samples < least:
            yield Problem(
                "gan.samples",
                f"= {self.gan.samples}: must be at least {least}, {MIN_CLASS_SAMPLES} per class",
            )

    def pipeline_arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline as plain JSON values.

        Left out are the sections machine and vertex, because they are chosen when the pipeline is
        compiled.
        """
        values = dataclasses.asdict(self)
        del values["machine"], values["vertex"]
        return values
