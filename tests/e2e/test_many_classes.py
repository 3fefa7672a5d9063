"""Thousands of classes: only the most probable ones of an image are kept."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from components.report.page import ReportInputs, write_report
from tests.support.in_process import Outputs, run_in_process
from tests.support.paths import ROOT
from tests.support.tiny import digits

CLASSES, IMAGES, TESTS = 15_501, 30_000, 2_000
# What the largest process of the run may take: 1.45 were measured, and one table of all classes
# would take 1.7 more.
GIB = 2.5


def competition(folder: Path, classes: list[str], members: str, more: str) -> Path:
    path = folder / "many.toml"
    path.write_text(f"""name = "many"
task = "multiclass"
metric = "macro_f1"
classes = {json.dumps(classes)}

[data]
source = "pixels"
train = "train.csv"
test = "test.csv"
target = "label"

[folds]
count = 2
duplicates = "identical"

[train]
folds_per_task = 2

[submission]
sample = "sample.csv"

[leaderboard]
answers = "answers.csv"
{more}
{members}""")
    return path


def write_pixels(folder: Path, name: str, pixels: np.ndarray, labels: list[str] | None) -> None:
    flat = pixels.reshape(len(pixels), -1)
    table = pd.DataFrame(flat, columns=[f"pixel{number}" for number in range(flat.shape[1])])
    if labels is not None:
        table.insert(0, "label", labels)
    table.to_csv(folder / name, index=False)


def write_answers(folder: Path, labels: list[str], one: str) -> None:
    ids = range(1, len(labels) + 1)
    pd.DataFrame({"id": ids, "label": labels}).to_csv(folder / "answers.csv", index=False)
    pd.DataFrame({"id": ids, "label": one}).to_csv(folder / "sample.csv", index=False)


def digits_run(folder: Path, keep: str, method: str = "mean", member: str = "") -> Outputs:
    folder.mkdir()
    images, labels = digits(200)
    names = [f"digit {label}" for label in labels]
    write_pixels(folder, "train.csv", images[:160], names[:160])
    write_pixels(folder, "test.csv", images[160:], None)
    write_answers(folder, names[160:], "digit 0")
    members = "".join(
        f'[[members]]\nname = "m{side}"\nbackbone = "linear"\nlinear.side = {side}\n{member}'
        for side in (4, 8)
    )
    more = f'{keep}\n[blend]\nmethod = "{method}"\nresamples = 100\n[records]\nsizes = [8]\n'
    file = competition(folder, [f"digit {digit}" for digit in range(10)], members, more)
    return run_in_process(file, folder / "out")


def test_what_is_kept_scores_and_submits_as_all_classes_do(tmp_path: Path) -> None:
    whole = digits_run(tmp_path / "whole", "")
    kept = digits_run(tmp_path / "kept", "[predictions]\nkeep = 9")
    assert kept.submission.read_bytes() == whole.submission.read_bytes()
    scores = [
        json.loads((run.blended / "metrics.json").read_text())["metrics"] for run in (whole, kept)
    ]
    # The other metrics need the probabilities of all classes.
    assert {"macro_f1", "accuracy", "log_loss", "calibration_error"} <= set(scores[1])
    assert {"roc_auc", "brier", "quadratic_kappa"} & set(scores[1]) == set()
    for name, value in scores[1].items():
        assert value["oof"] == pytest.approx(scores[0][name]["oof"], abs=1e-6)
    oof = pd.read_csv(kept.blended / "oof.csv", dtype=str)
    assert list(oof)[:5] == ["id", "target", "prediction", "class_1", "probability_1"]
    assert (oof["prediction"] == oof["class_1"]).all()
    assert "probability_9" in oof
    assert "probability_10" not in oof
    classes = [f"digit {digit}" for digit in range(10)]
    page = tmp_path / "report.html"
    write_report(
        ReportInputs(
            name="many",
            classes=classes,
            metric="macro_f1",
            seed=0,
            members=[],
            blended=kept.blended,
            records=kept.records,
            root=kept.records,
            statistics=tmp_path / "kept" / "out" / "statistics.json",
            audit=kept.audit,
            submission=kept.submission,
        ),
        page,
    )
    text = page.read_text()
    assert "Confusion matrix" in text
    # Curves need the probabilities of all classes.
    assert "ROC and precision-recall" not in text


@pytest.mark.parametrize("method", ["auto", "greedy", "weights", "best_alpha"])
def test_every_method_blends_what_is_kept(method: str, tmp_path: Path) -> None:
    run = digits_run(tmp_path / "run", "[predictions]\nkeep = 5", method)
    scores = json.loads((run.blended / "metrics.json").read_text())
    assert scores["blend"]["oof"] > 0.8
    assert sum(scores["blend"]["weights"].values()) == pytest.approx(1)


def test_members_of_all_images_keep_classes_without_a_score(tmp_path: Path) -> None:
    member = 'validation = "none"\n'
    run = digits_run(tmp_path / "run", "[predictions]\nkeep = 5", "mean", member)
    assert list(pd.read_csv(run.blended / "oof.csv"))[3:5] == ["class_1", "probability_1"]
    assert "probability_5" in pd.read_csv(run.blended / "test.csv")
    assert len(run.submission.read_text().splitlines()) == 41


@pytest.mark.acceptance(first=True)
def test_as_many_classes_as_a_herbarium_has(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"species {number:05}" for number in range(CLASSES)]
    codes = generator.integers(0, 2, (CLASSES, 4, 4))
    labels = np.concatenate([np.arange(CLASSES), generator.integers(0, CLASSES, IMAGES - CLASSES)])
    tests = generator.integers(0, CLASSES, TESTS)

    def drawn(numbers: np.ndarray) -> np.ndarray:
        squares = np.kron(codes[numbers], np.ones((1, 2, 2))) * 150 + 40
        noise = generator.normal(0, 20, squares.shape)
        return np.asarray(np.clip(squares + noise, 0, 255).astype(int))

    write_pixels(tmp_path, "train.csv", drawn(labels), [names[number] for number in labels])
    write_pixels(tmp_path, "test.csv", drawn(tests), None)
    write_answers(tmp_path, [names[number] for number in tests], names[0])
    # One epoch: what is learnt is not the question here, and thousands of outputs take minutes.
    members = """[[members]]
name = "m"
backbone = "cnn"
cnn = { filters = [8], strides = [2] }
epochs = 1
batch_size = 256
"""
    file = competition(tmp_path, names, members, "[records]\nsizes = [8]\n")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli.main", "run", str(file), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert largest < GIB, f"{largest:.1f} GiB"
    oof = pd.read_csv(out / "oof.csv", dtype={"id": str})
    assert len(oof) == IMAGES
    assert "probability_20" in oof
    assert "probability_21" not in oof
    scores = json.loads((out / "metrics.json").read_text())["metrics"]
    assert scores["accuracy"]["oof"] == pytest.approx(
        accuracy_score(oof["target"], oof["prediction"])
    )
    assert scores["macro_f1"]["oof"] == pytest.approx(
        f1_score(oof["target"], oof["prediction"], average="macro", labels=names, zero_division=0)
    )
    assert (out / "report.html").stat().st_size < 5e6
    submission = pd.read_csv(out / "submission.csv")
    assert set(submission["label"]) <= set(names)
