import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import Artifacts, Objective
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.member import Member
from trainer.config.network import Head, Linear
from trainer.config.preparation import NO_FOLD
from trainer.config.schema import parse
from trainer.errors import CompetitionError
from trainer.input.shards import Images
from trainer.input.workers import Workers
from trainer.models import linear
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext
from trainer.training.linear import pixel_features

CLASSES = [str(digit) for digit in range(10)]
MEMBER = Member(name="baseline", backbone="linear")
OBJECTIVE = Objective(task="multiclass", classes=CLASSES, metric="accuracy", seed=4)


def trained(inputs: Artifacts, folds: list[int], out: Path, member: Member = MEMBER) -> Path:
    train_folds(member, folds, inputs, OBJECTIVE, RunContext(out=out))
    return out


def test_each_image_is_predicted_by_a_model_that_did_not_see_it(
    inputs: Artifacts, tmp_path: Path
) -> None:
    out = trained(inputs, [0, 1, 2], tmp_path / "out")
    oof, test = (pd.read_parquet(out / name) for name in (tables.OOF, tables.TEST))
    folds = tables.read_folds(inputs.folds_table)
    joined = oof.merge(folds, on="id")
    assert len(joined) == len(folds)
    assert (joined["fold_x"] == joined["fold_y"]).all()
    accuracy = (oof[CLASSES].to_numpy().argmax(axis=1) == oof["target"]).mean()
    assert accuracy > 0.75
    assert test.groupby("fold")["id"].nunique().to_dict() == {0: 30, 1: 30, 2: 30}
    history = tables.read_history(out / tables.HISTORY)
    assert history["fold"].tolist() == [0, 1, 2]
    assert history["val_accuracy"].mean() == pytest.approx(accuracy, abs=1e-6)
    about = read_manifest(out)
    assert about["models"] == ["fold0.npz", "fold1.npz", "fold2.npz"]
    seen = np.load(out / "fold1.seen.npy")
    assert len(seen) == (folds["fold"] != 1).sum()
    assert linear.load(out / "fold1.npz").weights.shape == (64, 10)


def test_the_same_bytes_however_the_folds_are_split(inputs: Artifacts, tmp_path: Path) -> None:
    whole, alone = trained(inputs, [0, 1, 2], tmp_path / "a"), trained(inputs, [2], tmp_path / "b")
    for name in (tables.OOF, tables.TEST):
        expected = pd.read_parquet(whole / name).query("fold == 2").reset_index(drop=True)
        pd.testing.assert_frame_equal(pd.read_parquet(alone / name), expected, check_exact=True)


def test_one_model_of_all_images(inputs: Artifacts, tmp_path: Path) -> None:
    member = dataclasses.replace(MEMBER, validation="none")
    out = trained(inputs, [NO_FOLD], tmp_path / "out", member)
    assert (out / "all.npz").is_file()
    assert len(pd.read_parquet(out / tables.OOF)) == 0
    assert "val_loss" not in tables.read_history(out / tables.HISTORY)


def test_it_imports_no_framework(inputs: Artifacts, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from trainer.config.member import Member
from trainer.artifacts.objective import Artifacts, Objective
from trainer.training.jobs.context import RunContext
from trainer.training.fit import train_folds
from trainer.training.linear import pixel_features
records, statistics = {str(inputs.records)!r}, {str(inputs.statistics)!r}
artifacts = Artifacts(records, records, {str(inputs.folds_table)!r}, statistics)
objective = Objective("multiclass", list("0123456789"), "accuracy", 1)
run = RunContext(out=Path({str(tmp_path / "out")!r}))
train_folds(Member(name="m", backbone="linear"), [0], artifacts, objective, run)
assert not {{"keras", "tensorflow", "jax"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epochs": 3}, "epochs cannot be combined with backbone = 'linear'"),
        ({"weights": "imagenet"}, "weights cannot be combined with backbone = 'linear'"),
        ({"head": {"dropout": 0.5}}, "head cannot be combined with backbone = 'linear'"),
        ({"tta": 2}, "tta cannot be combined with backbone = 'linear'"),
        ({"validation": "best"}, "validation = 'best': cannot be combined with"),
        ({"tabular": {"columns": ["a"], "layers": [4]}}, "tabular cannot be combined with"),
        ({"loss": {"kind": "focal"}}, "loss cannot be combined with backbone = 'linear'"),
        ({"backbone": "cnn", "epochs": 1, "linear": {"side": 8}}, "linear only applies to"),
        ({"backbone": "cnn"}, "epochs is missing or 0: it must be a whole number from 1 to 10000"),
    ],
)
def test_keys_that_a_regression_has_not_are_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(CompetitionError, match=message):
        parse(Member, {"name": "m", "backbone": "linear", **keys}, "file.toml")


def test_it_takes_weights_of_classes_and_rows() -> None:
    table = {"name": "m", "backbone": "linear", "loss": {"class_weights": "balanced"}}
    assert parse(Member, table, "file.toml").loss.class_weights == "balanced"
    assert Head() == parse(Member, table, "file.toml").head


def test_it_is_no_judge() -> None:
    from pipelines.definitions.compilation import DEFAULTS

    table = tomllib.loads(DEFAULTS[1].read_text())
    table["judge"] = {"name": "judge", "backbone": "linear"}
    with pytest.raises(CompetitionError, match=r"judge\.backbone = 'linear': must be a network"):
        parse(Gan, table, "gan.toml")
    assert parse(Competition, tomllib.loads(DEFAULTS[0].read_text()), "digits.toml").members


def test_large_images_are_reduced_by_area_and_small_ones_are_not() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    images = Images([], np.zeros((5, 3)), 32, 3, pixels)  # type: ignore[arg-type]
    workers = Workers(1)
    features = pixel_features(images, Linear(side=16), workers)
    expected = pixels.reshape(5, 16, 2, 16, 2, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(features.reshape(5, 16, 16, 3), expected, atol=0.6 / 255)
    as_stored = pixel_features(images, Linear(side=64), workers)
    workers.close()
    np.testing.assert_allclose(as_stored.reshape(pixels.shape), pixels / 255, atol=1e-6)
