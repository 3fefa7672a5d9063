"""The demo's recipe on its real digits, reduced to one fold of one member: that it learns what the competition file says."""

from pathlib import Path

import pandas as pd

from components.folds.assign import write_folds
from components.records.convert import convert
from components.statistics.pooled import statistics
from pipelines.competitions import digits
from trainer import tables
from trainer.competition import Folds, load
from trainer.fit import train_folds

FILE = Path(digits.__file__).with_name("digits.toml")


def test_the_recipe_reaches_its_accuracy(tmp_path: Path) -> None:
    competition = load(FILE)
    classes = competition.classes
    digits.main(tmp_path / "data")
    names = {name: str(tmp_path / "data" / f"{name}.csv") for name in ("train", "test")}
    data = type(competition.data)(source="pixels", target="label", root="", **names)
    convert(data, competition.records, classes=classes, source_digest="", out=tmp_path / "records")
    folds, audit = tmp_path / "folds.csv", tmp_path / "audit.json"
    write_folds(tmp_path / "records", Folds(count=5), seed=competition.seed, classes=classes, out=folds, audit_out=audit)
    statistics(tmp_path / "records", folds, out=tmp_path / "statistics.json")
    train_folds(
        competition.members[0],
        [0],
        records=tmp_path / "records",
        folds_table=folds,
        statistics=tmp_path / "statistics.json",
        classes=classes,
        metric="accuracy",
        seed=competition.seed,
        out=tmp_path / "out",
    )
    oof = pd.read_parquet(tmp_path / "out" / tables.OOF)
    assert len(oof) == 800
    # Over all folds it is 0.987; one fold's 800 images scatter by 0.004 about that.
    assert (oof[classes].to_numpy().argmax(axis=1) == oof["target"]).mean() > 0.97
