"""The sections of the competition file that describe a model and its training: `[[members]]` and
its subsections."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config import known_backbones
from trainer.config.augment import Augment
from trainer.config.known_backbones import LINEAR
from trainer.config.network import Cnn, Head, Linear, Tabular
from trainer.config.schema import Problem, name_problems, number, optional_text, short
from trainer.metrics import HIGHER_IS_BETTER, METRICS

# Keys of a member that a linear member does not have.
_FOR_NETWORKS = (
    "weights",
    "normalise",
    "precision",
    "epochs",
    "head_epochs",
    "head_learning_rate",
    "batch_size",
    "per_device",
    "monitor",
    "patience",
    "tta",
    "head",
    "optimizer",
    "schedule",
    "augment",
)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """`[members.loss]`: the loss, and how much each image counts in it.

    kind: `cross_entropy` or `focal`, with softmax for multiclass, and with sigmoid for binary and
        multilabel.
    label_smoothing: fraction of each label that is spread evenly over all classes, 0 to 0.9.
    gamma: exponent of the focal loss, 0 to 20.
    alpha: weight of the positive class in the focal loss, 0 to 1; the weight of the negative class
        is one minus alpha. 0 for no weighting.
    class_weights: `balanced`, in inverse proportion to the training images of each class in the
        fold; `given`, those of weights; or `none`.
    weights: one weight per class, 0 to 1,000,000, for class_weights = "given".
    sample_weight: column of data.numeric with the weight of each training image; "" for none.
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    label_smoothing: float = number(0.0, low=0, high=0.9)
    gamma: float = number(2.0, low=0, high=20)
    alpha: float = number(0.0, low=0, high=1)
    class_weights: Literal["none", "balanced", "given"] = "none"
    weights: list[float] = field(default_factory=list, metadata={"low": 0, "high": 1e6})
    sample_weight: str = optional_text()

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if (self.class_weights == "given") != bool(self.weights):
            yield Problem(
                "weights",
                f"= {short(self.weights)}: requires class_weights = 'given', and vice versa",
            )
        if self.alpha and self.kind != "focal":
            yield Problem("alpha", f"= {self.alpha:g}: only applies to kind = 'focal'")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """`[members.optimizer]`: the optimizer and its updates.

    kind: `adam`, `adamw` or `sgd`.
    learning_rate: highest learning rate of the schedule, 1e-8 to 10.
    weight_decay: decoupled weight decay of adamw and sgd, 0 to 1; not applied to biases and
        normalisation.
    momentum: Nesterov momentum of sgd, 0 to 0.9999.
    clip_norm: largest norm of all gradients together, up to 1,000,000; 0 for no clipping.
    accumulate: batches whose gradients are averaged for one update, 1 to 1024.
    average: momentum of an exponential moving average of the weights, which is used for
        predictions, 0 to 0.99999; 0 for none.
    """

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
    highest value. The four kinds are:

    - cosine: a linear rise from a twentieth of the highest rate over warmup_epochs, then half a
      cosine down to final, followed by restarts more such half cosines.
    - ramp: constant within an epoch, as in published notebooks: a linear rise from start over
      ramp_epochs, the highest rate for sustain_epochs, then a fall towards final.
    - plateau: warm-up, then the highest rate, multiplied by factor whenever the monitored score has
      not improved for patience epochs.
    - constant: warm-up, then the highest rate.

    kind: `cosine`, `ramp`, `plateau` or `constant`, see above.
    warmup_epochs: epochs of warm-up, 0 to 1000, for all kinds but ramp; must be below epochs.
    final: last rate as a fraction of the highest, 0 to 1, for cosine and ramp.
    restarts: number of further cosine cycles, 0 to 100.
    restart_decay: highest rate of a cycle as a fraction of that of the cycle before, 0.001 to 1.
    start: first rate of ramp as a fraction of the highest, 0 to 1.
    ramp_epochs: epochs of the rise of ramp, 0 to 1000.
    sustain_epochs: epochs of ramp at the highest rate, 0 to 1000.
    decay: factor by which ramp shrinks the distance to `final` in each epoch, 0 to 1.
    factor: factor of plateau, 0.001 to 0.999.
    patience: epochs without improvement before plateau applies its factor, 1 to 1000.
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

    name: name of the member, unique; lower-case letters, digits, _ and -.
    backbone: `linear`, a logistic regression on pixels; `cnn`, a small network; a classifier of
        keras.applications by its name, `EfficientNetB3`; one of the
        package efficientnet, `efficientnet/EfficientNetB3`; or `package.module:function`, a
        function that is called with the standardised pixels and returns a feature map.
    weights: initial weights: "" for none, `imagenet`, `noisy-student` (EfficientNets only), or a
        file (.keras, .weights.h5 or .h5; a path or gs://...), in which {fold} stands for the number
        of the fold.
    size: stored image size to train on, one of records.sizes; 0 for the first of them.
    normalise: how pixels are standardised: `backbone`, as the backbone's published weights expect
        them; `imagenet`, by the statistics of ImageNet; `data`, by those of the fold's training
        images; `none`, only divided by 255.
    precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
    epochs: number of epochs, 1 to 10,000, after head_epochs; not for backbone = "linear".
    head_epochs: epochs at the start in which the backbone is frozen, 0 to 10,000; requires weights.
    head_learning_rate: learning rate in head_epochs, 1e-8 to 10.
    batch_size: images per batch, 1 to 65,536, on all devices together.
    per_device: whether batch_size counts the images of each device; the learning rate is then
        multiplied by the number of devices.
    validation: `last` uses the model of the last epoch; `best` uses that of the epoch with the best
        `monitor` on the held-out fold; `none` trains one model on all images.
    monitor: metric, or `loss`, that validation = "best" compares; "" for the metric of the
        competition.
    patience: epochs without a better score after which training with validation = "best" stops, 1
        to 10,000; 0 for never.
    tta: number of views that each prediction is averaged over, 1 to 100: the image as it is and tta
        - 1 augmented ones.
    cnn: `[members.cnn]`, the network for backbone = "cnn".
    linear: `[members.linear]`, the regression for backbone = "linear".
    head: `[members.head]`, the layers after the backbone.
    tabular: `[members.tabular]`, tabular columns as inputs.
    loss: `[members.loss]`, the loss.
    optimizer: `[members.optimizer]`, the optimizer.
    schedule: `[members.schedule]`, the learning rate over the epochs.
    augment: `[members.augment]`, the augmentation.
    """

    name: str
    backbone: str = "cnn"
    weights: str = optional_text()
    size: int = number(0, low=0, high=1024)
    normalise: Literal["backbone", "imagenet", "data", "none"] = "data"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    epochs: int = number(0, low=1, high=10_000)
    head_epochs: int = number(0, low=0, high=10_000)
    head_learning_rate: float = number(1e-3, low=1e-8, high=10)
    batch_size: int = number(64, low=1, high=65_536)
    per_device: bool = False
    validation: Literal["last", "best", "none"] = "last"
    monitor: str = optional_text()
    patience: int = number(0, low=0, high=10_000)
    tta: int = number(1, low=1, high=100)
    cnn: Cnn = field(default_factory=Cnn)
    linear: Linear = field(default_factory=Linear)
    head: Head = field(default_factory=Head)
    tabular: Tabular = field(default_factory=Tabular)
    loss: Loss = field(default_factory=Loss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augment: Augment = field(default_factory=Augment)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        yield from name_problems(self.name)
        if error := known_backbones.problem(self.backbone, self.side()):
            yield Problem("backbone", f"= {self.backbone!r}: {error}")
        for key, default in (("cnn", Cnn()), ("linear", Linear())):
            if getattr(self, key) != default and self.backbone != key:
                yield Problem(key, f"only applies to backbone = {key!r}, not to {self.backbone!r}")
        if self.backbone == LINEAR:
            yield from self._problems_of_linear()
            return
        if not self.epochs:
            yield Problem("epochs", "is missing or 0: it must be a whole number from 1 to 10000")
            return
        yield from self._problems_of_weights()
        yield from self._problems_of_schedule()
        if self.monitor and self.monitor not in (*HIGHER_IS_BETTER, "loss"):
            yield Problem(
                "monitor", f"= {self.monitor!r}: must be loss or one of {', '.join(METRICS)}"
            )
        if self.patience and self.validation != "best":
            yield Problem("patience", f"= {self.patience}: only applies to validation = 'best'")
        if self.tta > 1 and self.without_changes():
            yield Problem(
                "tta", f"= {self.tta}: all views would be identical: augment changes nothing"
            )
        if self.size and self.augment.crop > self.size:
            yield Problem(
                "augment.crop", f"= {self.augment.crop}: is larger than size = {self.size}"
            )

    def _problems_of_linear(self) -> Iterator[Problem]:
        """Yield the keys that only networks have."""
        default = Member(name=self.name, backbone=LINEAR)
        for key in _FOR_NETWORKS:
            if getattr(self, key) != getattr(default, key):
                yield Problem(key, "cannot be combined with backbone = 'linear'")
        if dataclasses.replace(self.tabular, columns=[]) != Tabular():
            yield Problem(
                "tabular", "cannot be combined with backbone = 'linear', except for its columns"
            )
        if self.validation == "best":
            yield Problem(
                "validation", "= 'best': cannot be combined with backbone = 'linear', use 'last'"
            )
        if self.loss.kind != "cross_entropy" or self.loss.label_smoothing:
            yield Problem(
                "loss", "cannot be combined with backbone = 'linear', except for its weights"
            )

    def _problems_of_weights(self) -> Iterator[Problem]:
        if error := known_backbones.weights_problem(self.weights, self.backbone):
            yield Problem("weights", error)
        if self.validation == "none" and "{fold}" in self.weights:
            yield Problem(
                "weights", f"= {self.weights!r}: there is no fold with validation = 'none'"
            )
        if self.head_epochs and not self.weights:
            yield Problem(
                "head_epochs",
                f"= {self.head_epochs}: would freeze an untrained backbone; set weights",
            )

    def _problems_of_schedule(self) -> Iterator[Problem]:
        schedule = self.schedule
        for key in ("warmup_epochs", "restarts"):
            value = getattr(schedule, key)
            if value >= self.epochs:
                yield Problem(
                    f"schedule.{key}", f"= {value:g}: must be below epochs = {self.epochs}"
                )
        if self.validation != "best" and schedule.kind == "plateau":
            yield Problem(
                "schedule.kind",
                "= 'plateau': requires validation = 'best', because it uses the held-out fold",
            )
        if schedule.kind == "ramp" and schedule.warmup_epochs:
            yield Problem(
                "schedule.warmup_epochs", "cannot be combined with kind = 'ramp': use ramp_epochs"
            )

    def without_changes(self) -> bool:
        """Return whether augmentation leaves every image as it is, except for mixing it with
        another."""
        augment = dataclasses.replace(self.augment, cutmix=0.0, mixup=0.0)
        return augment == Augment(
            **{
                name: getattr(augment, name)
                for name in (
                    "interpolation",
                    "fill",
                    "crop_at",
                    *(["crop"] if augment.crop_at == "middle" else []),
                    "cutmix_alpha",
                    "mixup_alpha",
                    "distribution",
                    "probability",
                )
            }
        )

    def side(self) -> int:
        """Return the image side in pixels that the network receives; `size` must be resolved
        before."""
        return self.augment.crop or self.size
