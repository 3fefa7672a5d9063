import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.submission.write import file_name, score_answers, write_submission
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest, write_manifest
from trainer.config.output import Submission
from trainer.errors import DataError

CLASSES = ["cat", "dog"]
CLASS = Submission(sample="sample.csv")


def write_blended(
    folder: Path,
    rows: dict[str, list[float]],
    task: str = "multiclass",
    thresholds: list[float] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"id": list(rows)})
    table[CLASSES] = np.array(list(rows.values()), dtype=np.float32)
    tables.write_parquet(folder / tables.TEST, table)
    write_manifest(folder, {"task": task, "thresholds": thresholds})
    return folder


def submitted(tmp_path: Path, rows: dict[str, list[float]], sample: str) -> str:
    (tmp_path / "sample.csv").write_text(sample)
    blended = write_blended(tmp_path / "blended", rows)
    out = tmp_path / "submission.csv"
    write_submission(
        blended,
        Submission(sample=str(tmp_path / "sample.csv")),
        classes=CLASSES,
        sample_digest="",
        out=out,
    )
    return out.read_text()


def test_the_sample_decides_header_ids_and_order(tmp_path: Path) -> None:
    rows = {"1": [0.9, 0.1], "2": [0.2, 0.8], "x,y": [0.5, 0.5]}
    assert (
        submitted(tmp_path, rows, 'Id,Animal\n2,a\n"x,y",a\n1,a\n')
        == 'Id,Animal\n2,dog\n"x,y",cat\n1,cat\n'
    )


@pytest.mark.parametrize("bad", [[np.nan, 0.5], [np.inf, 0.0], [-0.1, 1.1], [0.5, 0.6]])
def test_what_is_no_probability_is_named(tmp_path: Path, bad: list[float]) -> None:
    with pytest.raises(DataError, match="submission row 2, id '1'"):
        submitted(tmp_path, {"1": bad, "2": [0.2, 0.8]}, "Id,Animal\n2,cat\n1,cat\n")
    assert not (tmp_path / "submission.csv").exists()


def test_other_ids_than_the_test_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sample.csv: row 2, column 'Id': id '3' is not in"):
        submitted(tmp_path, {"1": [1, 0], "2": [0, 1]}, "Id,Animal\n2,cat\n3,cat\n")
    assert not (tmp_path / "submission.csv").exists()


