"""Trains a small pair on the devices that the environment says, for test_pair.py."""

import json
import sys

import numpy as np

from tests.support import gans
from trainer.backends import devices
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.gan import state as pair


def main(recipe: str, together: str, first: str, out: str) -> None:
    """Begin with the state in `first`, and write the state at the end, what the steps told, and
    samples."""
    device = devices.prepare("jax")
    gan = parse(GanRecipe, json.loads(recipe), "gan")
    made = pair.make(device, gans.networks(gan))
    with np.load(first) as held:
        groups = {
            name: [held[f"{name}/{index}"] for index in range(len(group))]
            for name, group in made.networks.groups().items()
        }
    pair.restore(made, groups)
    told = gans.trained(made, gan, together=int(together))
    latent = np.random.default_rng(1).standard_normal((16, gan.latent), np.float32)
    samples = made.sample(latent, np.arange(16, dtype=np.int32) % 10)
    state = {
        f"{name}/{index}": array
        for name, group in pair.state(made).items()
        for index, array in enumerate(group)
    }
    np.savez(
        out,
        told=told,
        samples=samples,
        devices=device.devices,
        compilations=made.compilations,
        **state,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
