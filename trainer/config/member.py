"""The sections of the competition file that say how a model is made and trained: `[[members]]` and
what is in it."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config import known_backbones
from trainer.config.schema import NAME, Problem, number, optional_text, short
from trainer.metrics import HIGHER_IS_BETTER, METRICS


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How much an image is changed. Each value is drawn anew for each image and epoch, from ± the
    bound about no change.

    distribution: `uniform` between the bounds, or `normal` with the bound as standard deviation, as
    in the notebooks.
    probability: that an image is moved at all (rotation, shear, zoom, shift).
    rotation, shear: degrees. zoom: 0.1 is a factor of 0.9 to 1.1, each axis its own. shift: as a
    fraction of the side.
    flip_horizontal, flip_vertical: probabilities. quarter_turns: turned by 0, 90, 180 or 270
    degrees.
    hue: as a fraction of the circle. saturation, contrast: 0.3 is a factor of 0.7 to 1.3.
    brightness: as a fraction of 255.
    erase: the probability that a rectangle is painted over with the image's mean colour;
    erase_area: its largest share."""

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
    """`[[members.augment.one_of]]`: what is done, on top of the rest, to the images that draw this
    one; `weight`: how often."""

    weight: float = number(1.0, low=0, high=1e6)


@dataclass(frozen=True, kw_only=True)
class Augment(Strength):
    """`[members.augment]`: what is done to training images; never to those that validate.

    interpolation: between pixels. fill: what comes in from outside, black or the nearest pixel of
    the edge.
    crop: the side of the square that is cut from the stored image, 0 for all of it: anywhere in
        training, from the middle otherwise. crop_at: `middle` for the middle in training too.
    cutmix, mixup: the probability that an image is joined with another of its batch; *_alpha: of
        the Beta distribution that the share is drawn from. An image that is cut is not mixed.
    one_of: each image draws one of these.
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
        """What no single key shows."""
        if self.one_of and not sum(choice.weight for choice in self.one_of):
            yield Problem("one_of", "has no choice with a weight above 0")
        if self.crop and self.crop < 8:
            yield Problem("crop", f"= {self.crop}: must be at least 8, or 0 for no crop")


@dataclass(frozen=True, kw_only=True)
class Cnn:
    """`[members.cnn]`, for backbone = "cnn": a convolution for each entry of `filters` and
    `strides`, the first of side `first_kernel`."""

    filters: list[int] = field(
        default_factory=lambda: [24, 32, 64, 64], metadata={"low": 1, "high": 4096}
    )
    strides: list[int] = field(default_factory=lambda: [2, 1, 2, 1], metadata={"low": 1, "high": 4})
    first_kernel: int = number(5, low=1, high=15)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not self.filters or len(self.filters) != len(self.strides):
            yield Problem(
                "strides",
                f"has {len(self.strides)} values and filters has {len(self.filters)}: "
                "a convolution takes one of each, and there must be at least one",
            )


@dataclass(frozen=True, kw_only=True)
class Head:
    """`[members.head]`: from the backbone's feature map to the logits.

    pooling: the mean, the largest, the generalised mean with a learnt exponent (gem), or all of it
    (flatten).
    hidden: sizes of dense layers with ReLU before the last. dropout: before each dense layer.
    samples: multi-sample dropout: so many masks before the last layer, whose logits are averaged.
    """

    pooling: Literal["average", "max", "gem", "flatten"] = "average"
    hidden: list[int] = field(default_factory=list, metadata={"low": 1, "high": 65_536})
    dropout: float = number(0.2, low=0, high=0.95)
    samples: int = number(1, low=1, high=32)


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """`[members.tabular]`: columns that the network sees besides the image, of data.numeric and
    data.categorical.

    layers: sizes of the dense layers that they pass before they join the pooled features.
    batch_norm: after each of them.
    dropout: between them. preset: `melanoma`: the published tower for that data, in place of all of
    these."""

    columns: list[str] = field(default_factory=list)
    layers: list[int] = field(default_factory=lambda: [32], metadata={"low": 1, "high": 65_536})
    batch_norm: bool = False
    activation: Literal["relu", "swish"] = "relu"
    dropout: float = number(0.0, low=0, high=0.95)
    preset: Literal["", "melanoma"] = ""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """`[members.loss]`.

    kind: cross_entropy or focal, softmax for multiclass and sigmoid for binary and multilabel.
    label_smoothing: the share of each label that is spread over all classes. gamma, alpha: of the
        focal loss; alpha, the weight of the positive class against 1 - alpha of the negative one, 0
        for none.
    class_weights: `balanced`, in inverse proportion to the fold's training images of each class; or
        `given`, those of `weights`, one a class. sample_weight: a column of data.numeric that
        weighs each training image.
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    label_smoothing: float = number(0.0, low=0, high=0.9)
    gamma: float = number(2.0, low=0, high=20)
    alpha: float = number(0.0, low=0, high=1)
    class_weights: Literal["none", "balanced", "given"] = "none"
    weights: list[float] = field(default_factory=list, metadata={"low": 0, "high": 1e6})
    sample_weight: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if (self.class_weights == "given") != bool(self.weights):
            yield Problem(
                "weights",
                f"= {short(self.weights)}: goes with class_weights = 'given', and only with it",
            )
        if self.alpha and self.kind != "focal":
            yield Problem("alpha", f"= {self.alpha:g}: goes with kind = 'focal' only")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """`[members.optimizer]`.

    weight_decay: of adamw and sgd, decoupled, not on biases and normalisation. momentum: of sgd
    (Nesterov's). clip_norm: the largest norm of all gradients together, 0 for any. accumulate:
    batches whose gradients are averaged for one update. average: the momentum of an exponential
    average of the weights, which then predicts; 0 for none."""

    kind: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = number(3e-3, low=1e-8, high=10)
    weight_decay: float = number(0.01, low=0, high=1)
    momentum: float = number(0.9, low=0, high=0.9999)
    clip_norm: float = number(0.0, low=0, high=1e6)
    accumulate: int = number(1, low=1, high=1024)
    average: float = number(0.0, low=0, high=0.99999)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """`[members.schedule]`: the learning rate over the epochs; `optimizer.learning_rate` is its
    highest value.

    cosine: `warmup_epochs` in a line from a twentieth, then half a cosine to `final` of it;
        `restarts` more such cycles, each starting at `restart_decay` of the one before.
    ramp: as in the notebooks, a step an epoch: `ramp_epochs` in a line from `start` (a fraction of
        the highest), `sustain_epochs` at the highest, then closer to `final` by the factor `decay`
        in each epoch.
    plateau: warm-up, then times `factor` when the monitored score has not improved for `patience`
    epochs.
    constant: warm-up, then the highest.
    """

    kind: Literal["cosine", "ramp", "plateau", "constant"] = "cosine"
    warmup_epochs: float = number(0.0, low=0, high=1000)
    final: float = number(0.01, low=0, high=1)
    restarts: int = number(0, low=0, high=100)
    restart_decay: float = number(1.0, low=0.001, high=1)
    start: float = number(0.05, low=0, high=1)
    ramp_epochs: int = number(5, low=0, high=1000)
    sustain_epochs: int = number(0, low=0, high=1000)
    decay: float = number(0.8, low=0, high=1)
    factor: float = number(0.5, low=0.001, high=0.999)
    patience: int = number(3, low=1, high=1000)


