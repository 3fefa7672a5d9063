"""A classifier's training step and prediction as a program, from stored pixels to logits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.backends.program import (
    Arrays,
    Averaged,
    Calls,
    Definition,
    MovingAverage,
    Program,
    Update,
    assign,
)
from trainer.config.member import Member
from trainer.input import augment_device
from trainer.input.augment import AugmentParams
from trainer.input.batches import Batch
from trainer.models import losses, optimizers

NETWORK = "model"
# The average of the network, where the recipe asks for one.
AVERAGED = "averaged"


def define(
    member: Member,
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    task: str,
    augment_on_device: bool,
    name: str = "step",
) -> Definition:
    """The program of a member's network.

    Args:
        member: the recipe.
        network: from pixels, and tabular values if any, to logits.
        optimizer: updates the trainable weights; each step sets its learning rate.
        task: multiclass, binary or multilabel.
        augment_on_device: the program augments stored pixels; otherwise the CPU did.
        name: of the compiled step.
    """
    row_loss = losses.of_rows(member.loss, exclusive=task == "multiclass")
    mixing = bool(member.augment.cutmix or member.augment.mixup)

    def inputs(arrays: Arrays, *, mixing: bool) -> Any:
        pixels = arrays["pixels"]
        if augment_on_device:
            pixels = augment_device.apply(
                pixels, arrays, member.augment, side=member.side(), mixing=mixing
            )
        pixels = ops.cast(pixels, "float32")
        return [pixels, arrays["tabular"]] if arrays["tabular"].shape[-1] else pixels

    def loss(calls: Calls, arrays: Arrays) -> tuple[Any, list[Any]]:
        logits = calls[NETWORK](inputs(arrays, mixing=mixing))
        return ops.mean(row_loss(arrays["targets"], logits) * arrays["weights"]), []

    def predict(calls: Calls, arrays: Arrays) -> Any:
        return calls[NETWORK](inputs(arrays, mixing=False))

    # Without XLA on TensorFlow: depthwise convolutions are several times slower with it on a CPU.
    momentum = member.optimizer.average
    return Definition(
        {NETWORK: network} | ({AVERAGED: Averaged(network)} if momentum else {}),
        [Update(NETWORK, optimizer, loss, optimizers.layer_rates(member, network))],
        predict,
        average=MovingAverage(NETWORK, AVERAGED, momentum) if momentum else None,
        name=name,
    )


def training_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The arrays that a training step takes of a batch."""
    arrays = {
        "pixels": batch.pixels,
        "tabular": batch.tabular,
        "targets": batch.targets,
        "weights": batch.weights,
    }
    return arrays if batch.drawn is None else {**arrays, **augment_arrays(batch.drawn)}


def augment_arrays(params: AugmentParams) -> dict[str, np.ndarray]:
    """The arrays that the device needs to augment a batch."""
    return {name: getattr(params, name) for name in augment_device.FIELDS}


@contextlib.contextmanager
def averaged_weights(program: Program) -> Iterator[None]:
    """Inside the block the network has its averaged variables, where the program averages them."""
    networks = program.definition.networks
    if AVERAGED not in networks:
        yield
        return
    program.pull()
    trained, averaged = (
        [np.array(variable) for variable in networks[name].variables]
        for name in (NETWORK, AVERAGED)
    )
    assign(networks[NETWORK].variables, averaged)
    program.push()
    try:
        yield
    finally:
        assign(networks[NETWORK].variables, trained)
        program.push()
