"""Test the training of a GAN on small digits: its outputs, its resuming and its errors."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.support import gans
from tests.support.paths import ROOT
from tests.support.tiny import dealt, write_pixels
from trainer.artifacts import gan_files, records, tables
from trainer.artifacts.manifest import read_json, read_manifest
from trainer.artifacts.objective import Artifacts, GanArtifacts, Objective
from trainer.config.data import Data
from trainer.config.gan import HELD_OUT_FOLD, GanRecipe
from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.network import Cnn, Head
from trainer.config.preparation import Records
from trainer.config.schema import parse
from trainer.errors import Preempted, TrainingError
from trainer.gan import step as gan_step
from trainer.gan.fit import gan_key, train_gan
from trainer.gan.training import GanTraining
from trainer.training.fit import train_folds
from trainer.training.jobs.checkpoint import Checkpoints, single_process
from trainer.training.jobs.context import ActiveRun, RunContext

# The tests share a training: one process of xdist runs them all.
pytestmark = pytest.mark.xdist_group("gan training")


@pytest.fixture(scope="module", autouse=True)
def without_xla() -> Iterator[None]:
    """Compile the step as TensorFlow's graph, in a third of the time.

    test_step.py is about XLA, and whole runs use it.
    """
    define = gan_step.define
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            gan_step, "define", lambda *given: dataclasses.replace(define(*given), xla=False)
        )
        yield


CLASSES = [str(digit) for digit in range(10)]
RECIPE: dict[str, Any] = {**gans.SMALL, "samples": 40, "steps": 20, "evaluate_every": 8}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifacts, Path]:
    """Return records of 300 digits enlarged to 32 pixels in 3 folds, and a judge.

    The judge was not trained on the first fold.
    """
    from components.records.convert import convert
    from components.records.merge import join

    folder = tmp_path_factory.mktemp("gan")
    images, labels = gans.enlarged(300)
    write_pixels(folder / "train.csv", images[:, ::4, ::4], labels)
    data, stored = (
        Data(source="pixels", train=str(folder / "train.csv"), target="label"),
        Records(sizes=[32]),
    )
    convert(data, stored, classes=CLASSES, part=0, out=folder / "part")
    join([folder / "part"], data, stored, classes=CLASSES, out=folder / "records")
    inputs = dealt(folder / "records", folder, classes=CLASSES)
    judge = Member(
        name="judge",
        size=32,
        epochs=6,
        batch_size=16,
        cnn=Cnn(filters=[8, 16], strides=[2, 2]),
        head=Head(pooling="flatten", hidden=[16], dropout=0.0),
    )
    goal = Objective(task="multiclass", classes=CLASSES, metric="accuracy", seed=1)
    train_folds(judge, [HELD_OUT_FOLD], inputs, goal, RunContext(out=folder / "judge"))
    return inputs, folder / "judge"


def artifacts(given: tuple[Artifacts, Path]) -> GanArtifacts:
    inputs, judge = given
    return GanArtifacts(inputs.records, inputs.root, inputs.folds_table, judge)


def recipe(**changed: Any) -> GanRecipe:
    return parse(GanRecipe, {**RECIPE, **changed}, "gan")


def never() -> bool:
    return False


def training(
    given: tuple[Artifacts, Path],
    out: Path,
    gan: GanRecipe,
    *,
    stopping: Callable[[], bool] = never,
    seconds: float = 300,
) -> GanTraining:
    active = ActiveRun(
        RunContext(out=out, settings=Train(checkpoint_seconds=seconds)),
        gans.device("tensorflow"),
        Checkpoints(out.with_name("work")),
        stopping,
        single_process,
    )
    return GanTraining(gan, artifacts(given), CLASSES, 3, active)


@pytest.fixture(scope="module")
def finished(given: tuple[Artifacts, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that an uninterrupted training writes."""
    out = tmp_path_factory.mktemp("finished") / "out"
    training(given, out, recipe()).run()
    return out


