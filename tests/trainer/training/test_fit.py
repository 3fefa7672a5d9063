import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.artifacts import source_code, tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import Artifacts, Objective, fold_seed
from trainer.config.augment import Augment
from trainer.config.machine import Train
from trainer.config.member import Member, Optimizer, Schedule
from trainer.config.network import Cnn, Head, Loss
from trainer.config.preparation import NO_FOLD
from trainer.errors import TrainingError
from trainer.input.shards import load
from trainer.input.workers import Workers
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext
from trainer.training.jobs.keys import job_key
from trainer.training.predict import activation

CLASSES = [str(digit) for digit in range(10)]
MEMBER = Member(
    name="m",
    cnn=Cnn(filters=[8, 16], strides=[1, 2]),
    head=Head(pooling="flatten"),
    epochs=3,
    schedule=Schedule(warmup_epochs=0.5),
    batch_size=16,
    augment=Augment(rotation=5, shift=0.05),
)


GOAL = Objective(task="multiclass", classes=CLASSES, metric="accuracy", seed=4)


def trained(
    inputs: Artifacts, folds: list[int], out: Path, member: Member = MEMBER, **more: Any
) -> Path:
    train_folds(member, folds, inputs, GOAL, RunContext(out=out, **more))
    return out


@pytest.fixture(scope="module")
def whole(inputs: Artifacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(inputs, [0, 1, 2], tmp_path_factory.mktemp("whole"))


def test_each_labelled_image_is_predicted_once_by_a_model_that_did_not_see_it(
    whole: Path, inputs: Artifacts
) -> None:
    oof = pd.read_parquet(whole / tables.OOF)
    folds = tables.read_folds(inputs.folds_table)
    assert sorted(oof["id"]) == sorted(folds["id"])
    joined = oof.merge(folds, on="id")
    assert (joined["fold_x"] == joined["fold_y"]).all()
    examples = tables.read_examples(inputs.records).query("split == 'train'")
    assert (
        oof.merge(examples, on="id")["target_x"] == oof.merge(examples, on="id")["target_y"]
    ).all()
    np.testing.assert_allclose(oof[CLASSES].sum(axis=1), 1, atol=1e-5)


def test_each_test_image_is_predicted_once_by_each_model(whole: Path) -> None:
    test = pd.read_parquet(whole / tables.TEST)
    assert test.groupby("fold")["id"].nunique().to_dict() == {0: 30, 1: 30, 2: 30}
    assert len(test) == 90


def test_the_folder_is_whole_and_has_a_history(whole: Path) -> None:
    about = read_manifest(whole)
    assert (about["member"], about["folds"]) == ("m", [0, 1, 2])
    history = pd.read_csv(whole / tables.HISTORY)
    assert history.groupby("fold")["epoch"].apply(list).tolist() == [[1, 2, 3]] * 3
    assert {"loss", "val_loss", "val_accuracy", "learning_rate", "seconds"} <= set(history)
    assert (whole / "fold2.keras").is_file()


def test_a_fold_does_not_depend_on_what_else_its_task_trains(
    whole: Path, inputs: Artifacts, tmp_path: Path
) -> None:
    # In `whole`, fold 2 was trained in a network that two other folds had used before; here it is
    # trained alone.
    alone = trained(inputs, [2], tmp_path / "alone")
    for name in (tables.OOF, tables.TEST):
        expected = pd.read_parquet(whole / name).query("fold == 2").reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(alone / name), expected, check_exact=True)


def test_a_saved_model_predicts_what_the_table_says(whole: Path, inputs: Artifacts) -> None:
    import keras

    test = tables.read_examples(inputs.records).query("split == 'test'")
    images = load(inputs.records, test, read_manifest(inputs.records), size=8)
    pixels = Workers(1).decoded(images, np.arange(len(test))).astype(np.float32)
    logits = keras.models.load_model(whole / "fold1.keras").predict(pixels, verbose=0)
    again = activation("multiclass")(logits)
    expected = pd.read_parquet(whole / tables.TEST).query("fold == 1")[CLASSES].to_numpy()
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_nothing_of_the_held_out_fold_reaches_its_training(
    inputs: Artifacts, whole: Path, tmp_path: Path
) -> None:
    # Changing the label of every held-out image changes neither the model nor its predictions.
    table = tables.read_examples(inputs.records)
    folds = tables.read_folds(inputs.folds_table)
    held_out = set(folds["id"][folds["fold"] == 0])
    changed = tmp_path / "records"
    shutil.copytree(inputs.records, changed)
    mask = table["id"].isin(held_out) & (table["split"] == "train")
    table.loc[mask, "target"] = (table.loc[mask, "target"] + 1) % 10
    tables.write_parquet(changed / tables.EXAMPLES, table)
    from trainer.artifacts.manifest import MANIFEST, write_manifest

    about = json.loads((changed / MANIFEST).read_text())["about"]
    write_manifest(changed, about)
    other = trained(
        dataclasses.replace(inputs, records=changed, root=changed), [0], tmp_path / "out"
    )
    expected = pd.read_parquet(whole / tables.OOF).query("fold == 0").reset_index(drop=True)
    found = pd.read_parquet(other / tables.OOF)
    assert (found["target"] != expected["target"]).all()
    pd.testing.assert_frame_equal(
        found[["id", *CLASSES]], expected[["id", *CLASSES]], check_exact=True
    )