def test_answers_are_joined_by_id(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("Id,A\n1,cat\n2,dog\n3,dog\n4,cat\n")
    (tmp_path / "a.csv").write_text("Id,A\n4,dog\n3,dog\n2,dog\n1,cat\n")
    assert (
        score_answers(
            tmp_path / "s.csv",
            str(tmp_path / "a.csv"),
            CLASS,
            classes=CLASSES,
            metric="accuracy",
            task="multiclass",
        )
        == 0.75
    )
    (tmp_path / "a.csv").write_text("Id,A\n1,cat\n2,owl\n")
    with pytest.raises(DataError, match="a.csv: row 2, column 'A': 'owl' .id '2'. is not a class"):
        score_answers(
            tmp_path / "s.csv",
            str(tmp_path / "a.csv"),
            CLASS,
            classes=CLASSES,
            metric="accuracy",
            task="multiclass",
        )
    (tmp_path / "a.csv").write_text("Id,A\n1,cat\n")
    with pytest.raises(DataError, match="a.csv: no row for id '2'"):
        score_answers(
            tmp_path / "s.csv",
            str(tmp_path / "a.csv"),
            CLASS,
            classes=CLASSES,
            metric="accuracy",
            task="multiclass",
        )


def test_probabilities_of_the_second_class_keep_every_digit(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("Id,target\n2,0\n1,0\n")
    blended = write_blended(tmp_path / "blended", {"1": [0.9, 0.1], "2": [2 / 3, 1 / 3]})
    wanted = Submission(sample=str(tmp_path / "sample.csv"), values="probability")
    write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "Id,target\n2,0.333333343\n1,0.100000001\n"
    (tmp_path / "a.csv").write_text("Id,A\n1,cat\n2,dog\n")
    found = score_answers(
        tmp_path / "s.csv",
        str(tmp_path / "a.csv"),
        wanted,
        classes=CLASSES,
        metric="roc_auc",
        task="binary",
    )
    assert found == 1.0


def test_several_classes_are_written_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("Id,labels\n1,x\n2,x\n3,x\n")
    rows = {"1": [0.9, 0.6], "2": [0.1, 0.5], "3": [0.3, 0.2]}
    blended = write_blended(tmp_path / "blended", rows, "multilabel")
    wanted = Submission(sample=str(tmp_path / "sample.csv"), separator=";")
    write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=tmp_path / "s.csv")
    # An image of no class has an empty cell, which is what the score counts, too.
    assert (tmp_path / "s.csv").read_text() == "Id,labels\n1,cat;dog\n2,dog\n3,\n"
    (tmp_path / "a.csv").write_text("Id,labels\n1,cat\n2,dog\n3,\n")
    found = score_answers(
        tmp_path / "s.csv",
        str(tmp_path / "a.csv"),
        wanted,
        classes=CLASSES,
        metric="accuracy",
        task="multilabel",
    )
    assert found == pytest.approx(2 / 3)


def test_thresholds_decide(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("Id,labels\n1,0\n2,0\n3,0\n")
    rows = {"1": [0.9, 0.1], "2": [0.75, 0.25], "3": [0.1, 0.05]}
    out, numbers = (
        tmp_path / "s.csv",
        Submission(sample=str(tmp_path / "sample.csv"), values="index"),
    )
    two = write_blended(
        tmp_path / "two",
        {"1": [0.9, 0.1], "2": [0.75, 0.25], "3": [0.5, 0.5]},
        "binary",
        [0.8, 0.2],
    )
    write_submission(two, numbers, classes=CLASSES, sample_digest="", out=out)
    assert out.read_text() == "Id,labels\n1,0\n2,1\n3,1\n"
    # No class of the third row reaches its threshold.
    several = write_blended(tmp_path / "several", rows, "multilabel", [0.8, 0.2])
    write_submission(several, numbers, classes=CLASSES, sample_digest="", out=out)
    assert out.read_text() == "Id,labels\n1,0\n2,1\n3,\n"


def test_a_column_a_class_as_the_sample_orders_them(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("Id,dog,cat\n2,0,0\n1,0,0\n")
    blended = write_blended(tmp_path / "b", {"1": [0.9, 0.1], "2": [1 / 3, 2 / 3]})
    wanted = Submission(sample=str(tmp_path / "sample.csv"), values="columns", digits=4)
    out = tmp_path / "s.csv"
    write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=out)
    assert out.read_text() == "Id,dog,cat\n2,0.6667,0.3333\n1,0.1,0.9\n"
    (tmp_path / "a.csv").write_text("Id,A\n1,cat\n2,dog\n")
    found = score_answers(
        out, str(tmp_path / "a.csv"), wanted, classes=CLASSES, metric="log_loss", task="multiclass"
    )
    assert found == pytest.approx(-(np.log(0.6667) + np.log(0.9)) / 2, abs=1e-4)


def test_gzip_holds_the_same_and_no_time(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("Id,A\n2,x\n1,x\n")
    blended = write_blended(tmp_path / "b", {"1": [0.9, 0.1], "2": [0.2, 0.8]})
    plain, packed = (
        Submission(sample=str(tmp_path / "sample.csv")),
        Submission(sample=str(tmp_path / "sample.csv"), gzip=True),
    )
    for wanted, name in ((plain, "s"), (packed, "p"), (packed, "q")):
        write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=tmp_path / name)
    assert (
        gzip.decompress((tmp_path / "p").read_bytes())
        == (tmp_path / "s").read_bytes()
        == b"Id,A\n2,dog\n1,cat\n"
    )
    assert (tmp_path / "p").read_bytes() == (tmp_path / "q").read_bytes()
    assert (file_name(plain), file_name(packed)) == ("submission.csv", "submission.csv.gz")


def test_ids_without_an_image_get_the_mean_where_the_file_allows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sample.csv").write_text("Id,cat,dog\n1,0,0\n9,0,0\n2,0,0\n")
    blended = write_blended(tmp_path / "b", {"1": [0.9, 0.1], "2": [0.3, 0.7]})
    wanted = Submission(sample=str(tmp_path / "sample.csv"), values="columns", digits=6)
    out = tmp_path / "s.csv"
    with pytest.raises(DataError, match=r"row 2, column 'Id': id '9' .*on_bad_test_image"):
        write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=out)
    about = read_manifest(blended)
    write_manifest(blended, {**about, "on_bad_test_image": "prior"})
    write_submission(blended, wanted, classes=CLASSES, sample_digest="", out=out)
    assert out.read_text() == "Id,cat,dog\n1,0.9,0.1\n9,0.6,0.4\n2,0.3,0.7\n"
    assert "1 ids of the sample have no image and get the mean prediction: '9'" in (
        capsys.readouterr().out
    )
