"""The GAN file: the images that the GAN imitates, how it is trained, and how its samples are
judged.

It shares its sections with a competition file; `[gan]` is its own.
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
from trainer.config.schema import Problem, name_problems, number, optional_text, short

SIDES = (32, 64)
# The fold whose images neither the GAN nor the judge is trained on.
HELD_OUT_FOLD = 0
# Diversity is only computed for a class with at least this many samples and real images: with two,
# it would be the distance of a single pair.
MIN_CLASS_SAMPLES = 4


@dataclass(frozen=True, kw_only=True)
class Features:
    """`[gan.features]`: the network whose features are used to compare samples with real images;
    without weights, the judge.

    backbone: a network of keras.applications or of the package efficientnet, by the same name as a
        member's backbone; "" for a complete model in weights.
    weights: a complete model (.keras) that takes pixels of 0 to 255, whose features are the input
        of its last dense layer; or the weights of backbone: `imagenet`, `noisy-student` or a file.
    size: side in pixels, 1 to 1024, that images are resized to for a backbone; 0 for no resizing.
    """

    backbone: str = optional_text()
    weights: str = optional_text()
    size: int = number(0, low=0, high=1024)

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
class GanRecipe:
    """`[gan]`: a DCGAN, and how it is trained.

    steps: number of training steps, 1 to 10,000,000, each of both networks, the discriminator
        first; after a change of steps the training starts from scratch.
    batch_size: images per step, 2 to 65,536, on all devices together.
    latent: length of the latent vector that an image is generated from, 1 to 4096.
    width: channels of the feature maps next to the image, 4 to 1024; each halving of the side
        doubles them.
    conditional: whether both networks are given the class.
    loss: `non_saturating` (Goodfellow et al., arXiv:1406.2661, section 3) or `hinge` (Lim and Ye,
        arXiv:1705.02894).
    spectral_norm: whether the discriminator uses spectral normalisation of its weights instead of
        batch normalisation (Miyato et al., arXiv:1802.05957).
    generator_rate: learning rate of the generator's Adam, 1e-8 to 1; different rates give two time
        scales (Heusel et al., arXiv:1706.08500).
    discriminator_rate: learning rate of the discriminator's Adam, 1e-8 to 1.
    momentum: first momentum (beta 1) of both Adams, 0 to 0.999.
    decay: both learning rates fall linearly to this fraction of themselves, 0 to 1; 1 keeps them
        constant.
    average: decay of the exponential moving average of the generator's weights, 0 to 0.99999; the
        averaged generator makes all samples, and the average is shorter in the first steps. 0 for
        no averaging.
    diffaugment: augmentation of real and generated images before the discriminator, for small data
        sets (Zhao et al., arXiv:2006.10738): any of `color`, `translation` and `cutout`.
    flip: whether real images are mirrored horizontally with a probability of one half.
    precision: `float32` or `mixed_bfloat16`.
    steps_per_execution: steps that the device runs per call, 1 to 10,000, for devices that are
        faster than their host; steps and evaluate_every must be multiples of it.
    evaluate_every: steps between two evaluations, 1 to 10,000,000.
    samples: images that each evaluation judges, and that are stored as records at the end; 20 to
        20,000 and at least four per class.
    neighbours: k of the k-th neighbour in precision and recall, 1 to 100.
    features: `[gan.features]`, the network for the comparison with real images.
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
class Gan:
    """A complete GAN file.

    `trainer.config.load.load` returns it with absolute paths.

    name: name of the GAN, for file names and titles; lower-case letters, digits, _ and -.
    classes: class names in the order of the class indices; at least two.
    data: `[data]`, where the images are.
    records: `[records]`, how the images are stored; sizes must be [32] or [64].
    judge: `[judge]`, a member that is trained by the same pipeline on the same images as the GAN.
        It classifies the samples, and its features compare them with real images unless
        `[gan.features]` names another network. The first fold is held out from both.
    gan: `[gan]`, the GAN and how it is trained.
    seed: seed of folds, initial weights, latent vectors and augmentation, 0 to 2**31 - 1.
    folds: `[folds]`, how the labelled images are split.
    train: `[train]`, checkpoints and backend.
    machine: `[machine]`, what a training job runs on if it does not run on this machine.
    """

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
        """Yield the problems that involve several sections."""
        yield from name_problems(self.name)
        if len(self.classes) < 2:
            yield Problem(
                "classes", f"= {self.classes!r}: name at least two, for the judge to tell apart"
            )
        for name in sorted({c for c in self.classes if self.classes.count(c) > 1}):
            yield Problem("classes", f"names {name!r} more than once")
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

        Left out is the machine, because it is chosen when the pipeline is compiled.
        """
        values = dataclasses.asdict(self)
        del values["machine"]
        return values