def test_a_batch_larger_than_a_fold_is_named(inputs: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="batch_size = 500 is larger than the 80 training images"
    ):
        trained(inputs, [0], tmp_path / "out", dataclasses.replace(MEMBER, batch_size=500))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_loss_that_is_not_finite_is_named(inputs: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match="member 'm', fold 1, epoch 1: the loss is (nan|inf): lower optimizer.learning_rate",
    ):
        wild = dataclasses.replace(
            MEMBER, optimizer=Optimizer(learning_rate=1e35), schedule=Schedule()
        )
        trained(inputs, [1], tmp_path / "out", wild)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_seeds_depend_on_all_three() -> None:
    seeds = {
        fold_seed(seed, member, fold)
        for seed in (0, 1)
        for member in ("a", "b")
        for fold in range(5)
    }
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)


def assert_same(first: Path, second: Path) -> None:
    for name in (tables.OOF, tables.TEST):
        pd.testing.assert_frame_equal(
            pd.read_parquet(first / name), pd.read_parquet(second / name), check_exact=True
        )
    columns = ["fold", "epoch", "loss", "val_loss", "val_accuracy", "learning_rate"]
    histories = [pd.read_csv(out / tables.HISTORY)[columns] for out in (first, second)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


class Stopped(Exception):
    """Simulates the end of the process."""


def interrupted(inputs: Artifacts, out: Path, work: Path, member: Member, after: int) -> None:
    """Train until `after` checkpoints are written, one after each step, and die."""
    left = after

    def die(path: Path) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Stopped(path)

    with pytest.raises(Stopped):
        trained(
            inputs,
            [0, 1],
            out,
            member,
            work=work,
            on_write=die,
            settings=Train(checkpoint_seconds=0),
        )


EVERYTHING = dataclasses.replace(
    MEMBER,
    weights="",
    epochs=4,
    validation="best",
    patience=2,
    head=Head(pooling="gem", dropout=0.3, samples=2),
    optimizer=Optimizer(kind="adamw", accumulate=2, average=0.9, clip_norm=1.0),
    schedule=Schedule(kind="plateau", patience=1),
    augment=Augment(rotation=10, cutmix=0.5, erase=0.5),
    tta=3,
)


@pytest.mark.parametrize("member", [MEMBER, EVERYTHING], ids=["plain", "everything"])
def test_a_stopped_job_resumes_to_the_same_bytes(
    inputs: Artifacts, tmp_path: Path, member: Member, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = trained(inputs, [0, 1], tmp_path / "whole", member)
    # Within an epoch, at its end, and in the second fold.
    for after in (3, 5, 4):
        interrupted(inputs, tmp_path / "out", tmp_path / "work", member, after)
    assert list((tmp_path / "work").glob("*.checkpoint"))
    capsys.readouterr()
    found = trained(inputs, [0, 1], tmp_path / "out", member, work=tmp_path / "work")
    # Twelve steps at five per epoch: none of them was lost.
    assert "fold 0: resuming from epoch 3, step 3" in capsys.readouterr().out
    assert_same(expected, found)
    assert not (tmp_path / "work").exists()


def test_a_damaged_checkpoint_costs_no_more_than_an_interval(
    inputs: Artifacts, tmp_path: Path, whole: Path
) -> None:
    interrupted(inputs, tmp_path / "out", tmp_path / "work", MEMBER, 7)
    newest = max((tmp_path / "work").glob("*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:-100])
    found = trained(inputs, [0, 1], tmp_path / "out", work=tmp_path / "work")
    expected = pd.read_parquet(whole / tables.OOF).query("fold < 2").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(found / tables.OOF), expected, check_exact=True)


def test_the_best_epoch_is_kept_and_said(inputs: Artifacts, tmp_path: Path) -> None:
    # The learning rate is so high that later epochs are worse than the first.
    member = dataclasses.replace(
        MEMBER,
        epochs=12,
        validation="best",
        monitor="loss",
        patience=3,
        optimizer=Optimizer(learning_rate=0.1),
    )
    out = trained(inputs, [0, 1], tmp_path / "out", member)
    history = pd.read_csv(out / tables.HISTORY)
    about = read_manifest(out)
    assert about["validation"] == "best"
    for fold, rows in history.groupby("fold"):
        best = int(rows["epoch"][rows["val_loss"].idxmin()])
        assert about["epochs"][str(fold)] == best
        assert len(rows) == min(12, best + 3)
        scored = pd.read_parquet(out / tables.OOF).query("fold == @fold")
        accuracy = (scored[CLASSES].to_numpy().argmax(axis=1) == scored["target"]).mean()
        assert accuracy == pytest.approx(rows["val_accuracy"][rows["epoch"] == best].item())


def test_a_final_model_trains_on_all_images(inputs: Artifacts, tmp_path: Path) -> None:
    member = dataclasses.replace(MEMBER, validation="none")
    out = trained(inputs, [NO_FOLD], tmp_path / "out", member)
    oof, test = (pd.read_parquet(out / name) for name in (tables.OOF, tables.TEST))
    assert len(oof) == 0
    assert oof.columns.tolist() == ["id", "target", "fold", *CLASSES]
    assert test["fold"].unique().tolist() == [NO_FOLD]
    assert (out / "all.keras").is_file()
    history = pd.read_csv(out / tables.HISTORY)
    assert "val_loss" not in history
    # 120 images in batches of 16 are seven steps, not the five of a fold.
    assert history["loss"].notna().all()


def test_views_of_a_prediction_are_averaged(inputs: Artifacts, tmp_path: Path, whole: Path) -> None:
    out = trained(inputs, [0], tmp_path / "out", dataclasses.replace(MEMBER, tta=4))
    plain = pd.read_parquet(whole / tables.TEST).query("fold == 0")[CLASSES].to_numpy()
    viewed = pd.read_parquet(out / tables.TEST)[CLASSES].to_numpy()
    np.testing.assert_allclose(viewed.sum(axis=1), 1, atol=1e-5)
    assert 1e-4 < np.abs(plain - viewed).mean() < 0.1
    # The model is the same, and so is its history: views affect predictions only.
    histories = [
        pd.read_csv(folder / tables.HISTORY).query("fold == 0")["val_loss"].tolist()
        for folder in (out, whole)
    ]
    assert histories[0] == histories[1]


def test_the_head_first_and_then_everything(inputs: Artifacts, tmp_path: Path, whole: Path) -> None:
    import keras

    start = str(whole / "fold{fold}.keras")
    member = dataclasses.replace(MEMBER, weights=start, head_epochs=2, epochs=1)
    given = keras.models.load_model(whole / "fold0.keras").get_layer("backbone").get_weights()
    out = trained(inputs, [0], tmp_path / "out", member)
    history = pd.read_csv(out / tables.HISTORY)
    assert history["learning_rate"].tolist()[:2] == [1e-3] * 2
    assert len(history) == 3
    moved = keras.models.load_model(out / "fold0.keras").get_layer("backbone").get_weights()
    assert all(not np.array_equal(a, b) for a, b in zip(given, moved, strict=True))
    # Stopped while only the head has trained: the backbone is unchanged.
    with pytest.raises(Stopped):
        interrupt = iter(range(3))

        def die(path: Path) -> None:
            if next(interrupt) == 2:
                raise Stopped

        trained(
            inputs,
            [0],
            tmp_path / "o",
            member,
            work=tmp_path / "w",
            on_write=die,
            settings=Train(checkpoint_seconds=0),
        )
    from trainer.training.jobs.checkpoint import Checkpoints

    kept = Checkpoints(tmp_path / "w").latest()
    assert kept is not None
    for weights in given:
        assert any(np.array_equal(weights, held) for held in kept.arrays["model"])
    assert_same(out, trained(inputs, [0], tmp_path / "o", member, work=tmp_path / "w"))


@pytest.mark.parametrize(
    "member",
    [
        dataclasses.replace(MEMBER, optimizer=Optimizer(kind="sgd", learning_rate=0.05)),
        dataclasses.replace(
            MEMBER, optimizer=Optimizer(kind="adam"), schedule=Schedule(kind="ramp", ramp_epochs=1)
        ),
        dataclasses.replace(
            MEMBER, loss=Loss(kind="focal", class_weights="balanced"), normalise="none"
        ),
        dataclasses.replace(
            MEMBER, augment=Augment(crop=6, mixup=0.5, off_last=2), tta=2, sampler="balanced"
        ),
        dataclasses.replace(MEMBER, precision="mixed_bfloat16"),
    ],
    ids=["sgd", "ramp", "focal", "crop", "bfloat16"],
)
def test_recipes_learn(inputs: Artifacts, tmp_path: Path, member: Member) -> None:
    import keras

    try:
        out = trained(inputs, [0], tmp_path / "out", dataclasses.replace(member, epochs=20))
    finally:
        keras.config.set_dtype_policy("float32")
    history = pd.read_csv(out / tables.HISTORY)
    assert history["loss"].iloc[-1] < 0.9 * history["loss"].iloc[0]
    assert history["val_accuracy"].max() > 0.3


def test_memory_that_runs_out_is_named(
    inputs: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from trainer.backends import tensorflow

    def refuse(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(tensorflow.TensorFlowProgram, "step", refuse)
    with pytest.raises(
        TrainingError, match="out of memory with 16 images of 8 pixels a batch: lower batch_size"
    ):
        trained(inputs, [0], tmp_path / "out")


def test_weights_that_are_not_there_are_named(inputs: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"weights = .*fold0\.keras': no such file"):
        trained(
            inputs,
            [0],
            tmp_path / "out",
            dataclasses.replace(MEMBER, weights=str(tmp_path / "fold{fold}.keras")),
        )


def test_the_key_of_a_task_knows_what_decides_its_results(inputs: Artifacts) -> None:
    keys = {
        job_key(MEMBER, [0], inputs, GOAL),
        job_key(MEMBER, [1], inputs, GOAL),
        job_key(dataclasses.replace(MEMBER, epochs=4), [0], inputs, GOAL),
        job_key(MEMBER, [0], inputs, dataclasses.replace(GOAL, seed=5)),
        job_key(MEMBER, [0], dataclasses.replace(inputs, folds_table=inputs.statistics), GOAL),
    }
    assert len(keys) == 5
    assert job_key(MEMBER, [0], inputs, GOAL) in keys


def test_weights_that_have_seen_the_held_out_images_are_refused(
    inputs: Artifacts, tmp_path: Path, whole: Path
) -> None:
    leaking = dataclasses.replace(MEMBER, weights=str(whole / "fold0.keras"))
    with pytest.raises(
        TrainingError,
        match=(
            r"fold 1: weights = .*were trained on image '\d+', which this fold holds out \(40 such"
        ),
    ):
        trained(inputs, [1], tmp_path / "out", leaking)
    # The model of the same fold was not trained on them.
    trained(
        inputs,
        [1],
        tmp_path / "out",
        dataclasses.replace(MEMBER, weights=str(whole / "fold{fold}.keras")),
    )


@pytest.mark.parametrize(
    ("changed", "is_another"),
    [
        ("trainer/models/losses.py", True),
        ("trainer/deep/deeper/kernel.py", True),
        ("trainer/gan/networks.py", False),
        ("trainer/gan/pictures.py", False),
        ("components/folds/near_duplicates.py", False),
    ],
)
def test_the_key_of_a_task_knows_the_code_that_it_reaches_and_no_other(
    inputs: Artifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
    is_another: bool,
) -> None:
    for package in source_code.PACKAGES:
        shutil.copytree(
            source_code.ROOT / package,
            tmp_path / package,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    deep = tmp_path / "trainer" / "deep" / "deeper"
    deep.mkdir(parents=True)
    (deep / "kernel.py").write_text("FACTOR = 1\n")
    with open(tmp_path / "trainer" / "models" / "losses.py", "a") as stream:
        stream.write(
            "\n\ndef _scaled():\n    from trainer.deep.deeper import kernel\n\n    return"
            " kernel.FACTOR\n"
        )
    monkeypatch.setattr(source_code, "ROOT", tmp_path)
    before = job_key(MEMBER, [0], inputs, GOAL)
    with open(tmp_path / changed, "a") as stream:
        stream.write("\nCHANGED = True\n")
    assert (job_key(MEMBER, [0], inputs, GOAL) != before) == is_another


def test_a_network_is_compiled_once_for_all_folds(
    inputs: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.backends.tensorflow import TensorFlowProgram

    programs = []
    made = TensorFlowProgram.__init__

    def noted(self: Any, *parts: Any) -> None:
        made(self, *parts)
        programs.append(self)

    monkeypatch.setattr(TensorFlowProgram, "__init__", noted)
    trained(inputs, [0, 1, 2], tmp_path / "out", dataclasses.replace(MEMBER, tta=2))
    (program,) = programs
    assert program.compilations == 1
    assert program._predict.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(9, marks=pytest.mark.acceptance),
        10,
        pytest.param(11, marks=pytest.mark.acceptance),
    ],
)
def test_a_job_that_is_stopped_between_the_head_and_everything_resumes(
    inputs: Artifacts, tmp_path: Path, whole: Path, after: int
) -> None:
    member = dataclasses.replace(
        MEMBER,
        weights=str(whole / "fold{fold}.keras"),
        head_epochs=2,
        epochs=2,
        validation="best",
        patience=1,
        optimizer=Optimizer(average=0.9, accumulate=2),
        schedule=Schedule(kind="plateau", patience=1),
    )
    expected = trained(inputs, [0, 1], tmp_path / "whole", member)
    interrupted(inputs, tmp_path / "out", tmp_path / "work", member, after)
    assert_same(expected, trained(inputs, [0, 1], tmp_path / "out", member, work=tmp_path / "work"))
    # Whatever the head's epochs scored, all layers are trained, starting at the full rate.
    history = pd.read_csv(expected / tables.HISTORY)
    assert history.groupby("fold")["epoch"].max().min() >= 3
    assert set(history["learning_rate"][history["epoch"] == 3]) == {3e-3}


def test_a_plateau_of_the_held_out_fold_is_for_those_who_say_so() -> None:
    from trainer.config.schema import parse
    from trainer.errors import CompetitionError

    with pytest.raises(CompetitionError, match="requires validation = 'best'"):
        parse(Member, {"name": "m", "epochs": 3, "schedule": {"kind": "plateau"}}, "member")


def test_weights_that_diverged_are_named_where_no_loss_showed_it(
    inputs: Artifacts, tmp_path: Path
) -> None:
    wild = dataclasses.replace(
        MEMBER,
        epochs=1,
        batch_size=80,
        schedule=Schedule(),
        optimizer=Optimizer(learning_rate=1e38),
    )
    with pytest.raises(TrainingError, match="predictions contain NaN or infinity"):
        trained(inputs, [0], tmp_path / "out", wild)


def test_an_update_that_never_comes_is_named(inputs: Artifacts, tmp_path: Path) -> None:
    member = dataclasses.replace(MEMBER, optimizer=Optimizer(accumulate=64))
    with pytest.raises(
        TrainingError, match="accumulate = 64 exceeds the 15 batches of the whole training"
    ):
        trained(inputs, [0], tmp_path / "out", member)


def test_what_the_weights_to_begin_with_had_seen_is_remembered(
    inputs: Artifacts, tmp_path: Path, whole: Path
) -> None:
    out = trained(
        inputs,
        [0],
        tmp_path / "out",
        dataclasses.replace(MEMBER, weights=str(whole / "fold{fold}.keras")),
    )
    before, after = (np.load(folder / "fold0.seen.npy") for folder in (whole, out))
    assert set(before) <= set(after)
    assert len(after) == 80


def test_a_checkpoint_of_other_devices_is_left(
    inputs: Artifacts, tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(inputs, tmp_path / "out", tmp_path / "work", MEMBER, 6)
    from trainer.training.jobs.checkpoint import Checkpoints

    kept = Checkpoints(tmp_path / "work")
    found = kept.latest()
    assert found is not None
    kept.save(found.arrays, {**found.state, "device": "8 × TPU v5e (JAX)"})
    trained(inputs, [0], tmp_path / "out", work=tmp_path / "work")
    told = "ignoring a checkpoint from another device (8 × TPU v5e (JAX)); training restarts"
    assert told in capsys.readouterr().out
    oof = pd.read_parquet(tmp_path / "out" / tables.OOF)
    expected = pd.read_parquet(whole / tables.OOF).query("fold == 0").reset_index(drop=True)
    pd.testing.assert_frame_equal(oof, expected, check_exact=True)


@pytest.mark.parametrize("average", [pytest.param(0.99, marks=pytest.mark.acceptance), 0.999])
def test_an_average_is_no_worse_than_the_last_weights(
    inputs: Artifacts, tmp_path: Path, average: float
) -> None:
    def accuracy(member: Member, name: str) -> float:
        oof = pd.read_parquet(trained(inputs, [0, 1, 2], tmp_path / name, member) / tables.OOF)
        return float((oof[CLASSES].to_numpy().argmax(axis=1) == oof["target"]).mean())

    last = dataclasses.replace(MEMBER, epochs=10, optimizer=Optimizer(learning_rate=0.01))
    averaged = dataclasses.replace(
        last, optimizer=dataclasses.replace(last.optimizer, average=average)
    )
    # Four standard errors of an accuracy of 0.9 over 120 images.
    assert accuracy(averaged, "averaged") > accuracy(last, "last") - 0.11
