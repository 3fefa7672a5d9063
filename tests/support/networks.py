"""Networks as tests build them."""

from typing import Any

import numpy as np

from trainer.config.member import Member
from trainer.models import classifier, pretrained


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
    """`classifier.build`, its inputs one by one, and the weights that it starts from."""
    inputs = classifier.Inputs(size, channels, mean, std, tabular)
    model = classifier.build(member, inputs, outputs=outputs, seed=seed)
    pretrained.initialise(model, member, weights)
    return model
