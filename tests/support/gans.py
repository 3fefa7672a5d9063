"""What the tests of a GAN share: small real digits as 32 × 32 images, a recipe, and a pair on this
process's backend."""

from typing import Any

import numpy as np

from tests.support.tiny import digits
from trainer.backends.devices import Device
from trainer.config.gan import GanRecipe
from trainer.gan import state

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


def networks(gan: GanRecipe, *, side: int = 32, channels: int = 1) -> state.GanState:
    return state.GanState(gan, side=side, channels=channels, classes=10, seed=5)


def arrays(gan: GanRecipe, step: int) -> dict[str, np.ndarray]:
    """What a step takes, of real digits."""
    images, labels = enlarged(200)
    chosen = np.random.default_rng([7, step]).choice(200, gan.batch_size, replace=False)
    drawn = state.draw(gan, seed=3, step=step, side=32, classes=10)
    return {"pixels": images[chosen], "labels": labels[chosen], **drawn}


def trained(made: state.Pair, gan: GanRecipe, *, together: int = 1) -> np.ndarray:
    """(steps, 4) what all steps of the recipe tell, `together` of them at each call."""
    told = [
        np.asarray(
            made.steps(state.stacked([arrays(gan, step + more) for more in range(together)]))
        )
        for step in range(0, gan.steps, together)
    ]
    return np.concatenate(told)
