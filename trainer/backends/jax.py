"""The engine on JAX: any number of devices, of one host or several.

The state is copied to every device, each batch is cut into equal parts, and the compiled step is
written as for one device: batch normalisation, losses and gradients are those of the whole batch.
"""

from typing import Any

import jax
import keras
import numpy as np

from trainer.backends import program
from trainer.input.batches import Batch


class OnJax:
    """The state lives in arrays here, and comes into the model's variables by `pull`."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        objective: Any,
        predictor: Any,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self._state: Any = None
        optimizer.build(model.trainable_variables)
        # By identity: variables of Keras compare element by element.
        (place,) = (
            n
            for n, variable in enumerate(optimizer.variables)
            if variable is optimizer.learning_rate
        )
        distribution = keras.distribution.distribution()

        def step(state: Any, arrays: Any, rate: Any) -> Any:
            trainable, frozen, optimizing = state
            optimizing = [*optimizing[:place], rate, *optimizing[place + 1 :]]

            def total(trainable: Any) -> Any:
                def apply(inputs: Any) -> Any:
                    logits, after, extra = model.stateless_call(
                        trainable,
                        frozen,
                        inputs if len(inputs) > 1 else inputs[0],
                        training=True,
                        return_losses=True,
                    )
                    return logits, (after, extra)

                loss, (after, extra) = objective(apply, arrays)
                return loss + sum(extra), after

            (loss, frozen), gradients = jax.value_and_grad(total, has_aux=True)(trainable)
            trainable, optimizing = optimizer.stateless_apply(optimizing, gradients, trainable)
            return loss, (trainable, frozen, optimizing)

        def logits(weights: Any, arrays: Any) -> Any:
            def apply(inputs: Any) -> Any:
                return model.stateless_call(
                    *weights, inputs if len(inputs) > 1 else inputs[0], training=False
                )[0]

            return predictor(apply, arrays)

        self._layout = distribution.get_data_layout if distribution else None
        everywhere = (
            None
            if distribution is None
            else jax.sharding.NamedSharding(self._sharding((1,)).mesh, jax.P())
        )
        # A state that came back laid out in another way would be compiled for again.
        self._step = jax.jit(step, donate_argnums=0, out_shardings=everywhere)
        # Each process gets the logits of all.
        self._logits = jax.jit(logits, out_shardings=everywhere)
        self.push()

    def step(self, batch: Batch, rate: float) -> Any:
        arrays = self._arrays(program.training_arrays(batch))
        loss, self._state = self._step(self._state, arrays, np.float32(rate))
        return loss

    def logits(self, arrays: program.Arrays) -> np.ndarray:
        return np.asarray(self._logits(self._state[:2], self._arrays(arrays)))

    def pull(self) -> None:
        # The next step gives these arrays away to be written over: the variables need their own.
        trainable, frozen, optimizing = jax.tree.map(lambda array: array.copy(), self._state)
        for variables, values in (
            (self.model.trainable_variables, trainable),
            (self.model.non_trainable_variables, frozen),
            (self.optimizer.variables, optimizing),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    def push(self) -> None:
        groups = (
            self.model.trainable_variables,
            self.model.non_trainable_variables,
            self.optimizer.variables,
        )
        self._state = tuple([variable.value.copy() for variable in group] for group in groups)

    def _sharding(self, shape: tuple[int, ...]) -> Any:
        assert self._layout is not None
        return self._layout(shape).backend_layout

    def _arrays(self, arrays: program.Arrays) -> dict[str, Any]:
        """This process's part of each array, as part of the whole batch on all devices."""
        if self._layout is None:
            return {name: jax.numpy.asarray(values) for name, values in arrays.items()}
        return {
            name: jax.make_array_from_process_local_data(self._sharding(values.shape), values)
            for name, values in arrays.items()
        }
