"""Each competition file, reduced: small networks, small images and few of them, in the public
format.

What the file says of the data, the labels, the loss, the schedule and the submission stays as it
is."""

import csv
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pipelines.competitions
from tests.e2e.test_sources import TEST, jpeg, melanoma, picture, put, shard
from tests.support.in_process import Outputs, run_in_process
from tests.support.paths import ROOT

pytestmark = pytest.mark.acceptance

FILES = Path(pipelines.competitions.__file__).parent


def toml(value: Any) -> str:
    """A value in TOML; tables in line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def reduced(
    name: str, folder: Path, size: int, members: dict[str, dict[str, Any]], **more: Any
) -> Path:
    """The competition file `name` with its images of another size, two folds, and its members
    changed as said."""
    table = tomllib.loads((FILES / name).read_text())
    table["data"]["root"] = str(folder / "data")
    table["records"]["sizes"] = [size]
    table["folds"]["count"] = 2
    table["train"] = {"folds_per_task": 2}
    assert {member["name"] for member in table["members"]} == set(members)
    for member in table["members"]:
        # Weights come from the network, which a test does not ask.
        member |= {"epochs": 1, "batch_size": 8, "weights": "", **members[member["name"]]}
        member["schedule"].pop("warmup_epochs", None)
    table |= more
    path = folder / name
    path.write_text("".join(f"{key} = {toml(value)}\n" for key, value in table.items()))
    return path


def small(name: str) -> dict[str, dict[str, Any]]:
    """Changes of a member: a network of two layers in place of its backbone, which
    tests/trainer/models/test_backbones.py builds."""
    layers = {"filters": [8, 8], "strides": [2, 2]}
    return {name: {"backbone": "cnn", "cnn": layers, "normalise": "data", "head_epochs": 0}}


def run_here(file: Path) -> tuple[Outputs, pd.DataFrame]:
    """Run a file in this process; its artifacts and its submission."""
    outputs = run_in_process(file, file.parent / "out")
    return outputs, pd.read_csv(outputs.submission, dtype=str)


def run(file: Path) -> tuple[Path, pd.DataFrame]:
    out = file.parent / "out"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "run", str(file), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out, pd.read_csv(out / "submission.csv", dtype=str)


def write_sample(path: Path, header: list[str], ids: list[str]) -> None:
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([header, *([id_, "0"] for id_ in ids)])


def test_digits_with_efficientnet(tmp_path: Path) -> None:
    from tests.support.tiny import digits

    (tmp_path / "data").mkdir()
    images, labels = digits(72)
    for name, rows in (("train", range(60)), ("test", range(60, 72))):
        with open(tmp_path / "data" / f"{name}.csv", "w", newline="") as stream:
            writer = csv.writer(stream)
            header = [f"pixel{number}" for number in range(64)]
            writer.writerow(["label", *header] if name == "train" else header)
            writer.writerows(
                ([labels[n]] if name == "train" else []) + images[n].ravel().tolist() for n in rows
            )
    write_sample(
        tmp_path / "data" / "sample_submission.csv",
        ["ImageId", "Label"],
        [str(n) for n in range(1, 13)],
    )
    file = reduced("digits_efficientnet.toml", tmp_path, 32, {"b3": {"backbone": "EfficientNetB0"}})
    out, submission = run(file)
    assert submission["ImageId"].tolist() == [str(n) for n in range(1, 13)]
    assert set(submission["Label"]) <= {str(n) for n in range(10)}
    assert (out / "models" / "b3" / "fold1.keras").is_file()


def test_flowers(tmp_path: Path) -> None:
    for split, numbers in (
        ("train", range(150)),
        ("val", range(150, 208)),
        ("test", range(208, 208 + TEST)),
    ):
        rows: list[dict[str, bytes | int | float]] = [
            {
                "image": jpeg(picture(n, 32)),
                "id": f"f{n:08x}".encode(),
                **({} if split == "test" else {"class": n % 104}),
            }
            for n in numbers
        ]
        shard(
            tmp_path / "data" / "tfrecords-jpeg-32x32" / split / f"00-32x32-{len(rows)}.tfrec", rows
        )
    ids = [f"f{n:08x}" for n in reversed(range(208, 208 + TEST))]
    write_sample(tmp_path / "data" / "sample_submission.csv", ["id", "label"], ids)
    smaller = small("densenet201") | small("efficientnetb7")
    outputs, submission = run_here(reduced("flowers104.toml", tmp_path, 32, smaller))
    assert submission["id"].tolist() == ids
    assert set(submission["label"]) <= {str(n) for n in range(104)}
    metrics = json.loads((outputs.blended / "metrics.json").read_text())
    assert set(metrics["members"]) == {"densenet201", "efficientnetb7"}
    assert len(pd.read_csv(outputs.blended / "oof.csv")) == 208


def test_masks(tmp_path: Path) -> None:
    rows = ["id,gender,race,age,path"]
    files = ["mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal"]
    # Every class in more than one fold: both genders in each of three ages.
    people = 24
    for person in range(people):
        name = f"{person:06}_{('female', 'male')[person % 2]}_Asian_{(18, 40, 60)[person // 2 % 3]}"
        rows.append(
            f"{person:06},{('female', 'male')[person % 2]},Asian,"
            f"{(18, 40, 60)[person // 2 % 3]},{name}"
        )
        for number, file in enumerate(files):
            # Upright, as the photographs are: 384 by 512 there.
            tall = np.concatenate([picture(person * 7 + number, 36)] * 2)[:48]
            put(tmp_path / "data" / "train" / "images" / name / f"{file}.jpg", tall)
    (tmp_path / "data" / "train" / "train.csv").write_text("\n".join(rows) + "\n")
    ids = [f"{number:040x}.jpg" for number in range(TEST)]
    for number, id_ in enumerate(ids):
        put(
            tmp_path / "data" / "eval" / "images" / id_,
            np.concatenate([picture(200 + number, 36)] * 2)[:48],
        )
    write_sample(tmp_path / "data" / "eval" / "info.csv", ["ImageID", "ans"], ids)
    table = tomllib.loads((FILES / "masks.toml").read_text())
    augment = {**table["members"][0]["augment"], "crop": 32}
    smaller = {"b4": {**small("b4")["b4"], "augment": augment}}
    outputs, submission = run_here(reduced("masks.toml", tmp_path, 36, smaller))
    assert submission["ImageID"].tolist() == ids
    assert set(submission["ans"]) <= {str(n) for n in range(18)}
    oof = pd.read_csv(outputs.blended / "oof.csv", dtype={"id": str})
    assert len(oof) == 7 * people
    # A person's images never stand in two folds.
    assert (oof["fold"].groupby(oof["id"].str.split("/").str[0]).nunique() == 1).all()


def test_melanoma(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "melanoma-32x32"
    for number, first in enumerate((0, 40)):
        rows = melanoma(number, 40, first)
        for row in rows:
            row["image"] = jpeg(picture(int(str(row["image_name"], "ascii")[-7:]), 32))
        shard(folder / f"train{number:02}-40.tfrec", rows)
    keep = ("image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge")
    tests = [
        {**{key: row[key] for key in keep}, "image": jpeg(picture(200 + n, 32))}
        for n, row in enumerate(melanoma(0, TEST, 200))
    ]
    shard(folder / f"test00-{TEST}.tfrec", tests)
    ids = [f"ISIC_{n:07d}" for n in range(200, 200 + TEST)]
    write_sample(tmp_path / "data" / "sample_submission.csv", ["image_name", "target"], ids)
    smaller = {"b3": {**small("b3")["b3"], "tta": 3}}
    file = reduced("melanoma.toml", tmp_path, 32, smaller)
    out, submission = run(file)
    assert submission["image_name"].tolist() == ids
    probabilities = submission["target"].astype(float)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert probabilities.nunique() > 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["metric"] == "roc_auc"
    oof = pd.read_csv(out / "oof.csv")
    np.testing.assert_allclose(oof["0"] + oof["1"], 1, atol=1e-6)
    assert "held-out roc_auc" in (out / "report.html").read_text()
