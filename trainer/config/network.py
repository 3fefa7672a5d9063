"""The sections of the competition file that say what a member's network looks like and what it
minimises: `[members.cnn]`, `[members.linear]`, `[members.head]`, `[members.tabular]` and
`[members.loss]`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainer.config.schema import Flag, Number, Problem, Section, Text, Whole, Within, short


@dataclass(frozen=True, kw_only=True)
class Cnn(Section):
    """`[members.cnn]`: a plain convolutional network, for backbone = "cnn".

    ```toml
    [members.cnn]
    filters = [24, 32, 64, 64, 64]
    strides = [2, 1, 2, 1, 2]
    ```
    """

    filters: list[Annotated[Whole, Within(1, 4096, "channels")]] = field(
        default_factory=lambda: [24, 32, 64, 64]
    )
    """Channels of each convolution."""
    strides: list[Annotated[Whole, Within(1, 4)]] = field(default_factory=lambda: [2, 1, 2, 1])
    """Stride of each convolution; as many values as `filters` has."""
    first_kernel: Annotated[Whole, Within(1, 15, "pixels")] = 5
    """Side of the first convolution's kernel; the other kernels have a side of 3."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if not self.filters or len(self.filters) != len(self.strides):
            yield Problem(
                "strides",
                f"has {len(self.strides)} values and filters has {len(self.filters)}: "
                "each convolution requires one value of each, and there must be at least one",
            )


@dataclass(frozen=True, kw_only=True)
class Linear(Section):
    """`[members.linear]`: multinomial logistic regression on pixels, for backbone = "linear".

    It trains in about a second a fold without TensorFlow: a baseline for every other member.

    ```toml
    [members.linear]
    side = 24
    strength = 0.03
    ```
    """

    side: Annotated[Whole, Within(2, 64, "pixels")] = 16
    """Images with a larger side are reduced to this one before their pixels become features."""
    strength: Annotated[Number, Within(1e-6, 1e6)] = 0.1
    """Inverse strength of the L2 penalty on standardised features (C of scikit-learn); smaller
    values regularise more."""


@dataclass(frozen=True, kw_only=True)
class Head(Section):
    """`[members.head]`: from the backbone's feature map to the logits.

    ```toml
    [members.head]
    pooling = "gem"
    dropout = 0.3
    ```
    """

    pooling: Literal["average", "max", "gem", "flatten"] = "average"
    """How the feature map becomes a vector: `average`, `max`, `gem` (generalised mean with a learnt
    exponent) or `flatten` (all values)."""
    hidden: list[Annotated[Whole, Within(1, 65_536, "units")]] = field(default_factory=list)
    """Sizes of dense layers with ReLU before the last layer."""
    dropout: Annotated[Number, Within(0, 0.95)] = 0.2
    """Dropout rate before each dense layer."""
    samples: Annotated[Whole, Within(1, 32)] = 1
    """Number of dropout masks before the last layer, whose logits are averaged (multi-sample
    dropout)."""


@dataclass(frozen=True, kw_only=True)
class Tabular(Section):
    """`[members.tabular]`: tabular columns that are inputs of the network, in addition to the
    image.

    ```toml
    [members.tabular]
    columns = ["age", "sex"]
    layers = [64, 32]
    ```
    """

    columns: list[Text] = field(default_factory=list)
    """Columns that the network receives in addition to the image, from data.numeric and
    data.categorical; [] for none."""
    layers: list[Annotated[Whole, Within(1, 65_536, "units")]] = field(default_factory=lambda: [32])
    """Sizes of the dense layers between the columns and the pooled image features."""
    batch_norm: Flag = False
    """Add batch normalisation after each of these layers."""
    activation: Literal["relu", "swish"] = "relu"
    """Activation after each of these layers: `relu` or `swish`."""
    dropout: Annotated[Number, Within(0, 0.95)] = 0.0
    """Dropout rate between these layers."""
    preset: Literal["", "melanoma"] = ""
    """`melanoma`: the published layers for that data, which replace layers, batch_norm, activation
    and dropout; "" for none."""


@dataclass(frozen=True, kw_only=True)
class Loss(Section):
    """`[members.loss]`: the loss, and how much each image counts in it.

    ```toml
    [members.loss]
    kind = "focal"
    class_weights = "balanced"
    ```
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    """`cross_entropy` or `focal` (Lin et al., arXiv:1708.02002), with softmax for multiclass, and
    with sigmoid for binary and multilabel."""
    label_smoothing: Annotated[Number, Within(0, 0.9)] = 0.0
    """Fraction of each label that is spread evenly over all classes."""
    gamma: Annotated[Number, Within(0, 20)] = 2.0
    """Exponent of the focal loss; larger values give easy images less weight."""
    alpha: Annotated[Number, Within(0, 1)] = 0.0
    """Weight of the positive class in the focal loss; that of the negative class is one minus
    alpha. 0 for no weighting."""
    class_weights: Literal["none", "balanced", "given"] = "none"
    """Weights of the classes: `balanced`, in inverse proportion to the training images of each
    class in the fold; `given`, those of `weights`; or `none`."""
    weights: list[Annotated[Number, Within(0, 1e6)]] = field(default_factory=list)
    """One weight per class, for class_weights = "given"."""
    sample_weight: Text = ""
    """Column of data.numeric with the weight of each training image; "" for none."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if (self.class_weights == "given") != bool(self.weights):
            yield Problem(
                "weights",
                f"= {short(self.weights)}: requires class_weights = 'given', and vice versa",
            )
        if self.alpha and self.kind != "focal":
            yield Problem("alpha", f"= {self.alpha:g}: only applies to kind = 'focal'")
