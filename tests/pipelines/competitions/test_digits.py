import csv
from pathlib import Path

import pytest

from pipelines.competitions import digits
from trainer.artifacts.manifest import MANIFEST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    digits.main(folder)
    return folder


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="") as stream:
        return list(csv.reader(stream))


def test_the_files_have_the_competition_s_form(folder: Path) -> None:
    train, test = rows(folder / "train.csv"), rows(folder / "test.csv")
    pixels = [f"pixel{index}" for index in range(784)]
    assert train[0] == ["label", *pixels]
    assert test[0] == pixels
    assert (len(train), len(test)) == (4001, 1001)
    labels = [row[0] for row in train[1:]]
    assert all(labels.count(str(digit)) == 400 for digit in range(10))
    sample = rows(folder / "sample_submission.csv")
    assert sample == [["ImageId", "Label"], *([str(row), "0"] for row in range(1, 1001))]


def test_the_answers_are_withheld_and_no_image_is_on_both_sides(folder: Path) -> None:
    answers = rows(folder / "answers.csv")
    assert [row[0] for row in answers[1:]] == [str(row) for row in range(1, 1001)]
    assert all([row[1] for row in answers].count(str(digit)) == 100 for digit in range(10))
    train = {tuple(row[1:]) for row in rows(folder / "train.csv")[1:]}
    test = [tuple(row) for row in rows(folder / "test.csv")[1:]]
    assert not train & set(test)


def test_it_is_written_once_and_again_when_damaged(folder: Path) -> None:
    before = (folder / "train.csv").stat().st_mtime_ns
    digest = (folder / MANIFEST).read_bytes()
    digits.main(folder)
    assert (folder / "train.csv").stat().st_mtime_ns == before
    (folder / "train.csv").write_text("damaged")
    digits.main(folder)
    assert (folder / MANIFEST).read_bytes() == digest
