"""Trains a GAN on the devices that the environment says, for test_adversarial.py."""

import json
import os
import signal
import sys
from pathlib import Path

from trainer.artifacts.objective import GanArtifacts
from trainer.config.gan import GanRecipe
from trainer.config.machine import Train
from trainer.config.schema import parse
from trainer.gan.fit import train_gan
from trainer.training.jobs.context import RunContext


def main(artifacts: str, recipe: str, out: str, stop: str) -> None:
    """To the end, or until SIGTERM comes after so many evaluations; 0 for none."""

    def on_write(path: Path) -> None:
        if stop != "0" and path.name == f"step{int(stop):08d}.png":
            os.kill(os.getpid(), signal.SIGTERM)

    train_gan(
        parse(GanRecipe, json.loads(recipe), "gan"),
        GanArtifacts(**json.loads(artifacts)),
        [str(digit) for digit in range(10)],
        3,
        RunContext(
            out=Path(out),
            settings=Train(backend="jax"),
            compiled=Path(out).parent / "compiled",
            on_write=on_write,
            own_process=True,
        ),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