@dataclass(frozen=True, kw_only=True)
class Member:
    """`[[members]]`: one model of the ensemble and how it is trained.

    backbone: `cnn`; a classifier of keras.applications by its name, `EfficientNetB3`; one of the
        package efficientnet, `efficientnet/EfficientNetB3`; or `package.module:function`, called
        with the standardised pixels, that gives a feature map.
    weights: "" for none, `imagenet`, `noisy-student` (EfficientNets), or a file (.keras,
        .weights.h5, .h5; a path or gs://...), in which {fold} stands for the fold.
    size: one of records.sizes; 0 for the first of them.
    normalise: pixels as the backbone's own weights want them (`backbone`), by ImageNet's
        statistics, by those of the fold's training images (`data`), or only divided by 255
        (`none`).
    head_epochs: epochs at the start in which the backbone is frozen, at `head_learning_rate`.
    batch_size: images an update, on all devices together; of each device where per_device is true,
        and then the learning rate grows with their number.
    validation: `last`, the model is that of the last epoch; `best`, that of the epoch with the best
        `monitor` on the held-out fold, and training ends after `patience` epochs without a better
        one (0: never); `none`, one model on all images.
    monitor: a metric, or `loss`; "" for that of the competition.
    tta: views a prediction is averaged over: the image as it is, and tta - 1 augmented ones.
    """

    name: str
    backbone: str = "cnn"
    weights: str = optional_text()
    size: int = number(0, low=0, high=1024)
    normalise: Literal["backbone", "imagenet", "data", "none"] = "data"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    epochs: int = number(low=1, high=10_000)
    head_epochs: int = number(0, low=0, high=10_000)
    head_learning_rate: float = number(1e-3, low=1e-8, high=10)
    batch_size: int = number(64, low=1, high=65_536)
    per_device: bool = False
    validation: Literal["last", "best", "none"] = "last"
    monitor: str = optional_text()
    patience: int = number(0, low=0, high=10_000)
    tta: int = number(1, low=1, high=100)
    cnn: Cnn = field(default_factory=Cnn)
    head: Head = field(default_factory=Head)
    tabular: Tabular = field(default_factory=Tabular)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not NAME.fullmatch(self.name):
            yield Problem(
                "name",
                f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at"
                " most 63",
            )
        found = known_backbones.problem(self.backbone, self.side())
        if found:
            yield Problem("backbone", f"= {self.backbone!r}: {found}")
        if self.cnn != Cnn() and self.backbone != "cnn":
            yield Problem("cnn", f"goes with backbone = 'cnn' only, and it is {self.backbone!r}")
        if self.weights == "noisy-student" and "EfficientNetB" not in self.backbone:
            yield Problem(
                "weights",
                "= 'noisy-student': there are such weights for EfficientNetB0 to B7, not"
                f" {self.backbone!r}",
            )
        if self.weights in ("imagenet", "noisy-student") and (
            self.backbone == "cnn" or ":" in self.backbone
        ):
            yield Problem(
                "weights",
                f"= {self.weights!r}: there are no such weights for backbone = {self.backbone!r}",
            )
        if self.schedule.warmup_epochs >= self.epochs:
            yield Problem(
                "schedule.warmup_epochs",
                f"= {self.schedule.warmup_epochs:g}: must be below epochs = {self.epochs}",
            )
        if self.schedule.restarts >= self.epochs:
            yield Problem(
                "schedule.restarts",
                f"= {self.schedule.restarts}: must be below epochs = {self.epochs}",
            )
        if self.monitor and self.monitor not in (*HIGHER_IS_BETTER, "loss"):
            yield Problem(
                "monitor", f"= {self.monitor!r}: must be loss or one of {', '.join(METRICS)}"
            )
        if self.patience and self.validation != "best":
            yield Problem("patience", f"= {self.patience}: goes with validation = 'best' only")
        if self.validation != "best" and self.schedule.kind == "plateau":
            yield Problem(
                "schedule.kind",
                "= 'plateau': looks at the held-out fold, which only validation = 'best' allows",
            )
        if self.schedule.kind == "ramp" and self.schedule.warmup_epochs:
            yield Problem(
                "schedule.warmup_epochs", "goes without kind = 'ramp', which has ramp_epochs"
            )
        if self.validation == "none" and "{fold}" in self.weights:
            yield Problem(
                "weights", f"= {self.weights!r}: there is no fold where validation = 'none'"
            )
        if self.head_epochs and not self.weights:
            yield Problem(
                "head_epochs",
                f"= {self.head_epochs}: freezes a backbone that has learnt nothing; name its"
                " weights",
            )
        if self.tta > 1 and self.without_changes():
            yield Problem(
                "tta", f"= {self.tta}: the views would be all alike, for augment changes nothing"
            )
        if self.size and self.augment.crop > self.size:
            yield Problem(
                "augment.crop", f"= {self.augment.crop}: is larger than size = {self.size}"
            )

    def without_changes(self) -> bool:
        """Whether no image is ever changed but by mixing it with another."""
        still = dataclasses.replace(self.augment, cutmix=0.0, mixup=0.0)
        return still == Augment(
            **{
                name: getattr(still, name)
                for name in (
                    "interpolation",
                    "fill",
                    "crop_at",
                    *(["crop"] if still.crop_at == "middle" else []),
                    "cutmix_alpha",
                    "mixup_alpha",
                    "distribution",
                    "probability",
                )
            }
        )

    def side(self) -> int:
        """The side in pixels of what the network sees; the stored size must be known by then."""
        return self.augment.crop or self.size
