"""The GAN's pipeline: run, run again, changed, killed, with CIFAR-10's files, and the digits' own
file unchanged."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.competitions import digits
from tests.e2e.test_competitions import FILES, toml
from tests.e2e.test_sources import picture
from tests.support.paths import ROOT
from tests.support.tiny import write_gan
from trainer.artifacts.manifest import read_json


def start(file: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli.main", "run", str(file), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def run(file: Path, out: Path) -> str:
    process = start(file, out)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def test_what_a_run_leaves(finished_gan: Path) -> None:
    said = (finished_gan.parent / "said.txt").read_text()
    for name in (
        "gan.html",
        "grid.png",
        "interpolation.png",
        "nearest.png",
        "training.gif",
        "generator.keras",
        "gan.yaml",
    ):
        assert (finished_gan / name).is_file(), name
        assert f"{name}\n" in said
    assert len(list((finished_gan / "grids").iterdir())) == 2
    assert [path.name for path in (finished_gan / "samples").iterdir()] == ["samples00-40.tfrec"]
    assert "Fréchet distance" in said
    assert (
        "40 images of each kind, compared in the features of the judge; class accuracy over 40"
        " samples" in said
    )
    metrics = read_json(finished_gan / "metrics.json")
    assert metrics["compilations"] == 1
    assert "differs from train" not in said
    assert "like train" not in said


def wait_for(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 600
    while not list(path.glob(pattern)):
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < until, pattern
        time.sleep(0.02)


@pytest.mark.acceptance
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path, finished_gan: Path) -> None:
    """The launcher is killed in the middle of the training, which ends with it; the same command
    goes on, and again."""
    file, out = write_gan(tmp_path / "data"), tmp_path / "out"
    # What decides no result: how often it writes down where it is.
    file.write_text(file.read_text() + "\n[train]\ncheckpoint_seconds = 0\n")
    process = start(file, out)
    wait_for(out / "pipeline_root" / "work", "*/grids/step00000024.png", process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 120
    while (busy := running(out)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not busy
    run(file, out)
    assert "resuming from step" in (out / "pipeline_root" / "run.log").read_text()
    models = [
        keras.models.load_model(folder / "generator.keras", compile=False).get_weights()
        for folder in (finished_gan, out)
    ]
    assert all(np.array_equal(*both) for both in zip(*models, strict=True))
    for name in (
        "grid.png",
        "interpolation.png",
        "nearest.png",
        "training.gif",
        "metrics.json",
        "samples/samples00-40.tfrec",
    ):
        assert (finished_gan / name).read_bytes() == (out / name).read_bytes(), name
    histories = [
        pd.read_csv(folder / "history.csv").drop(columns="seconds")
        for folder in (finished_gan, out)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    # Only what depends on a change runs again; the check is done each time, and a price changes
    # nothing.
    file.write_text(file.read_text() + "hourly_price = 3\n")
    assert run(file, out).count("reused") == 8
    file.write_text(file.read_text().replace("latent = 8", "latent = 9"))
    said = run(file, out)
    assert "train       reused" in said
    assert "train-gan   done" in said
    assert keras.models.load_model(out / "generator.keras", compile=False).input_shape == [
        (None, 9),
        (None,),
    ]


def running(out: Path) -> list[int]:
    """Processes of a run that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (
                    str(out).encode() in (entry / "environ").read_bytes()
                    and b"python" in (entry / "cmdline").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has just ended, or is the kernel's
    return found


@pytest.mark.acceptance
def test_cifar_s_file_with_files_of_that_format(tmp_path: Path) -> None:
    """pipelines/competitions/cifar10_gan.toml with smaller networks and few steps; the rest as it
    stands."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(2):
        images = np.stack(
            [picture(60 * number + image, 32).transpose(2, 0, 1).ravel() for image in range(60)]
        )
        labels = [image % 10 for image in range(60)]
        (data / f"data_batch_{number + 1}").write_bytes(
            pickle.dumps({b"data": images, b"labels": labels})
        )
    (data / "test_batch").write_bytes(pickle.dumps({b"data": images[:10], b"labels": labels[:10]}))
    table = tomllib.loads((FILES / "cifar10_gan.toml").read_text())
    table["data"]["root"] = str(data)
    table["folds"]["count"] = 3
    table["judge"] |= {"epochs": 1, "batch_size": 8, "schedule": {}}
    table["judge"]["cnn"]["filters"] = [4, 8, 8, 8, 8]
    table["gan"] |= {
        "steps": 8,
        "batch_size": 8,
        "width": 4,
        "steps_per_execution": 4,
        "evaluate_every": 4,
        "samples": 40,
    }
    file = tmp_path / "cifar10_gan.toml"
    file.write_text("".join(f"{key} = {toml(value)}\n" for key, value in table.items()))
    run(file, tmp_path / "out")
    with Image.open(tmp_path / "out" / "grid.png") as image:
        assert (image.mode, image.size) == ("RGB", (640, 256))
    assert read_json(tmp_path / "out" / "metrics.json")["class_accuracy"] is not None


@pytest.mark.acceptance(first=True)
def test_the_digits_file_makes_digits_of_every_class(tmp_path: Path) -> None:
    """pipelines/competitions/digits_gan.toml, by the classifier that it trains.

    With two fifths of its steps; benchmarks/results.md has the figures of all.
    """
    digits.main(tmp_path / "data")
    text = (FILES / "digits_gan.toml").read_text()
    assert 'root = "../../data/digits"' in text
    file = tmp_path / "digits_gan.toml"
    assert "\nsteps = 1250\n" in text
    text = text.replace("\nsteps = 1250\n", "\nsteps = 500\n")
    file.write_text(text.replace('root = "../../data/digits"', 'root = "data"'))
    run(file, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["judge_accuracy"] >= 0.98
    assert found["samples"]["class_accuracy"] >= 0.75
    assert min(found["class_accuracy"]) >= 0.5
    assert found["samples"]["diversity"] > 0.7
    assert found["samples"]["recall"] > 0.1
    assert found["compilations"] == 1
    assert found["verdicts"].get(str(found["steps"])) is None