def test_what_a_training_leaves(finished: Path) -> None:
    assert read_manifest(finished)["classes"] == CLASSES
    found = read_json(finished / "evaluation.json")
    assert found["compilations"] == 1
    assert (found["steps"], found["features"], found["measure"]) == (
        20,
        "the judge",
        "Fréchet distance",
    )
    # The same number of samples and of real images, drawn from all that were held out.
    assert found["samples"]["images"] == found["real"]["images"] == 40
    assert len(found["class_accuracy"]) == 10
    # A generator that has learnt nothing is far from real images, which are close to each other.
    assert found["samples"]["frechet"] > 3 * found["real"]["frechet"]
    assert found["real"]["diversity"] == pytest.approx(1, abs=0.35)
    history = pd.read_csv(finished / tables.HISTORY)
    assert history["step"].tolist() == [8, 16, 20]
    assert {
        "discriminator_loss",
        "generator_loss",
        "frechet",
        "precision",
        "recall",
        "diversity",
    } <= set(history.columns)
    for name, size in (
        ("grid.png", (640, 256)),
        ("interpolation.png", (640, 320)),
        ("nearest.png", (1024, 128)),
    ):
        with Image.open(finished / name) as image:
            assert image.size == size, name
    with Image.open(finished / "training.gif") as image:
        assert image.n_frames == 3
    assert sorted(path.name for path in (finished / "grids").iterdir()) == [
        f"step{step:08d}.png" for step in (8, 16, 20)
    ]


def test_samples_are_records_of_all_classes(finished: Path) -> None:
    (shard,) = (finished / "samples").iterdir()
    assert shard.name == "samples00-40.tfrec"
    features = [records.decode_example(payload) for payload in records.read_shard(shard)]
    assert np.bincount([int(one["target"]) for one in features]).tolist() == [4] * 10
    assert len({one["image_name"] for one in features}) == 40
    with Image.open(io.BytesIO(features[0]["image"])) as image:  # type: ignore[arg-type]
        assert (image.size, image.mode) == ((32, 32), "L")


def test_the_model_that_is_left_makes_the_samples(finished: Path) -> None:
    """The generator's file alone suffices, with latent vectors from a seed."""
    generator = keras.models.load_model(finished / "generator.keras", compile=False)
    latent = np.random.default_rng(0).standard_normal((4, 8), np.float32)
    images = np.asarray(generator([latent, np.arange(4, dtype=np.int32)]))
    assert images.shape == (4, 32, 32, 1)
    assert np.abs(images).max() <= 1


