import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer import tables
from trainer.errors import TrainingError
from trainer.fit import train_folds
from trainer.goal import Goal, Inputs, fold_seed
from trainer.manifest import read_manifest
from trainer.recipe import Augment, Cnn, Head, Member, Optimizer, Schedule

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


GOAL = Goal(task="multiclass", classes=CLASSES, metric="accuracy", seed=4)


def trained(inputs: Inputs, folds: list[int], out: Path, member: Member = MEMBER, **more: Any) -> Path:
    train_folds(member, folds, inputs, GOAL, out=out, **more)
    return out


@pytest.fixture(scope="module")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(inputs, [0, 1, 2], tmp_path_factory.mktemp("whole"))


def test_each_labelled_image_is_predicted_once_by_a_model_that_did_not_see_it(whole: Path, inputs: Inputs) -> None:
    oof = pd.read_parquet(whole / tables.OOF)
    folds = tables.read_folds(inputs.folds_table)
    assert sorted(oof["id"]) == sorted(folds["id"])
    joined = oof.merge(folds, on="id")
    assert (joined["fold_x"] == joined["fold_y"]).all()
    examples = tables.read_examples(inputs.records).query("split == 'train'")
    assert (oof.merge(examples, on="id")["target_x"] == oof.merge(examples, on="id")["target_y"]).all()
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


def test_a_fold_does_not_depend_on_what_else_its_task_trains(whole: Path, inputs: Inputs, tmp_path: Path) -> None:
    # In `whole` fold 2 moved into a model that two other folds had been trained in; here it is alone.
    alone = trained(inputs, [2], tmp_path / "alone")
    for name in (tables.OOF, tables.TEST):
        expected = pd.read_parquet(whole / name).query("fold == 2").reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(alone / name), expected, check_exact=True)


def test_a_saved_model_predicts_what_the_table_says(whole: Path, inputs: Inputs) -> None:
    import keras

    from trainer import dataset, predict

    test = tables.read_examples(inputs.records).query("split == 'test'")
    images = dataset.load(inputs.records, test, read_manifest(inputs.records), size=8)
    pixels = dataset.Workers(1).decoded(images, np.arange(len(test))).astype(np.float32)
    logits = keras.models.load_model(whole / "fold1.keras").predict(pixels, verbose=0)
    again = predict.squashing("multiclass")(logits)
    expected = pd.read_parquet(whole / tables.TEST).query("fold == 1")[CLASSES].to_numpy()
    np.testing.assert_allclose(again, expected, atol=1e-6)


def test_nothing_of_the_held_out_fold_reaches_its_training(inputs: Inputs, whole: Path, tmp_path: Path) -> None:
    # Another label on every held-out image changes neither the model nor its predictions.
    table = tables.read_examples(inputs.records)
    folds = tables.read_folds(inputs.folds_table)
    held_out = set(folds["id"][folds["fold"] == 0])
    changed = tmp_path / "records"
    shutil.copytree(inputs.records, changed)
    mask = table["id"].isin(held_out) & (table["split"] == "train")
    table.loc[mask, "target"] = (table.loc[mask, "target"] + 1) % 10
    tables.write_parquet(changed / tables.EXAMPLES, table)
    from trainer.manifest import MANIFEST, write_manifest

    about = json.loads((changed / MANIFEST).read_text())["about"]
    write_manifest(changed, about)
    other = trained(dataclasses.replace(inputs, records=changed, root=changed), [0], tmp_path / "out")
    expected = pd.read_parquet(whole / tables.OOF).query("fold == 0").reset_index(drop=True)
    found = pd.read_parquet(other / tables.OOF)
    assert (found["target"] != expected["target"]).all()
    pd.testing.assert_frame_equal(found[["id", *CLASSES]], expected[["id", *CLASSES]], check_exact=True)


def test_a_batch_larger_than_a_fold_is_named(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="batch_size = 500 is larger than the 80 training images"):
        trained(inputs, [0], tmp_path / "out", dataclasses.replace(MEMBER, batch_size=500))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_loss_that_is_not_finite_is_named(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="member 'm', fold 1, epoch 1: the loss is (nan|inf): lower optimizer.learning_rate"
    ):
        wild = dataclasses.replace(MEMBER, optimizer=Optimizer(learning_rate=1e35), schedule=Schedule())
        trained(inputs, [1], tmp_path / "out", wild)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_seeds_depend_on_all_three() -> None:
    seeds = {fold_seed(seed, member, fold) for seed in (0, 1) for member in ("a", "b") for fold in range(5)}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**31 for seed in seeds)
