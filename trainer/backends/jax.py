"""Programs on JAX: any number of devices, on one host or several.

Every device holds a copy of the state, each batch is split into equal parts along its first axis,
and the step is written as for one device: batch normalisation, losses and gradients are those of
the whole batch.
"""

from collections import Counter
from typing import Any

import jax
import jax.monitoring
import keras
import numpy as np
from jax import numpy as jnp

from trainer.backends.program import Arrays, Calls, Definition, Update

_compiled: Counter[str] = Counter()


def _count_compilations(event: str, _: float, **values: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled[str(values.get("fun_name"))] += 1


jax.monitoring.register_event_duration_secs_listener(_count_compilations)


class JaxProgram:
    """A program whose state is in arrays on the devices; `pull` copies it into the variables."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._state: Any = None
        for update in definition.updates:
            update.optimizer.build(definition.networks[update.network].trainable_variables)
        distribution = keras.distribution.distribution()
        self._layout = distribution.get_data_layout if distribution else None
        self._replicated = None
        if self._layout is not None:
            mesh = self._layout((1,)).backend_layout.mesh
            self._replicated = jax.sharding.NamedSharding(mesh, jax.P())
        placed = _Step(definition)

        def step(state: Any, arrays: Any, learning_rate: Any) -> tuple[Any, Any]:
            if not definition.several_steps:
                return placed(state, arrays, learning_rate)
            stacked = {name: jnp.moveaxis(values, 1, 0) for name, values in arrays.items()}
            return jax.lax.scan(lambda s, a: placed(s, a, learning_rate), state, stacked)

        def predict(networks: Any, arrays: Any) -> Any:
            return definition.predict(_inference_calls(definition, networks), arrays)

        # Compilations are counted by this name.
        step.__name__ = f"foldline_{definition.name}"
        self._name = f"jit({step.__name__})"
        self._compiled_before = _compiled[self._name]
        # A state that came back in another layout would be compiled for again.
        self._step = jax.jit(step, donate_argnums=0, out_shardings=self._replicated)
        # Every process gets the predictions of all.
        self._predict = jax.jit(predict, out_shardings=self._replicated)
        self.push()

    @property
    def compilations(self) -> int:
        """How often the step was compiled, also for another layout of the same arrays."""
        return _compiled[self._name] - self._compiled_before

    def step(self, arrays: Arrays, learning_rate: float | None = None) -> Any:
        """See `Program.step`."""
        rate = None if learning_rate is None else np.float32(learning_rate)
        self._state, reported = self._step(self._state, self.place(arrays), rate)
        return reported

    def predict(self, arrays: Arrays) -> np.ndarray:
        """See `Program.predict`."""
        return np.asarray(self._predict(self._state[0], self.place(arrays)))

    def pull(self) -> None:
        """See `Program.pull`."""
        # The next step overwrites these arrays: the variables need copies.
        networks, optimizers = jax.tree.map(lambda array: array.copy(), self._state)
        for name, values in networks.items():
            for variables, arrays in zip(self._variables(name), values, strict=True):
                _assign(variables, arrays)
        for update in self.definition.updates:
            _assign(update.optimizer.variables, optimizers[update.network])

    def push(self) -> None:
        """See `Program.push`."""
        self._state = (
            {
                name: tuple(list(map(self._copy, group)) for group in self._variables(name))
                for name in self.definition.networks
            },
            {
                u.network: list(map(self._copy, u.optimizer.variables))
                for u in self.definition.updates
            },
        )

    def _variables(self, name: str) -> tuple[Any, Any]:
        network = self.definition.networks[name]
        return network.trainable_variables, network.non_trainable_variables

    def _copy(self, variable: Any) -> Any:
        value = variable.value.copy()
        # Of several processes each has its variables replicated already, and placing them again
        # would have the processes compare all values.
        if self._replicated is None or jax.process_count() > 1:
            return value
        return jax.device_put(value, self._replicated)

    def place(self, arrays: Arrays) -> dict[str, Any]:
        """Return this process's part of each array, as part of the whole batch on all devices.

        Arrays that are on the devices stay there.
        """
        return {
            name: values if isinstance(values, jax.Array) else self._on_devices(values)
            for name, values in arrays.items()
        }

    def _on_devices(self, values: Any) -> Any:
        if self._layout is None:
            return jnp.asarray(values)
        return jax.make_array_from_process_local_data(
            self._layout(values.shape).backend_layout, values
        )


class _Step:
    """All updates of a step, as a pure function of (state, arrays, learning rate)."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        optimizers = {update.network: update.optimizer for update in definition.updates}
        self.rates = {name: _place(o, "learning_rate") for name, o in optimizers.items()}
        # With accumulated gradients, `iterations` counts updates and is no variable.
        self.steps = {
            name: next(n for n, variable in enumerate(o.variables) if variable.name == "iteration")
            for name, o in optimizers.items()
        }

    def __call__(self, state: Any, arrays: Any, learning_rate: Any) -> tuple[Any, Any]:
        networks, optimizers = (dict(part) for part in state)
        values = []
        for update in self.definition.updates:
            values += self._apply(update, networks, optimizers, arrays, learning_rate)
        return (networks, optimizers), jnp.stack(values)

    def _apply(
        self, update: Update, networks: Any, optimizers: Any, arrays: Any, learning_rate: Any
    ) -> list[Any]:
        """Do one update in place in the two dictionaries; returns its loss and what it reports."""
        name = update.network

        def compute(weights: Any) -> tuple[Any, Any]:
            trainable = {**{other: parts[0] for other, parts in networks.items()}, name: weights}
            frozen = {other: parts[1] for other, parts in networks.items()}
            penalties: list[Any] = []

            def call(called: str, network: Any) -> Any:
                def apply(inputs: Any) -> Any:
                    outputs, frozen[called], losses = network.stateless_call(
                        trainable[called], frozen[called], inputs, training=True, return_losses=True
                    )
                    penalties.extend(losses if called == name else [])
                    return outputs

                return apply

            calls = {key: call(key, network) for key, network in self.definition.networks.items()}
            loss, reported = update.loss(calls, arrays)
            return loss + sum(penalties), (list(reported), frozen)

        gradient = jax.value_and_grad(compute, has_aux=True)
        (loss, (reported, frozen)), gradients = gradient(networks[name][0])
        for other, values in frozen.items():
            networks[other] = (networks[other][0], values)
        before = list(optimizers[name])
        if learning_rate is not None:
            before[self.rates[name]] = learning_rate
        weights, after = update.optimizer.stateless_apply(before, gradients, networks[name][0])
        if update.rates:
            weights = [
                new if rate == 1 else old + rate * (new - old)
                for old, new, rate in zip(networks[name][0], weights, update.rates, strict=True)
            ]
        networks[name], optimizers[name] = (weights, networks[name][1]), after
        average = self.definition.average
        if average is not None and average.source == name:
            batches = before[self.steps[name]]
            updates = batches // (update.optimizer.gradient_accumulation_steps or 1)
            decay = average.decay(jnp.float32(updates), jnp.minimum)
            networks[average.target] = jax.tree.map(
                lambda mean, value: (
                    decay * mean + (1.0 - decay) * value
                    if jnp.issubdtype(value.dtype, jnp.floating)
                    else value
                ),
                networks[average.target],
                networks[name],
            )
        return [loss, *reported]


def _inference_calls(definition: Definition, networks: Any) -> Calls:
    def call(name: str, network: Any) -> Any:
        return lambda inputs: network.stateless_call(*networks[name], inputs, training=False)[0]

    return {name: call(name, network) for name, network in definition.networks.items()}


def _place(optimizer: Any, attribute: str) -> int:
    """The position of a variable among an optimizer's; -1 if it is not a variable of its own.

    By identity: Keras compares variables element by element.
    """
    wanted = getattr(optimizer, attribute)
    places = [n for n, variable in enumerate(optimizer.variables) if variable is wanted]
    return places[0] if places else -1


def _assign(variables: Any, arrays: Any) -> None:
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)
