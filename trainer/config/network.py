"""The sections of the competition file that say what a member's network looks like:
`[members.cnn]`, `[members.linear]`, `[members.head]` and `[members.tabular]`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from trainer.config.schema import Problem, number


@dataclass(frozen=True, kw_only=True)
class Cnn:
    """`[members.cnn]`: a plain convolutional network, for backbone = "cnn".

    filters: channels of each convolution, 1 to 4096.
    strides: stride of each convolution, 1 to 4; as many as filters.
    first_kernel: kernel side in pixels of the first convolution, 1 to 15; the others have 3.
    """

    filters: list[int] = field(
        default_factory=lambda: [24, 32, 64, 64], metadata={"low": 1, "high": 4096}
    )
    strides: list[int] = field(default_factory=lambda: [2, 1, 2, 1], metadata={"low": 1, "high": 4})
    first_kernel: int = number(5, low=1, high=15)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if not self.filters or len(self.filters) != len(self.strides):
            yield Problem(
                "strides",
                f"has {len(self.strides)} values and filters has {len(self.filters)}: "
                "each convolution requires one value of each, and there must be at least one",
            )


@dataclass(frozen=True, kw_only=True)
class Linear:
    """`[members.linear]`: multinomial logistic regression on pixels, for backbone = "linear".

    It trains in about a second a fold without TensorFlow: a baseline for every other member.

    side: images with a larger side are reduced to this one before their pixels become features, 2
        to 64.
    strength: inverse strength of the L2 penalty on standardised features (C of scikit-learn), 1e-6
        to 1e6; smaller values regularise more.
    """

    side: int = number(16, low=2, high=64)
    strength: float = number(0.1, low=1e-6, high=1e6)


@dataclass(frozen=True, kw_only=True)
class Head:
    """`[members.head]`: from the backbone's feature map to the logits.

    pooling: `average`, `max`, `gem` (generalised mean with a learnt exponent) or `flatten` (no
        pooling).
    hidden: sizes of dense layers with ReLU before the last layer, each 1 to 65,536.
    dropout: dropout rate before each dense layer, 0 to 0.95.
    samples: number of dropout masks before the last layer, 1 to 32; their logits are averaged
        (multi-sample dropout).
    """

    pooling: Literal["average", "max", "gem", "flatten"] = "average"
    hidden: list[int] = field(default_factory=list, metadata={"low": 1, "high": 65_536})
    dropout: float = number(0.2, low=0, high=0.95)
    samples: int = number(1, low=1, high=32)


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """`[members.tabular]`: tabular columns that are inputs of the network, in addition to the
    image.

    columns: names of the columns, from data.numeric and data.categorical; [] for none.
    layers: sizes of the dense layers between the columns and the pooled image features, each 1 to
        65,536.
    batch_norm: whether batch normalisation follows each of these layers.
    activation: `relu` or `swish`, after each of these layers.
    dropout: dropout rate between these layers, 0 to 0.95.
    preset: `melanoma`, the published layers for that data, which replace layers, batch_norm,
        activation and dropout; "" for none.
    """

    columns: list[str] = field(default_factory=list)
    layers: list[int] = field(default_factory=lambda: [32], metadata={"low": 1, "high": 65_536})
    batch_norm: bool = False
    activation: Literal["relu", "swish"] = "relu"
    dropout: float = number(0.0, low=0, high=0.95)
    preset: Literal["", "melanoma"] = ""
