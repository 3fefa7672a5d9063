"""A training task that is killed again and again, by the component's own function in processes of
its own."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.paths import ROOT
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import Artifacts
from trainer.config.augment import Augment
from trainer.config.machine import Train
from trainer.config.member import Member, Optimizer, Schedule
from trainer.config.network import Cnn, Head
from trainer.events import RESTART

pytestmark = pytest.mark.acceptance

CLASSES = [str(digit) for digit in range(10)]
START = """
import json, sys
from trainer.events import step_scope
with step_scope("train"):
    from components.training.run_job import run_job
    from trainer.artifacts.objective import Objective
    given = json.loads(sys.argv[1])
    goal = Objective("multiclass", given.pop("classes"), "accuracy", seed=4)
    run_job(given.pop("job"), goal, **given)
"""
SMALL = Member(
    name="m",
    size=8,
    cnn=Cnn(filters=[64, 96, 96], strides=[1, 1, 2]),
    head=Head(dropout=0.3),
    epochs=60,
    batch_size=16,
    optimizer=Optimizer(average=0.9),
    schedule=Schedule(warmup_epochs=1),
    augment=Augment(rotation=10, cutmix=0.5),
)
# Depthwise convolutions and batch normalisation: what a CPU might add up in another order.
DEPTHWISE = Member(
    name="m",
    size=8,
    backbone="mine:net",
    epochs=4,
    batch_size=16,
    optimizer=Optimizer(average=0.9),
    augment=Augment(rotation=10),
)
NET = """
import keras
def net(pixels):
    features = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(pixels)
    for _ in range(2):
        features = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization()(features)
        features = keras.layers.ReLU(6)(features)
        features = keras.layers.Conv2D(32, 1, use_bias=False)(features)
    return features
"""


class Killed:
    """Starts the task in a folder, with a checkpoint at least every half second."""

    def __init__(self, inputs: Artifacts, folder: Path, member: Member, folds: list[int]) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / "mine.py").write_text(NET)
        settings = Train(checkpoint_seconds=0.5)
        self.given: dict[str, Any] = {
            "job": {
                "member": asdict(member),
                "folds": folds,
                "settings": asdict(settings),
                "weights_digest": "",
            },
            "images": str(inputs.records),
            "folds": str(inputs.folds_table),
            "statistics": str(inputs.statistics),
            "classes": CLASSES,
        }

    def start(self, out: str) -> subprocess.Popen[str]:
        given = json.dumps({**self.given, "out": str(self.folder / out)})
        environment = {
            **os.environ,
            "FOLDLINE_WORK": str(self.folder / f"{out}-work"),
            "FOLDLINE_THREADS": "2",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
        }
        return subprocess.Popen(
            [sys.executable, "-c", START, given],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def finish(self, out: str) -> tuple[Path, str]:
        process = self.start(out)
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
        read_manifest(self.folder / out)
        return self.folder / out, said

    def checkpoints(self, out: str) -> set[Path]:
        return set((self.folder / f"{out}-work").glob("*/*.checkpoint"))

    def wait_for_a_new_checkpoint(self, out: str, process: subprocess.Popen[str]) -> None:
        before, until = self.checkpoints(out), time.monotonic() + 300
        while not self.checkpoints(out) - before:
            assert process.poll() is None, "it ended before a checkpoint: give it more to do"
            assert time.monotonic() < until, "it writes no checkpoint"
            time.sleep(0.01)


def assert_same(first: Path, second: Path) -> None:
    for name in (tables.OOF, tables.TEST):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    losses = [
        pd.read_csv(out / tables.HISTORY)[["fold", "epoch", "loss", "val_loss"]]
        for out in (first, second)
    ]
    pd.testing.assert_frame_equal(*losses, check_exact=True)


def test_killed_at_random_moments(inputs: Artifacts, tmp_path: Path) -> None:
    task = Killed(inputs, tmp_path, SMALL, [0, 1])
    task.given["job"]["settings"]["checkpoint_seconds"] = 0.05
    expected, _ = task.finish("whole")
    moments = random.Random(3)
    for attempt in range(4):
        process = task.start("out")
        assert process.stdout is not None
        while "labelled and" not in (line := process.stdout.readline()):
            assert line, process.wait()
        if attempt % 3 == 0:
            # Its data is read: while it compiles, or at a step.
            time.sleep(moments.uniform(0, 1))
        else:
            # However long this machine compiles: between two checkpoints of this very process, or
            # while it writes one.
            task.wait_for_a_new_checkpoint("out", process)
            time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended by itself: give it more to do"
    found, said = task.finish("out")
    assert "resuming from epoch" in said
    assert_same(expected, found)


def test_a_preempted_job_asks_to_be_started_again(inputs: Artifacts, tmp_path: Path) -> None:
    task = Killed(inputs, tmp_path, DEPTHWISE, [0])
    expected, _ = task.finish("whole")
    process = task.start("out")
    task.wait_for_a_new_checkpoint("out", process)
    process.terminate()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == RESTART == 75, said
    assert "received SIGTERM; a checkpoint is written: start it again to resume" in said
    found, said = task.finish("out")
    assert "resuming from epoch" in said
    assert_same(expected, found)


@pytest.mark.parametrize("left", [1, 2])
def test_checkpoints_outlive_the_machine(
    inputs: Artifacts, tmp_path: Path, bucket: str, left: int
) -> None:
    task = Killed(inputs, tmp_path, SMALL, [0])
    task.given["job"]["settings"]["checkpoints"] = f"{bucket}/kept"
    process = task.start("out")
    from components.storage import objects

    for _ in range(1200):
        if len(objects.listing(f"{bucket}/kept/")) >= left:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    # The machine is gone, and its disk with it.
    import shutil

    shutil.rmtree(tmp_path / "out-work")
    _, said = task.finish("out")
    assert "resuming from epoch" in said
    assert objects.listing(f"{bucket}/kept/") == []