def assert_equal(first: Path, second: Path) -> None:
    """Check that all files are equal, except for timestamps and measured times."""
    models = [
        keras.models.load_model(folder / "generator.keras", compile=False).get_weights()
        for folder in (first, second)
    ]
    assert all(np.array_equal(*both) for both in zip(*models, strict=True))
    histories = [
        pd.read_csv(folder / tables.HISTORY).drop(columns="seconds") for folder in (first, second)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    names = [
        {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    assert names[0] == names[1]
    for name in names[0] - {Path("generator.keras"), Path(tables.HISTORY), Path("manifest.json")}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.acceptance
def test_a_training_that_was_stopped_and_died_ends_with_the_same_bits(
    given: tuple[Artifacts, Path], finished: Path, tmp_path: Path
) -> None:
    """The training is asked to stop; then its machine disappears while it works.

    The newest checkpoint is damaged as well.
    """

    class GoneError(Exception):
        pass

    out = tmp_path / "out"
    asked = iter(range(100))
    with pytest.raises(Preempted, match="step 4: received SIGTERM; a checkpoint is written"):
        training(given, out, recipe(), stopping=lambda: next(asked) == 3).run()
    assert not (out / "manifest.json").exists()
    calls = iter(range(100))

    def gone() -> bool:
        if next(calls) == 9:
            raise GoneError
        return False

    with pytest.raises(GoneError):
        training(given, out, recipe(), stopping=gone, seconds=0).run()
    older, newest = sorted((tmp_path / "work").glob("*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:-100])
    assert older.exists()
    training(given, out, recipe()).run()
    assert_equal(finished, out)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(19, id="at the last step"),
        pytest.param(20, id="while it looks for copies", marks=pytest.mark.acceptance),
    ],
)
def test_a_training_that_is_asked_to_end_when_all_steps_are_done(
    given: tuple[Artifacts, Path], finished: Path, tmp_path: Path, call: int
) -> None:
    """The training resumes from there.

    It reports one compilation of its step, although the step is not called again.
    """
    asked = iter(range(100))
    with pytest.raises(Preempted, match="step 20: received SIGTERM; a checkpoint is written"):
        training(given, tmp_path / "out", recipe(), stopping=lambda: next(asked) == call).run()
    again = training(given, tmp_path / "out", recipe())
    again.program.step = None  # type: ignore[method-assign, assignment]
    again.run()
    assert_equal(finished, tmp_path / "out")


def test_the_real_images_on_both_sides_are_of_the_same_classes_and_none_of_both(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    """Also if a class is rare among the held-out images or among the training images."""
    made = training(given, tmp_path / "out", recipe(samples=60))
    rows = np.arange(300)
    targets = np.where(rows % 20 == 0, 1, 0)
    held = rows[rows % 3 == 0]
    held = held[~((targets[held] == 1) & (held > 60))]
    made.evaluation.classes = ["common", "rare"]
    made.evaluation.look_at(made.images, targets, np.setdiff1d(rows, held), held, made.workers)
    real = made.evaluation.real
    assert np.bincount(real.held_labels).tolist() == np.bincount(real.trained_labels).tolist()
    assert len(real.held_labels) == 60
    # Nine rare images are held out, and six train.
    made.evaluation.gan = dataclasses.replace(made.recipe, samples=300)
    held, rows = rows[~((targets == 1) & (rows > 160))], rows[(targets == 0) | (rows > 160)]
    made.evaluation.look_at(made.images, targets, rows, held, made.workers)
    real = made.evaluation.real
    assert np.bincount(real.held_labels)[1] == np.bincount(real.trained_labels)[1] == 6
    made.close()


def test_a_copy_of_any_image_that_trained_is_found(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    made = training(given, tmp_path / "out", recipe())
    copied = made.workers.decoded(made.images, made.rows[[0, 77, 199]])
    images = np.concatenate([copied, copied[:1], *[copied[:1]] * 36])
    judged = made.evaluation.judged(lambda latent, labels: images[: len(latent)], stream=1)
    shown, nearest = made.evaluation.nearest(
        judged, made.images, made.rows, made.workers, waiting=lambda: None
    )
    np.testing.assert_array_equal(shown, nearest)
    made.close()


def test_a_loss_that_is_no_number_stops_it_by_name(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    gan = recipe(
        discriminator_rate=1.0,
        generator_rate=1.0,
        loss="hinge",
        momentum=0.0,
        steps=60,
        evaluate_every=60,
    )
    with pytest.raises(
        TrainingError,
        match=r"divergence: by step \d+ a loss is not finite .*: lower gan\.discriminator_rate",
    ):
        broken = training(given, tmp_path / "out", gan)
        # Simulate a step that overflows: Adam's own bound keeps small networks finite for long.
        step = broken.program.step
        broken.program.step = lambda arrays: np.asarray(step(arrays)) * np.inf  # type: ignore
        broken.run()


def test_a_generator_that_makes_one_image_is_reported(
    given: tuple[Artifacts, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # All held-out images: at least four of each class.
    one = training(given, tmp_path / "out", recipe(samples=100))
    images, _ = gans.enlarged(16)
    same = images[:1].astype(np.float32) / 127.5 - 1
    one.program.predict = lambda arrays: same.repeat(len(arrays["latent"]), axis=0)  # type: ignore
    one.run()
    said = read_json(tmp_path / "out" / "evaluation.json")["verdicts"]["20"]
    assert said[0].startswith(
        "mode collapse: samples of every class differ from each other by less than"
    )
    assert said[1].startswith("classes missing")
    # Collapse lasts over three evaluations and is reported once.
    assert capsys.readouterr().out.count("warning: mode collapse") == 1


def test_without_classes_the_judge_says_what_samples_are(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    training(given, tmp_path / "out", recipe(conditional=False, flip=True)).run()
    found = read_json(tmp_path / "out" / "evaluation.json")
    assert found["class_accuracy"] is None
    (shard,) = (tmp_path / "out" / "samples").iterdir()
    assert all(
        "target" not in records.decode_example(payload) for payload in records.read_shard(shard)
    )
    assert "class_accuracy" not in pd.read_csv(tmp_path / "out" / tables.HISTORY).columns


def test_too_few_images_to_judge_by_are_named(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    inputs, judge = given
    folds = tables.read_folds(inputs.folds_table)
    folds.loc[folds["fold"] == HELD_OUT_FOLD, "fold"] = np.where(
        np.arange((folds["fold"] == HELD_OUT_FOLD).sum()) < 15, 0, -1
    )
    tables.write_csv(tmp_path / "folds.csv", folds)
    few = dataclasses.replace(inputs, folds_table=tmp_path / "folds.csv")
    with pytest.raises(TrainingError, match="15 images are held out and 200 train: too few"):
        training((few, judge), tmp_path / "out", recipe())


def test_a_name_of_checkpoints_depends_on_all_that_decides(given: tuple[Artifacts, Path]) -> None:
    files = artifacts(given)
    first = gan_key(recipe(), files, CLASSES, 3)
    assert gan_key(recipe(), files, CLASSES, 3) == first
    others = [
        gan_key(recipe(width=8), files, CLASSES, 3),
        gan_key(recipe(), files, CLASSES, 4),
        gan_key(recipe(), files, CLASSES[::-1], 3),
        gan_key(recipe(), files, CLASSES, 3, weights_digest="other"),
    ]
    assert len({first, *others}) == 5


def test_the_way_in_keeps_and_removes_its_checkpoints(
    given: tuple[Artifacts, Path], finished: Path, tmp_path: Path
) -> None:
    mirrored: list[str] = []
    train_gan(
        recipe(),
        artifacts(given),
        CLASSES,
        3,
        RunContext(
            out=tmp_path / "out",
            work=tmp_path / "kept",
            on_write=lambda path: mirrored.append(path.relative_to(tmp_path / "kept").as_posix()),
        ),
    )
    assert not (tmp_path / "kept").exists()
    # A checkpoint is written after the last step, because the remaining work may take long.
    assert mirrored == [
        *(f"grids/step{step:08d}.png" for step in (8, 16, 20)),
        "00000000.checkpoint",
    ]
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert told["samples"] == pytest.approx(
        read_json(finished / "evaluation.json")["samples"], rel=0.2
    )
    assert gan_files.SAMPLES in {path.name for path in (tmp_path / "out").iterdir()}


def on_jax(
    given: tuple[Artifacts, Path], out: Path, gan: GanRecipe, *, devices: int, stop: int = 0
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    named = json.dumps(dataclasses.asdict(artifacts(given)), default=str)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.train_gan",
            named,
            json.dumps(dataclasses.asdict(gan)),
            str(out),
            str(stop),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.mark.acceptance
def test_on_several_devices_it_is_trained_judged_stopped_and_resumed(
    given: tuple[Artifacts, Path], tmp_path: Path
) -> None:
    """Neither the samples nor an evaluation's last batch divide evenly by four devices.

    An interrupted run repeats an uninterrupted one.
    """
    gan = recipe(steps_per_execution=4, samples=42)
    whole = on_jax(given, tmp_path / "whole", gan, devices=4)
    assert whole.returncode == 0, whole.stderr[-3000:]
    assert "4 × CPU" in read_json(tmp_path / "whole" / "evaluation.json")["device"]
    stopped = on_jax(given, tmp_path / "out", gan, devices=4, stop=8)
    assert stopped.returncode == 1
    assert "step 8: received SIGTERM; a checkpoint is written" in stopped.stderr
    again = on_jax(given, tmp_path / "out", gan, devices=4)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "resuming from step 8 of 20" in again.stdout
    assert_equal(tmp_path / "whole", tmp_path / "out")
    assert read_json(tmp_path / "out" / "evaluation.json")["compilations"] == 1
