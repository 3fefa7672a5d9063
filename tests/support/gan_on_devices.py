"""Trains a small GAN on the devices that the environment names, for test_step.py."""

import json
import sys

import numpy as np

from tests.support import gans
from trainer.backends import devices
from trainer.backends.program import get_state, groups, set_state
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.gan.step import sample


def main(recipe: str, together: str, first: str, out: str) -> None:
    """Begin with the state in `first`; write the last state, what was reported, and samples."""
    device = devices.prepare("jax", own_process=True)
    gan = parse(GanRecipe, json.loads(recipe), "gan")
    program = gans.program(gans.networks(gan), "jax")
    with np.load(first) as file:
        arrays = {
            name: [file[f"{name}/{index}"] for index in range(len(group))]
            for name, group in groups(program.definition).items()
        }
    set_state(program, arrays)
    reported = gans.trained(program, gan, together=int(together))
    latent = np.random.default_rng(1).standard_normal((16, gan.latent), np.float32)
    samples = sample(program, latent, np.arange(16, dtype=np.int32) % 10)
    state = {
        f"{name}/{index}": array
        for name, group in get_state(program).items()
        for index, array in enumerate(group)
    }
    np.savez(
        out,
        reported=reported,
        samples=samples,
        devices=device.devices,
        compilations=program.compilations,
        **state,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
