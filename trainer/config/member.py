"""The sections of the competition file that describe a model and its training: `[[members]]` and
its subsections."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainer.config import known_backbones
from trainer.config.augment import Augment
from trainer.config.known_backbones import LINEAR
from trainer.config.network import Cnn, Head, Linear, Loss, Tabular
from trainer.config.schema import (
    Flag,
    Number,
    Problem,
    Section,
    Text,
    Whole,
    Within,
    name_problems,
)
from trainer.metrics.names import HIGHER_IS_BETTER, METRICS

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
    "sampler",
    "monitor",
    "patience",
    "tta",
    "head",
    "optimizer",
    "schedule",
    "augment",
)


@dataclass(frozen=True, kw_only=True)
class Optimizer(Section):
    """`[members.optimizer]`: the optimizer and its updates.

    ```toml
    [members.optimizer]
    kind = "sgd"
    learning_rate = 0.05
    weight_decay = 0.0005
    ```
    """

    kind: Literal["adam", "adamw", "sgd"] = "adamw"
    """Rule of the updates: `adam`, `adamw` or `sgd`."""
    learning_rate: Annotated[Number, Within(1e-8, 10)] = 3e-3
    """Highest learning rate of the schedule."""
    weight_decay: Annotated[Number, Within(0, 1)] = 0.01
    """Decoupled weight decay of adamw and sgd; not applied to biases and normalisation."""
    momentum: Annotated[Number, Within(0, 0.9999)] = 0.9
    """Nesterov momentum of sgd."""
    layer_decay: Annotated[Number, Within(0.01, 1)] = 1.0
    """Learning rate of each twelfth of the backbone's layers as a fraction of that of the twelfth
    after it, so that what published weights know of edges and colours changes little (Howard and
    Ruder, arXiv:1801.06146, section 3.2); the head has the whole rate. Layers count from the input
    on, or inside a subclassed model in the order in which it names them. 1 for one rate. Requires
    `weights`."""
    clip_norm: Annotated[Number, Within(0, 1e6)] = 0.0
    """Largest norm of all gradients together; 0 for no clipping."""
    accumulate: Annotated[Whole, Within(1, 1024, "batches")] = 1
    """Batches whose gradients are averaged for one update, for batches that do not fit in
    memory."""
    average: Annotated[Number, Within(0, 0.99999)] = 0.0
    """Momentum of an exponential moving average of the network over the steps, which is used for
    predictions, such as 0.999; smaller in the first steps. 0 for no average."""


@dataclass(frozen=True, kw_only=True)
class Schedule(Section):
    """`[members.schedule]`: the learning rate over the epochs; `optimizer.learning_rate` is its
    highest value. The four kinds are:

    - cosine: a linear rise from a twentieth of the highest rate over warmup_epochs, then half a
      cosine down to final, followed by restarts more such half cosines.
    - ramp: constant within an epoch, as in published notebooks: a linear rise from start over
      ramp_epochs, the highest rate for sustain_epochs, then a fall towards final.
    - plateau: warm-up, then the highest rate, multiplied by factor whenever the monitored score has
      not improved for patience epochs.
    - constant: warm-up, then the highest rate.

    ```toml
    [members.schedule]
    kind = "cosine"
    warmup_epochs = 2
    ```
    """

    kind: Literal["cosine", "ramp", "plateau", "constant"] = "cosine"
    """Shape of the learning rate: `cosine`, `ramp`, `plateau` or `constant`, as described above."""
    warmup_epochs: Annotated[Number, Within(0, 1000, "epochs")] = 0.0
    """Warm-up, for all kinds but ramp; must be below `epochs`."""
    final: Annotated[Number, Within(0, 1)] = 0.01
    """Last rate as a fraction of the highest, for cosine and ramp."""
    restarts: Annotated[Whole, Within(0, 100)] = 0
    """Number of further cosine cycles."""
    restart_decay: Annotated[Number, Within(0.001, 1)] = 1.0
    """Highest rate of a cycle as a fraction of that of the cycle before."""
    start: Annotated[Number, Within(0, 1)] = 0.05
    """First rate of ramp as a fraction of the highest."""
    ramp_epochs: Annotated[Whole, Within(0, 1000, "epochs")] = 5
    """Rise of ramp."""
    sustain_epochs: Annotated[Whole, Within(0, 1000, "epochs")] = 0
    """Time that ramp stays at the highest rate."""
    decay: Annotated[Number, Within(0, 1)] = 0.8
    """Factor by which ramp shrinks the distance to `final` in each epoch."""
    factor: Annotated[Number, Within(0.001, 0.999)] = 0.5
    """Factor that plateau multiplies the rate by."""
    patience: Annotated[Whole, Within(1, 1000, "epochs")] = 3
    """Time without improvement before plateau applies its factor."""


@dataclass(frozen=True, kw_only=True)
class Member(Section):
    """`[[members]]`: one model of the ensemble and how it is trained.

    ```toml
    [[members]]
    name = "b0"
    backbone = "EfficientNetB0"
    weights = "imagenet"
    normalise = "backbone"
    head_epochs = 1
    epochs = 10
    batch_size = 32
    ```
    """

    name: Text
    """Name of the member, unique: lower-case letters, digits, _ and -."""
    backbone: Text = "cnn"
    """Network: `linear`, a logistic regression on pixels; `cnn`, a small network; a classifier of
    keras.applications by its name, such as `EfficientNetB3`; one of the package efficientnet, such
    as `efficientnet/EfficientNetB3`; or `package.module:function`, a function that is called with
    the standardised pixels and returns a feature map."""
    weights: Text = ""
    """Initial weights: "" for random ones, `imagenet`, `noisy-student` (EfficientNets only), or a
    file (.keras, .weights.h5 or .h5; a path or gs://...), in which {fold} stands for the number of
    the fold."""
    size: Annotated[Whole, Within(0, 1024, "pixels")] = 0
    """Side of the stored images to train on, one of records.sizes; 0 for the first of them."""
    normalise: Literal["backbone", "imagenet", "data", "none"] = "data"
    """How pixels are standardised: `backbone`, as the backbone's published weights expect them;
    `imagenet`, by the statistics of ImageNet; `data`, by those of the fold's training images;
    `none`, only divided by 255."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Number format of the computation: `float32`, `mixed_bfloat16` (TPUs and recent GPUs) or
    `mixed_float16` (older GPUs)."""
    epochs: Annotated[Whole, Within(1, 10_000, "epochs")] = 0
    """Passes over the training images, after `head_epochs`. Required, except for backbone =
    "linear"."""
    head_epochs: Annotated[Whole, Within(0, 10_000, "epochs")] = 0
    """Passes at the start in which only the head learns; requires `weights`."""
    head_learning_rate: Annotated[Number, Within(1e-8, 10)] = 1e-3
    """Learning rate during `head_epochs`."""
    batch_size: Annotated[Whole, Within(1, 65_536, "images")] = 64
    """Images per training step, on all devices together."""
    per_device: Flag = False
    """Let `batch_size` count the images of each device; the learning rate is then multiplied by the
    number of devices."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """What an epoch shows, in random order: `shuffle`, each training image once; `balanced`, as
    many images, but as many of each class: those of rare classes several times, each time augmented
    differently. Images of weight 0 are shown, too. Not for multilabel."""
    validation: Literal["last", "best", "none"] = "last"
    """Which model is used: `last`, that of the last epoch; `best`, that of the epoch with the best
    `monitor` on the held-out fold; `none` trains one model on all images, without a held-out
    fold."""
    monitor: Text = ""
    """Metric, or `loss`, that validation = "best" compares; "" for the metric of the
    competition."""
    patience: Annotated[Whole, Within(0, 10_000, "epochs")] = 0
    """Time without a better score after which training with validation = "best" stops; 0 for
    never."""
    tta: Annotated[Whole, Within(1, 100, "views")] = 1
    """Views that each prediction is averaged over (test-time augmentation): the image as it is, and
    tta - 1 augmented ones."""
    cnn: Cnn = field(default_factory=Cnn)
    """`[members.cnn]`: the network for backbone = "cnn"."""
    linear: Linear = field(default_factory=Linear)
    """`[members.linear]`: the regression for backbone = "linear"."""
    head: Head = field(default_factory=Head)
    """`[members.head]`: the layers after the backbone."""
    tabular: Tabular = field(default_factory=Tabular)
    """`[members.tabular]`: tabular columns as inputs of the network, or of the regression."""
    loss: Loss = field(default_factory=Loss)
    """`[members.loss]`: the loss."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """`[members.optimizer]`: the optimizer."""
    schedule: Schedule = field(default_factory=Schedule)
    """`[members.schedule]`: the learning rate over the epochs."""
    augment: Augment = field(default_factory=Augment)
    """`[members.augment]`: random changes of training images."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        yield from name_problems(self.name)
        if error := known_backbones.problem(self.backbone, self.side()):
            yield Problem("backbone", f"= {self.backbone!r}: {error}")
            if not self.epochs:
                return  # a linear member, whose name is misspelt, needs none
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
        if self.sampler == "balanced" and self.loss.class_weights == "balanced":
            yield Problem(
                "loss.class_weights",
                "= 'balanced': cannot be combined with sampler = 'balanced', which shows each class"
                " equally often already",
            )
        if self.tta > 1 and self.without_changes():
            yield Problem(
                "tta", f"= {self.tta}: all views would be identical: augment changes nothing"
            )
        if self.augment.off_last >= self.epochs:
            yield Problem(
                "augment.off_last",
                f"= {self.augment.off_last}: must be below epochs = {self.epochs}",
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
        if self.optimizer.layer_decay < 1 and not self.weights:
            yield Problem(
                "optimizer.layer_decay",
                f"= {self.optimizer.layer_decay:g}: would slow down an untrained backbone; set"
                " weights",
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
        augment = dataclasses.replace(self.augment, cutmix=0.0, mixup=0.0, off_last=0)
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
