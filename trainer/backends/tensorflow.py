"""Programs on TensorFlow: one device."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.backends.kernels import fuse_network, fuse_optimizer
from trainer.backends.program import Arrays, Averaged, Calls, Definition, Update


class TensorFlowProgram:
    """A program whose state is in the variables of its networks and optimizers."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        if not definition.xla:
            # XLA fuses by itself.
            for network in definition.networks.values():
                if not isinstance(network, Averaged):
                    fuse_network(network)
        for update in definition.updates:
            if not definition.xla:
                fuse_optimizer(update.optimizer)
            # Building the optimizer before the first step makes that step twice as fast.
            update.optimizer.build(definition.networks[update.network].trainable_variables)

        def one_step(arrays: Any, learning_rate: Any) -> Any:
            values = [
                value
                for update in definition.updates
                for value in _apply(definition, update, arrays, learning_rate)
            ]
            return tf.stack(values)

        # Nothing here needs AutoGraph, which would translate the source of all that is called.
        @tf.function(jit_compile=definition.xla, autograph=False)
        def step(arrays: Any, learning_rate: Any) -> Any:
            if not definition.several_steps:
                return one_step(arrays, learning_rate)
            count = next(iter(arrays.values())).shape[1]

            def numbered(number: Any) -> Any:
                of_step = {name: values[:, number] for name, values in arrays.items()}
                return one_step(of_step, learning_rate)

            if count == 1:
                return numbered(0)[None]
            _, reported = tf.while_loop(
                lambda number, _: number < count,
                lambda number, reported: (number + 1, reported.write(number, numbered(number))),
                (tf.constant(0), tf.TensorArray(tf.float32, count)),
            )
            return reported.stack()

        @tf.function(jit_compile=definition.xla, autograph=False)
        def predict(arrays: Any) -> Any:
            return definition.predict(_calls(definition, training=False), arrays)

        self._step, self._predict = step, predict

    @property
    def compilations(self) -> int:
        """How often the step was traced and compiled."""
        return int(self._step.experimental_get_tracing_count())

    def step(self, arrays: Arrays, learning_rate: float | None = None) -> Any:
        """See `Program.step`."""
        rate = None if learning_rate is None else tf.constant(learning_rate, tf.float32)
        return self._step(_tensors(arrays), rate)

    def predict(self, arrays: Arrays) -> np.ndarray:
        """See `Program.predict`."""
        return np.asarray(self._predict(_tensors(arrays)))

    def pull(self) -> None:
        """Nothing to do: the variables are the state."""

    def push(self) -> None:
        """Nothing to do: the variables are the state."""


def _calls(definition: Definition, *, training: bool) -> Calls:
    def call(network: Any) -> Any:
        return lambda inputs: network(inputs, training=training)

    return {name: call(network) for name, network in definition.networks.items()}


def _apply(definition: Definition, update: Update, arrays: Any, learning_rate: Any) -> list[Any]:
    """Do one update; return its loss and what it reports."""
    network: Any = definition.networks[update.network]
    optimizer = update.optimizer
    variables = network.trainable_variables
    if learning_rate is not None:
        optimizer.learning_rate.assign(learning_rate)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in variables])
        loss, reported = update.loss(_calls(definition, training=True), arrays)
        if network.losses:
            loss = loss + tf.add_n(network.losses)
        scaled = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, [variable.value for variable in variables])
    average = definition.average
    if average is None or average.source != update.network:
        _change(update, gradients, variables)
        return [loss, *reported]
    updates = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.float32)
    decay = average.decay(updates, tf.minimum)
    _change(update, gradients, variables)
    averaged = definition.networks[average.target].variables
    for mean, variable in zip(averaged, network.variables, strict=True):
        if variable.value.dtype.is_floating:
            mean.assign(decay * mean.value + (1.0 - decay) * variable.value)
        else:
            mean.assign(variable.value)
    return [loss, *reported]


def _change(update: Update, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
    """Apply the optimizer; variables with a rate take that share of their change, which is a
    learning rate of their own for any optimizer whose change is proportional to its rate."""
    rates = update.rates or [1.0] * len(variables)
    slow = [(one, rate) for one, rate in zip(variables, rates, strict=True) if rate < 1]
    before = [tf.identity(variable.value) for variable, _ in slow]
    update.optimizer.apply(gradients, variables)
    for (variable, rate), value in zip(slow, before, strict=True):
        variable.assign(value + rate * (variable.value - value))


def _tensors(arrays: Arrays) -> dict[str, Any]:
    return {name: tf.convert_to_tensor(values) for name, values in arrays.items()}
