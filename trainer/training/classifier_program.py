"""A classifier's training step and prediction as a program, from stored pixels to logits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from trainer.backends.program import Arrays, Calls, Definition, Program, Update, assign
from trainer.config.member import Member
from trainer.input import augment_device
from trainer.input.augment import AugmentParams
from trainer.input.batches import Batch
from trainer.models import losses

NETWORK = "model"


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
    return Definition({NETWORK: network}, [Update(NETWORK, optimizer, loss)], predict, name=name)


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
    """Inside the block the network has its averaged weights, where the optimizer keeps an
    average."""
    (update,) = program.definition.updates
    network: Any = program.definition.networks[NETWORK]
    optimizer: Any = getattr(update.optimizer, "inner_optimizer", update.optimizer)
    if not optimizer.use_ema:
        yield
        return
    program.pull()
    trained = [np.array(variable) for variable in network.trainable_variables]
    optimizer.finalize_variable_values(network.trainable_variables)
    program.push()
    try:
        yield
    finally:
        assign(network.trainable_variables, trained)
        program.push()
