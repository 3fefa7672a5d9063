"""The pair on JAX: any number of devices of one host, cut as in trainer/backends/jax.py."""

from collections.abc import Mapping
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from trainer.gan import networks as dcgan
from trainer.gan import state as pair
from trainer.gan.state import GanState


class PairOnJax:
    """The state lives in arrays here, and comes into the variables of the networks by `pull`."""

    def __init__(self, networks: GanState) -> None:
        self.networks = networks
        self._state: Any = None
        gan, generator, discriminator = networks.gan, networks.generator, networks.discriminator
        of_generator, of_discriminator = networks.optimizers

        def one(state: Any, arrays: Any) -> tuple[Any, Any]:
            """The discriminator's step, then the generator's before the discriminator as it is
            now."""

            def phase(trained: str, loss: Any) -> Any:
                """Value and gradients of a phase; what its calls leave of the moving statistics
                goes into the state."""

                def compute(weights: Any) -> tuple[Any, Any]:
                    trainable = {
                        **{name: state[name][0] for name in ("generator", "discriminator")},
                        trained: weights,
                    }
                    frozen = {name: state[name][1] for name in trainable}

                    def call(name: str, network: Any) -> dcgan.Network:
                        def apply(first: Any, labels: Any) -> Any:
                            given, frozen[name] = network.stateless_call(
                                trainable[name], frozen[name], [first, labels], training=True
                            )
                            return given

                        return apply

                    value, rest = loss(
                        call("generator", generator), call("discriminator", discriminator)
                    )
                    return value, (rest, frozen)

                (value, (rest, frozen)), gradients = jax.value_and_grad(compute, has_aux=True)(
                    state[trained][0]
                )
                for name, values in frozen.items():
                    state[name] = (state[name][0], values)
                return value, rest, gradients

            def update(trained: str, optimizer: Any, gradients: Any) -> None:
                weights, optimizing = optimizer.stateless_apply(
                    state[f"{trained}_optimizer"], gradients, state[trained][0]
                )
                state[trained] = (weights, state[trained][1])
                state[f"{trained}_optimizer"] = optimizing

            state = dict(state)
            first, right, gradients = phase(
                "discriminator",
                lambda generate, discriminate: dcgan.discriminator_loss(
                    gan, generate, discriminate, arrays
                ),
            )
            update("discriminator", of_discriminator, gradients)
            second, _, gradients = phase(
                "generator",
                lambda generate, discriminate: (
                    dcgan.generator_loss(gan, generate, discriminate, arrays),
                    None,
                ),
            )
            step = jnp.float32(state["generator_optimizer"][_iterations(of_generator)])
            update("generator", of_generator, gradients)
            kept = pair.share(gan, step, jnp.minimum)
            state["averaged"] = jax.tree.map(
                lambda average, value: kept * average + (1.0 - kept) * value,
                state["averaged"],
                state["generator"],
            )
            return state, jnp.stack([first, second, right["real"], right["generated"]])

        def steps(state: Any, arrays: Any) -> tuple[Any, Any]:
            return jax.lax.scan(
                one, state, {name: jnp.moveaxis(values, 1, 0) for name, values in arrays.items()}
            )

        def sample(weights: Any, latent: Any, labels: Any) -> Any:
            return networks.averaged.stateless_call(*weights, [latent, labels], training=False)[0]

        distribution = keras.distribution.distribution()
        self._layout = distribution.get_data_layout if distribution else None
        # A copy of the state on every device, before a step as after it: laid out in another way it
        # would be compiled again.
        self._everywhere = None
        if distribution is not None:
            mesh = distribution.get_data_layout((1,)).backend_layout.mesh
            self._everywhere = jax.sharding.NamedSharding(mesh, jax.P())
        self._steps, self._sample = (
            jax.jit(steps, donate_argnums=0, out_shardings=self._everywhere),
            jax.jit(sample),
        )
        self.push()

    @property
    def compilations(self) -> int:
        """Of the step, also where it was not traced anew, as for arrays that lie on the devices in
        another way."""
        return int(self._steps._cache_size())

    def steps(self, arrays: Mapping[str, np.ndarray]) -> Any:
        given = {name: self._placed(values) for name, values in arrays.items()}
        self._state, told = self._steps(self._state, given)
        return told

    def sample(self, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return pair.pixels(self._sample(self._state["averaged"], latent, labels))

    def pull(self) -> None:
        for name, group in self._groups().items():
            # The next step gives these arrays away to be written over: the variables need their
            # own.
            for variables, values in zip(group, self._of(name), strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value.copy())

    def push(self) -> None:
        held = {
            name: tuple(
                [self._held(variable.value) for variable in variables] for variables in group
            )
            for name, group in self._groups().items()
        }
        self._state = {name: lists if len(lists) == 2 else lists[0] for name, lists in held.items()}

    def _held(self, value: Any) -> Any:
        return (
            value.copy()
            if self._everywhere is None
            else jax.device_put(value.copy(), self._everywhere)
        )

    def _of(self, name: str) -> tuple[Any, ...]:
        held = self._state[name]
        return held if isinstance(held, tuple) else (held,)

    def _groups(self) -> dict[str, tuple[Any, ...]]:
        networks = self.networks
        of_generator, of_discriminator = networks.optimizers
        named = {
            "generator": networks.generator,
            "discriminator": networks.discriminator,
            "averaged": networks.averaged,
        }
        return {
            **{
                name: (network.trainable_variables, network.non_trainable_variables)
                for name, network in named.items()
            },
            "generator_optimizer": (of_generator.variables,),
            "discriminator_optimizer": (of_discriminator.variables,),
        }

    def _placed(self, values: np.ndarray) -> Any:
        if self._layout is None:
            return jnp.asarray(values)
        return jax.device_put(values, self._layout(values.shape).backend_layout)


def _iterations(optimizer: Any) -> int:
    """The place of the counter of steps among an optimizer's variables, which compare element by
    element."""
    (place,) = (
        n for n, variable in enumerate(optimizer.variables) if variable is optimizer.iterations
    )
    return place
