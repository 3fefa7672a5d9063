"""Trains a small network on the devices that the environment says, for test_several_devices.py."""

import json
import sys
from pathlib import Path

from trainer.artifacts.objective import Artifacts, Objective
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.schema import parse
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext


def net(pixels):  # type: ignore[no-untyped-def]  # a symbolic tensor of whichever backend
    """Convolutions with batch normalisation, whose statistics are those of the whole batch on any
    number of devices."""
    import keras

    for index, filters in enumerate((6, 8)):
        pixels = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"conv{index}"
        )(pixels)
        pixels = keras.layers.BatchNormalization(name=f"norm{index}", momentum=0.8)(pixels)
        pixels = keras.layers.Activation("swish", name=f"swish{index}")(pixels)
    return pixels


def main(inputs: str, out: str, recipe: str, backend: str) -> None:
    """Train folds 0 and 1."""
    given = json.loads(inputs)
    task = given.pop("task", "multiclass")
    classes = given.pop("classes", [str(digit) for digit in range(10)])
    train_folds(
        parse(Member, json.loads(recipe), "recipe"),
        [0, 1],
        Artifacts(**given),
        Objective(task=task, classes=classes, metric="accuracy", seed=4),
        RunContext(
            out=Path(out),
            settings=Train(backend=backend),  # type: ignore[arg-type]
            compiled=Path(out).parent / "compiled",
            own_process=True,
        ),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
