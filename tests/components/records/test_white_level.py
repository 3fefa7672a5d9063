from pathlib import Path

import cv2
import numpy as np
import pytest

from components.records.white_level import resolved
from tests.support.tiny import Tiny, as_files, converted
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.competition import Competition
from trainer.config.load import load_competition
from trainer.errors import DataError


def deepened(tiny: Tiny, white: int, factor: int, level: str = "") -> Competition:
    """The competition with its images in 16 bits, of which the values use only some."""
    as_files(tiny)
    for path in [*tiny.folder.glob("train/*.png"), *tiny.folder.glob("test/*.png")]:
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        cv2.imwrite(str(path), np.minimum(grey * factor, white))
    if level:
        text = tiny.toml.read_text()
        tiny.toml.write_text(text.replace("sizes = [8]", f"sizes = [8]\nwhite_level = {level}"))
    return load_competition(tiny.toml)


@pytest.mark.parametrize(("white", "factor"), [(1023, 4), (4095, 16), (16383, 64)])
def test_twelve_bits_in_sixteen_are_no_night(
    tiny: Tiny, tmp_path: Path, white: int, factor: int
) -> None:
    competition = deepened(tiny, white, factor)
    assert resolved(competition.data, competition.records).white_level == white
    folder = converted(competition, tmp_path / "out")
    examples = tables.read_examples(folder)
    means = np.array(examples["sum_c_8"].tolist())[:, 0] / 64
    assert 60 < means.mean() < 100
    assert set(examples["bits"]) == {16}


def test_the_level_of_the_file_counts_and_darkness_is_reported(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    competition = deepened(tiny, 1023, 4, level="65535")
    assert resolved(competition.data, competition.records) == competition.records
    folder = converted(competition, tmp_path / "out")
    said = capsys.readouterr().out
    assert "150 images have more than 8 bits a value: 0 to 65535 becomes black to white" in said
    assert "warning: 150 of 150 images are nearly black" in said
    assert "set records.white_level" in said
    assert read_manifest(folder)["white_level"] == 65535


@pytest.mark.parametrize("level", ['"auto"', "0"])
def test_auto_is_a_word_for_none(tiny: Tiny, level: str) -> None:
    competition = deepened(tiny, 4095, 16, level=level)
    assert competition.records.white_level == 0


def test_an_image_above_the_level_is_not_left_out(tiny: Tiny, tmp_path: Path) -> None:
    deepened(tiny, 1023, 4, level='1023\non_bad_image = "skip"\nmax_bad_fraction = 0.5')
    path = tiny.folder / "train" / "img-005.png"
    cv2.imwrite(str(path), np.full((8, 8), 5000, np.uint16))
    with pytest.raises(DataError, match=r"img-005.png: values up to 5000, .* = 8191\n1 images"):
        converted(load_competition(tiny.toml), tmp_path / "out")
