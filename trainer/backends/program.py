"""A compiled training program: what a step and a prediction compute, whichever backend runs them.

A `Definition` is written in keras.ops. `trainer/backends/tensorflow.py` and
`trainer/backends/jax.py` compile it. A program is compiled once and used for every fold: weights,
optimizer state, pixel statistics and the learning rate are arguments of the compiled functions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import keras
import numpy as np

# Arrays that a compiled function takes, by name.
Arrays = Mapping[str, Any]
# For each network, a function from its inputs to its outputs.
Calls = Mapping[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Update:
    """One network's update by gradient descent, a part of a training step.

    Attributes:
        network: name of the network whose trainable weights change.
        optimizer: computes the change.
        loss: function of (calls, arrays) that returns the scalar loss and more scalars to report.
        rates: for each trainable weight, the share of the optimizer's change that it takes, 0 to 1;
            none if all take it whole.
    """

    network: str
    optimizer: keras.optimizers.Optimizer
    loss: Callable[[Calls, Arrays], tuple[Any, Sequence[Any]]]
    rates: Sequence[float] = ()


@dataclass(frozen=True)
class MovingAverage:
    """An exponential moving average of all variables of a network, taken after its update.

    The statistics of normalisation are averaged with the weights that they belong to. Whole
    numbers, such as the seeds of dropout, are copied.

    Attributes:
        source: name of the network that is averaged.
        target: name of the network, or of the `Averaged` variables, that hold the average.
        momentum: the largest share of the old average that a step keeps, 0 to 1.
    """

    source: str
    target: str
    momentum: float

    def decay(self, step: Any, minimum: Callable[[Any, Any], Any]) -> Any:
        """Return the share of the old average to keep: less at first, so that the initial weights,
        which know nothing, do not stay in it for as long as the momentum remembers.

        Args:
            step: the number of the step, from 0.
            minimum: the backend's elementwise minimum.
        """
        return minimum(self.momentum, (1.0 + step) / (10.0 + step))


class Averaged:
    """Variables that hold the average of a network's, in the same order."""

    def __init__(self, network: keras.Model) -> None:
        copies = {
            id(variable): keras.Variable(
                variable.value, dtype=variable.dtype, trainable=False, name=variable.name
            )
            for variable in network.variables
        }
        self.variables = [copies[id(variable)] for variable in network.variables]
        self.trainable_variables, self.non_trainable_variables = (
            [copies[id(variable)] for variable in variables]
            for variables in (network.trainable_variables, network.non_trainable_variables)
        )


@dataclass(frozen=True)
class Definition:
    """What a program computes.

    Attributes:
        networks: the networks by name, and the `Averaged` variables of one if there are any.
        updates: the parts of a training step, in order. Each sees the networks as the ones before
            left them.
        predict: function of (calls, arrays) that returns predictions; networks run in inference
            mode.
        average: a moving average that each step updates, if any.
        several_steps: the arrays of `Program.step` hold several steps along their second axis.
        xla: compile with XLA on TensorFlow. JAX always does.
        name: of the compiled step. JAX's cache of compiled programs looks it up under this name,
            which must be the same in the next process and differ between the programs of a job.
    """

    networks: Mapping[str, keras.Model | Averaged]
    updates: Sequence[Update]
    predict: Callable[[Calls, Arrays], Any]
    average: MovingAverage | None = None
    several_steps: bool = False
    xla: bool = False
    name: str = "step"


class Program(Protocol):
    """A compiled definition with the state of its networks and optimizers."""

    definition: Definition

    @property
    def compilations(self) -> int:
        """Return how often the step was compiled."""

    def step(self, arrays: Arrays, learning_rate: float | None = None) -> Any:
        """Train one step, or several if the definition has `several_steps`.

        Args:
            arrays: the batch; the first axis is split over the devices.
            learning_rate: of this step; None if the optimizers have their own schedules.

        Returns:
            (values,) float32, for each update its loss and what it reports; (steps, values) for
            several steps. The call does not wait until they are computed.
        """

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Return the predictions for a batch, which must have the size of the first call."""

    def pull(self) -> None:
        """Copy the state into the variables of networks and optimizers."""

    def push(self) -> None:
        """Copy the state from the variables of networks and optimizers."""


def compile_program(definition: Definition, backend: Literal["tensorflow", "jax"]) -> Program:
    """Return the program of a definition; its functions are compiled when first called."""
    if backend == "jax":
        from trainer.backends.jax import JaxProgram

        return JaxProgram(definition)
    from trainer.backends.tensorflow import TensorFlowProgram

    return TensorFlowProgram(definition)


def groups(definition: Definition) -> dict[str, list[Any]]:
    """Return all variables that a step changes, by network and by `<network>_optimizer`."""
    networks = {name: network.variables for name, network in definition.networks.items()}
    optimizers = {f"{u.network}_optimizer": u.optimizer.variables for u in definition.updates}
    return {**networks, **optimizers}


def get_state(program: Program) -> dict[str, list[np.ndarray]]:
    """Return copies of all variables that a step changes, including the seeds of dropout."""
    program.pull()
    return {
        name: [np.array(variable) for variable in variables]
        for name, variables in groups(program.definition).items()
    }


def set_state(program: Program, arrays: Mapping[str, list[np.ndarray]]) -> None:
    """Restore a state that `get_state` returned."""
    for name, variables in groups(program.definition).items():
        assign(variables, arrays[name])
    program.push()


def assign(variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
    """Assign arrays to variables, in order."""
    for variable, value in zip(variables, arrays, strict=True):
        variable.assign(value)
