import dataclasses
from pathlib import Path
from typing import Any

import pytest

from components.check.files import check_files
from components.check.resolve import resolve_gan
from tests.support.tiny import upload, write_gan
from trainer.config.gan import HELD_OUT_FOLD, Gan
from trainer.config.load import load
from trainer.errors import CompetitionError, DataError

SECTIONS = ("data", "records", "folds", "gan", "train")


def table(path: Path) -> dict[str, Any]:
    file = load(path)
    assert isinstance(file, Gan)
    return file.pipeline_arguments()


def test_parameters_come_out_whole_with_the_judge_s_task(tmp_path: Path) -> None:
    given = table(write_gan(tmp_path))
    *sections, judging, source, classes, folds, weights = resolve_gan(given, "")
    assert dict(zip(SECTIONS, sections, strict=True)) == {name: given[name] for name in SECTIONS}
    priced = {**given, "train": {**given["train"], "hourly_price": 9.0, "folds_per_task": 3}}
    assert resolve_gan(priced, "") == resolve_gan(given, "")
    assert judging["folds"] == [HELD_OUT_FOLD]
    assert judging["member"] == {**given["judge"], "size": 32}
    assert len(source) == 64
    assert (classes, folds, weights) == ("", "", "")


def test_digests_see_a_file_change(tmp_path: Path) -> None:
    path = write_gan(tmp_path)
    (tmp_path / "f.keras").write_bytes(b"1")
    path.write_text(path.read_text() + 'features = { weights = "f.keras" }\n')
    *_, source, _, _, weights = resolve_gan(table(path), "")
    assert len(weights) == 64
    (tmp_path / "f.keras").write_bytes(b"2")
    assert resolve_gan(table(path), "").weights_digest != weights
    with open(tmp_path / "train.csv", "a") as stream:
        stream.write("\n")
    assert resolve_gan(table(path), "").source_digest != source


def test_a_console_says_where_the_data_is(tmp_path: Path, bucket: str) -> None:
    path = write_gan(tmp_path)
    upload(tmp_path, f"{bucket}/digits")
    given = table(path)
    given["data"] = {**given["data"], "root": ".", "train": "train.csv"}
    with pytest.raises(CompetitionError, match="root = '': must be the data's location"):
        resolve_gan(given, "")
    assert resolve_gan(given, f"{bucket}/digits").data["train"] == f"{bucket}/digits/train.csv"


def test_files_that_are_not_there_are_all_named(tmp_path: Path) -> None:
    file = load(write_gan(tmp_path))
    assert isinstance(file, Gan)
    gone = dataclasses.replace(
        file,
        data=dataclasses.replace(file.data, train=str(tmp_path / "gone.csv")),
        folds=dataclasses.replace(file.folds, file=str(tmp_path / "folds.csv")),
    )
    with pytest.raises(CompetitionError) as caught:
        check_files(gone, "here.toml")
    assert "here.toml: data.train = " in str(caught.value)
    assert "here.toml: folds.file = " in str(caught.value)
    judged = dataclasses.replace(
        file, judge=dataclasses.replace(file.judge, weights=str(tmp_path / "fold{fold}.keras"))
    )
    with pytest.raises(CompetitionError, match=r"no such file: .*fold0\.keras"):
        check_files(judged, "here.toml")
    excluding = dataclasses.replace(
        file, folds=dataclasses.replace(file.folds, exclude=["no such"])
    )
    with pytest.raises(DataError, match="no such"):
        check_files(excluding, "here.toml")
