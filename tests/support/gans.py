"""What the tests of a GAN share: small real digits as 32 × 32 images, a recipe, and its program."""

import dataclasses
from typing import Any

import numpy as np

from tests.support.tiny import digits
from trainer.backends.devices import Device
from trainer.backends.program import Program, compile_program
from trainer.config.gan import GanRecipe
from trainer.gan import step as gan_step
from trainer.gan.state import GanState

SMALL: dict[str, Any] = {
    "steps": 8,
    "batch_size": 16,
    "latent": 8,
    "width": 4,
    "average": 0.9,
    "evaluate_every": 4,
}


def enlarged(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 32, 32, 1) uint8 and (count,) int32."""
    images, labels = digits(count)
    return images.repeat(4, axis=1).repeat(4, axis=2), labels.astype(np.int32)


def device(backend: str) -> Device:
    return Device("CPU", backend, 1, 0, 1, 1, False)  # type: ignore[arg-type]


def networks(gan: GanRecipe, *, side: int = 32, channels: int = 1) -> GanState:
    return GanState(gan, side=side, channels=channels, classes=10, seed=5)


def program(state: GanState, backend: str = "tensorflow", *, xla: bool = False) -> Program:
    """Compile the step; without XLA, as TensorFlow's graph, in a third of the time."""
    definition = dataclasses.replace(gan_step.define(state), xla=xla)
    return compile_program(definition, backend)  # type: ignore[arg-type]


def arrays(gan: GanRecipe, step: int) -> dict[str, np.ndarray]:
    """What a step takes, of real digits."""
    images, labels = enlarged(200)
    chosen = np.random.default_rng([7, step]).choice(200, gan.batch_size, replace=False)
    drawn = gan_step.draw(gan, seed=3, step=step, side=32, classes=10)
    return {"pixels": images[chosen], "labels": labels[chosen], **drawn}


def trained(program: Program, gan: GanRecipe, *, together: int = 1) -> np.ndarray:
    """(steps, 4) what all steps of the recipe report, `together` of them at each call."""
    reported = [
        np.asarray(
            program.step(gan_step.stacked([arrays(gan, step + more) for more in range(together)]))
        )
        for step in range(0, gan.steps, together)
    ]
    return np.concatenate(reported)
