from pathlib import Path

import pandas as pd
import pytest

from components.training.summary import summarise
from tests.support.member_tables import CLASSES, about, write_task
from trainer import runtime
from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.artifacts.objective import Objective
from trainer.metrics.scores import score

GOAL = Objective("multiclass", CLASSES, "accuracy", seed=1)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    write_manifest(folder, {"source_digest": "d" * 8})
    return folder


def test_scores_are_those_of_the_held_out_rows(
    tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.IMAGE_CODE, "0.1.0-abc")
    out = write_task(tmp_path / "out", "a", [0, 2], seed=1)
    scores, lineage = summarise(str(out), str(records), GOAL)
    oof = pd.read_parquet(out / tables.OOF)
    assert scores == {
        name: pytest.approx(score("accuracy", rows["target"].to_numpy(), rows[CLASSES].to_numpy()))
        for name, rows in (
            ("accuracy", oof),
            ("accuracy_fold0", oof[oof["fold"] == 0]),
            ("accuracy_fold2", oof[oof["fold"] == 2]),
        )
    }
    assert lineage == {
        "member": "a",
        "folds": "0, 2",
        "device": "CPU",
        "data": "d" * 8,
        "code": "0.1.0-abc",
        "accuracy": f"{scores['accuracy']:.6f}",
    }


def test_a_metric_that_needs_a_class_which_a_fold_lacks_is_left_out(
    tmp_path: Path, records: Path
) -> None:
    out = write_task(tmp_path / "out", "a", [0, 1], seed=1)
    oof = pd.read_parquet(out / tables.OOF)
    oof["target"] = [row % 2 if fold else 1 for row, fold in enumerate(oof["fold"])]
    tables.write_parquet(out / tables.OOF, oof)
    write_manifest(out, about("a", [0, 1], task="binary"))
    goal = Objective("binary", CLASSES[:2], "roc_auc", seed=1)
    assert list(summarise(str(out), str(records), goal).scores) == ["roc_auc", "roc_auc_fold1"]


def test_a_process_that_wrote_nothing_has_no_summary(tmp_path: Path, records: Path) -> None:
    assert summarise(str(tmp_path / "none"), str(records), GOAL) == ({}, {})
