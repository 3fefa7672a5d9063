"""Networks as tests build them."""

from typing import Any

import numpy as np

from trainer.config.member import Member
from trainer.models import classifier


def build_classifier(
    member: Member,
    *,
    outputs: int,
    size: int,
    channels: int,
    mean: np.ndarray,
    std: np.ndarray,
    seed: int,
    tabular: int = 0,
    weights: str = "",
) -> Any:
    """`classifier.build`, its inputs one by one."""
    inputs = classifier.Inputs(size, channels, mean, std, tabular)
    return classifier.build(member, inputs, outputs=outputs, seed=seed, weights=weights)
