"""Compare the same training on TensorFlow and on JAX.

JAX runs with one device, eight devices and two processes.
"""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.paths import ROOT
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import Artifacts

# The tests share two trainings: one process of xdist runs them all.
pytestmark = pytest.mark.xdist_group("several devices")

CLASSES = [str(digit) for digit in range(10)]
RECIPE: dict[str, Any] = {
    "name": "m",
    "backbone": "tests.support.train_on_devices:net",
    "epochs": 3,
    "batch_size": 16,
    "tta": 2,
    # The two backends draw different dropout masks.
    "head": {"pooling": "average", "dropout": 0.0},
    "optimizer": {"kind": "adamw", "learning_rate": 0.01, "clip_norm": 1.0, "average": 0.9},
    "schedule": {"warmup_epochs": 0.5},
    "augment": {"rotation": 20, "shift": 0.1, "brightness": 0.1, "cutmix": 0.5},
}


def start(
    inputs: Artifacts, out: Path, recipe: dict[str, Any], backend: str, **environment: str
) -> subprocess.Popen[str]:
    given = json.dumps({key: str(value) for key, value in dataclasses.asdict(inputs).items()})
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.train_on_devices",
            given,
            str(out),
            json.dumps(recipe),
            backend,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    try:
        said, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, said
    return said


def predictions(out: Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_parquet(out / name) for name in (tables.OOF, tables.TEST)}


def assert_agree(first: Path, second: Path) -> None:
    """Check that both have every row once, with equal probabilities up to the order of sums."""
    for expected, found in zip(
        predictions(first).values(), predictions(second).values(), strict=True
    ):
        keys = [column for column in expected.columns if column not in CLASSES]
        pd.testing.assert_frame_equal(found[keys], expected[keys])
        assert not found.duplicated(["id", "fold"]).any()
        np.testing.assert_allclose(found[CLASSES], expected[CLASSES], atol=2e-3)
        assert np.abs(found[CLASSES].to_numpy() - expected[CLASSES].to_numpy()).mean() < 2e-4
    losses = [pd.read_csv(out / tables.HISTORY)["loss"] for out in (first, second)]
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.fixture(scope="module")
def by_tensorflow(
    inputs: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Train the recipe on TensorFlow; return its folder and the recipe.

    All runs start with the same weights.
    """
    folder = tmp_path_factory.mktemp("tensorflow")
    first = {**RECIPE, "epochs": 1, "optimizer": {"learning_rate": 1e-8}, "schedule": {}}
    finished(start(inputs, folder / "weights", first, "tensorflow"))
    recipe = {**RECIPE, "weights": str(folder / "weights" / "fold{fold}.keras")}
    recipe["optimizer"] = {**RECIPE["optimizer"], "layer_decay": 0.9}
    # On a CPU, TensorFlow's images are augmented on the host, JAX's on the device. The two differ
    # only in rounding.
    said = finished(start(inputs, folder / "out", recipe, "tensorflow"))
    assert "TensorFlow" in said
    return folder / "out", recipe


@pytest.fixture(scope="module")
def by_jax(
    inputs: Artifacts,
    by_tensorflow: tuple[Path, dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("jax") / "out"
    said = finished(start(inputs, out, by_tensorflow[1], "jax"))
    assert "CPU (JAX" in said
    assert any((out.parent / "compiled").iterdir())
    return out


@pytest.mark.acceptance
def test_jax_learns_what_tensorflow_does(
    by_tensorflow: tuple[Path, dict[str, Any]], by_jax: Path
) -> None:
    first, second = predictions(by_tensorflow[0]), predictions(by_jax)
    for name in (tables.OOF, tables.TEST):
        assert first[name]["id"].tolist() == second[name]["id"].tolist()
        difference = np.abs(first[name][CLASSES].to_numpy() - second[name][CLASSES].to_numpy())
        # One path rounds the augmented images and the other does not.
        assert difference.mean() < 0.01
        assert difference.max() < 0.1


@pytest.mark.acceptance
def test_eight_devices_are_as_one(
    inputs: Artifacts, by_tensorflow: tuple[Path, dict[str, Any]], by_jax: Path, tmp_path: Path
) -> None:
    flags = "--xla_force_host_platform_device_count=8"
    said = finished(
        start(
            inputs, tmp_path / "out", by_tensorflow[1], "jax", XLA_FLAGS=flags, JAX_LOG_COMPILES="1"
        )
    )
    assert "8 × CPU" in said
    # Compiled once for all steps of both folds.
    assert said.count("Compiling jit(foldline_step)") == 1
    # 40 held-out and 30 test images: neither fills its last batch.
    assert_agree(by_jax, tmp_path / "out")


def pair(inputs: Artifacts, folder: Path, recipe: dict[str, Any]) -> list[subprocess.Popen[str]]:
    """Start two processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start(
            inputs,
            folder / f"out{number}",
            recipe,
            "jax",
            FOLDLINE_COORDINATOR=address,
            FOLDLINE_PROCESSES="2",
            FOLDLINE_PROCESS=str(number),
        )
        for number in range(2)
    ]


@pytest.mark.acceptance
def test_two_processes_are_as_one(
    inputs: Artifacts, by_tensorflow: tuple[Path, dict[str, Any]], by_jax: Path, tmp_path: Path
) -> None:
    said = [finished(process) for process in pair(inputs, tmp_path, by_tensorflow[1])]
    assert "process 1 of 2" in said[0]
    assert "process 2 of 2" in said[1]
    assert_agree(by_jax, tmp_path / "out0")
    # Only the first process writes.
    assert not (tmp_path / "out1").exists()
    read_manifest(tmp_path / "out0")


@pytest.mark.acceptance
def test_two_processes_go_on_together(
    inputs: Artifacts, by_tensorflow: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    # Long enough that no fold finishes before the processes are killed.
    recipe = {**by_tensorflow[1], "epochs": 8, "optimizer": {"learning_rate": 1e-4}}
    both = pair(inputs, tmp_path, recipe)
    kept = [tmp_path / f".out{number}.work" / f"process{number}" for number in range(2)]
    for _ in range(12_000):
        if all(list(folder.glob("0*.checkpoint")) for folder in kept):
            break
        time.sleep(0.01)
    for process in both:
        process.kill()
        process.communicate()
    # One process has one complete checkpoint more than the other, and half of a further one.
    numbers = [max(int(path.name[:8]) for path in folder.glob("0*.checkpoint")) for folder in kept]
    common = min(numbers)
    for folder in kept:
        (folder / f"{common + 1:08}.checkpoint").unlink(missing_ok=True)
    shutil.copy(kept[0] / f"{common:08}.checkpoint", kept[0] / f"{common + 1:08}.checkpoint")
    (kept[0] / f"{common + 2:08}.checkpoint").write_bytes(b"half of one")
    said = [finished(process) for process in pair(inputs, tmp_path, recipe)]
    places = [line for text in said for line in text.splitlines() if "resuming from epoch" in line]
    assert len(places) == 2
    assert len(set(places)) == 1
    finished(start(inputs, tmp_path / "alone", recipe, "jax"))
    assert_agree(tmp_path / "alone", tmp_path / "out0")


def test_a_batch_that_devices_cannot_share_is_named(inputs: Artifacts, tmp_path: Path) -> None:
    flags = "--xla_force_host_platform_device_count=8"
    process = start(inputs, tmp_path / "out", {**RECIPE, "batch_size": 12}, "jax", XLA_FLAGS=flags)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 1
    assert (
        "batch_size = 12 cannot be split evenly over 8 devices: use 8 or 16, or set per_device ="
        " true" in said
    )
