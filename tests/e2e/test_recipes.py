"""The demo's recipe on its real digits, reduced to one fold of one member: that it learns what the
competition file says."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from components.folds.make_folds import write_folds
from components.statistics.summary import statistics as write_statistics
from pipelines.competitions import digits
from tests.support.tiny import converted
from trainer.artifacts import tables
from trainer.artifacts.objective import Artifacts, Objective
from trainer.config.load import load_competition
from trainer.config.preparation import Folds
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext

pytestmark = pytest.mark.acceptance

FILE = Path(digits.__file__).with_name("digits.toml")


def test_the_recipe_reaches_its_accuracy(tmp_path: Path) -> None:
    competition = load_competition(FILE)
    classes = competition.classes
    digits.main(tmp_path / "data")
    names = {name: str(tmp_path / "data" / f"{name}.csv") for name in ("train", "test")}
    data = type(competition.data)(source="pixels", target="label", root="", **names)
    records = converted(dataclasses.replace(competition, data=data), tmp_path / "records")
    folds, audit, statistics = (
        tmp_path / name for name in ("folds.csv", "audit.json", "statistics.json")
    )
    write_folds(
        records, Folds(count=5), seed=competition.seed, classes=classes, out=folds, audit_out=audit
    )
    write_statistics(records, folds, audit, classes=classes, out=statistics)
    inputs = Artifacts(records=records, root=records, folds_table=folds, statistics=statistics)
    goal = Objective(task="multiclass", classes=classes, metric="accuracy", seed=competition.seed)
    train_folds(competition.members[0], [0], inputs, goal, RunContext(out=tmp_path / "out"))
    oof = pd.read_parquet(tmp_path / "out" / tables.OOF)
    assert len(oof) == 800
    # Over all folds it is 0.987; one fold's 800 images scatter by 0.004 about that.
    assert (oof[classes].to_numpy().argmax(axis=1) == oof["target"]).mean() > 0.97
