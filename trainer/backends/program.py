"""One compiled training step and one compiled prediction of a network, on TensorFlow or on JAX.

Both backends do the same with the same keras.ops code; what differs between them stands in
tensorflow.py and jax.py beside this file. An engine is made once for a network and used for every
fold: weights, optimizer state, statistics and the learning rate are all given to it, so nothing is
compiled a second time."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from trainer.config.member import Member
from trainer.input import augment_device
from trainer.input.augment import AugmentParams
from trainer.input.batches import Batch
from trainer.models import losses

# The arrays that a compiled function takes, by name.
Arrays = Mapping[str, Any]


class Engine(Protocol):
    """A network in training."""

    model: keras.Model
    optimizer: keras.optimizers.Optimizer

    def step(self, batch: Batch, rate: float) -> Any:
        """Train on a batch at a learning rate; its loss, which is not waited for."""

    def logits(self, arrays: Arrays) -> np.ndarray:
        """(batch, outputs) float32 for a batch of the size that the engine was made for."""

    def pull(self) -> None:
        """Bring the state into the variables of the model and the optimizer."""

    def push(self) -> None:
        """Take the state from those variables."""


def objective(
    member: Member, *, exclusive: bool, side: int, on_device: bool
) -> Callable[[Any, Arrays], tuple[Any, Any]]:
    """What a training step computes of a batch, up to the model: the model's inputs, and the
    function from logits to loss.

    Args:
        exclusive: as in `losses.of_rows`.
        side: of what the network sees.
        on_device: the pixels are stored ones, to be painted here.

    Returns:
        a function of (apply, arrays) that calls `apply(inputs)` for the logits and gives (loss,
        whatever else `apply` gave).
    """
    row_loss = losses.of_rows(member.loss, exclusive=exclusive)
    mixing = bool(member.augment.cutmix or member.augment.mixup)

    def compute(apply: Any, arrays: Arrays) -> tuple[Any, Any]:
        pixels = arrays["pixels"]
        if on_device:
            pixels = augment_device.paint(pixels, arrays, member.augment, side=side, mixing=mixing)
        logits, rest = apply(_inputs(pixels, arrays))
        return ops.mean(row_loss(arrays["targets"], logits) * arrays["weights"]), rest

    return compute


def predictor(member: Member, *, side: int, on_device: bool) -> Callable[[Any, Arrays], Any]:
    """A function of (apply, arrays) that gives the logits of images in a view."""

    def compute(apply: Any, arrays: Arrays) -> Any:
        pixels = arrays["pixels"]
        if on_device:
            pixels = augment_device.paint(pixels, arrays, member.augment, side=side, mixing=False)
        return apply(_inputs(pixels, arrays))

    return compute


def _inputs(pixels: Any, arrays: Arrays) -> list[Any]:
    given = [ops.cast(pixels, "float32")]
    return given if arrays["tabular"].shape[-1] == 0 else [*given, arrays["tabular"]]


def training_arrays(batch: Batch) -> dict[str, np.ndarray]:
    """What the compiled step takes of a batch."""
    arrays = {
        "pixels": batch.pixels,
        "tabular": batch.tabular,
        "targets": batch.targets,
        "weights": batch.weights,
    }
    return arrays if batch.drawn is None else {**arrays, **drawn_arrays(batch.drawn)}


def drawn_arrays(drawn: AugmentParams) -> dict[str, np.ndarray]:
    """What the device needs to paint."""
    return {name: getattr(drawn, name) for name in augment_device.FIELDS}


def state(engine: Engine) -> dict[str, list[np.ndarray]]:
    """All that a step changes, as arrays: the model's variables, seeds of dropout among them, and
    the optimizer's."""
    engine.pull()
    return {
        "model": [np.array(variable) for variable in engine.model.variables],
        "optimizer": [np.array(variable) for variable in engine.optimizer.variables],
    }


def restore(engine: Engine, arrays: Mapping[str, list[np.ndarray]]) -> None:
    """Go back to what `state` gave."""
    assign(engine.model.variables, arrays["model"])
    assign(engine.optimizer.variables, arrays["optimizer"])
    engine.push()


def assign(variables: list[Any], arrays: list[np.ndarray]) -> None:
    """Set variables, in order."""
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)


@contextlib.contextmanager
def averaged(engine: Engine) -> Iterator[None]:
    """Inside, the model's weights are their exponential average, where the optimizer keeps one."""
    optimizer: Any = getattr(engine.optimizer, "inner_optimizer", engine.optimizer)
    if not optimizer.use_ema:
        yield
        return
    engine.pull()
    trained = [np.array(variable) for variable in engine.model.trainable_variables]
    optimizer.finalize_variable_values(engine.model.trainable_variables)
    engine.push()
    try:
        yield
    finally:
        assign(engine.model.trainable_variables, trained)
        engine.push()
