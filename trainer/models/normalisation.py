"""Batch normalisation that is right at the end of a short training, too."""

from typing import Any

import keras

# Of the steps of a training, one of how many the statistics mostly cover: their momentum is that of
# a mean over the last 5 % of the steps, but over at least 10 and at most 100 of them.
_SHARE, _FEWEST, _MOST = 0.05, 10, 100


def momentum(steps: int) -> float:
    """Return the momentum of the moving mean and variance of a training of so many steps.

    Published networks have 0.99 or 0.999: after a few hundred steps, their statistics are still
    those of the first ones, and a network that has learnt predicts one class for all images.
    """
    return 1 - 1 / min(max(_SHARE * steps, _FEWEST), _MOST)


def set_momentum(network: Any, value: float, *, leave: Any = None) -> None:
    """Set the momentum of all batch normalisations of a network, also of networks inside it.

    Args:
        network: a Keras model.
        value: the momentum.
        leave: a network inside it that stays as it is; None for none.
    """
    for layer in network.layers:
        if layer is leave:
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = value
        elif isinstance(layer, keras.Model):
            set_momentum(layer, value, leave=leave)
