"""The engine on TensorFlow: one device, no XLA (its depthwise convolutions are several times slower
on a CPU)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.backends import program
from trainer.input.batches import Batch


class OnTensorFlow:
    """The state lives in the model's and the optimizer's variables."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        objective: Any,
        predictor: Any,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        # Built before the first step, which then comes twice as soon.
        optimizer.build(model.trainable_variables)

        @tf.function(jit_compile=False)
        def step(arrays: Any, rate: Any) -> Any:
            optimizer.learning_rate.assign(rate)
            with tf.GradientTape() as tape:
                loss, _ = objective(
                    lambda inputs: (_one(model, inputs, training=True), None), arrays
                )
                if model.losses:
                    loss = loss + tf.add_n(model.losses)
                scaled = optimizer.scale_loss(loss)
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
            return loss

        @tf.function(jit_compile=False)
        def logits(arrays: Any) -> Any:
            return predictor(lambda inputs: _one(model, inputs, training=False), arrays)

        self._step, self._logits = step, logits

    def step(self, batch: Batch, rate: float) -> Any:
        return self._step(_tensors(program.training_arrays(batch)), tf.constant(rate, tf.float32))

    def logits(self, arrays: program.Arrays) -> np.ndarray:
        return np.asarray(self._logits(_tensors(arrays)))

    def pull(self) -> None:
        """Nothing: the state is there already."""

    def push(self) -> None:
        """Nothing: the state is there already."""


def _one(model: keras.Model, inputs: list[Any], *, training: bool) -> Any:
    return model(inputs if len(inputs) > 1 else inputs[0], training=training)


def _tensors(arrays: program.Arrays) -> dict[str, Any]:
    return {name: tf.convert_to_tensor(values) for name, values in arrays.items()}
