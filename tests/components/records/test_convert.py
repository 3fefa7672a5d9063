import hashlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from conftest import Tiny, digits

from components.records.convert import convert
from trainer import tables
from trainer.competition import load
from trainer.errors import DataError
from trainer.manifest import read_manifest
from trainer.records import decode_example, read_shard


def converted(tiny: Tiny, out: Path) -> Path:
    competition = load(tiny.toml)
    convert(competition.data, competition.records, classes=competition.classes, source_digest="", out=out)
    return out


def test_the_table_describes_the_shards(records_folder: Path) -> None:
    images, labels = digits(150)
    examples = tables.read_examples(records_folder)
    assert examples["id"].tolist() == [str(row) for row in [*range(1, 121), *range(1, 31)]]
    assert examples["split"].tolist() == ["train"] * 120 + ["test"] * 30
    assert examples["target"].tolist() == labels[:120].tolist() + [-1] * 30
    assert examples["shard"].unique().tolist() == [
        "train00-50.tfrec",
        "train01-50.tfrec",
        "train02-20.tfrec",
        "test00-30.tfrec",
    ]
    stored = [
        simplejpeg.decode_jpeg(decode_example(payload)["image"], colorspace="GRAY")
        for shard in examples["shard"].unique()
        for payload in read_shard(records_folder / shard)
    ]
    for place, row in enumerate(examples.itertuples()):
        pixels = stored[place].astype(int)
        assert (row.width, row.height) == (8, 8)
        assert row.sum_c.tolist() == [pixels.sum()]
        assert row.sumsq_c.tolist() == [(pixels**2).sum()]
        assert row.sha256 == hashlib.sha256(images[place].tobytes()).hexdigest()


def test_the_records_hold_the_images_under_their_public_names(records_folder: Path) -> None:
    images, labels = digits(120)
    place = 0
    for shard in ("train00-50.tfrec", "train01-50.tfrec", "train02-20.tfrec"):
        for payload in read_shard(records_folder / shard):
            features = decode_example(payload)
            assert set(features) == {"image", "image_name", "target"}
            assert features["image_name"] == str(place + 1).encode()
            assert features["target"] == labels[place]
            stored = simplejpeg.decode_jpeg(features["image"], colorspace="GRAY").astype(int)
            # JPEG at quality 95: near, not equal.
            assert np.abs(stored - images[place]).mean() < 4
            place += 1
    assert place == 120
    assert all("target" not in decode_example(payload) for payload in read_shard(records_folder / "test00-30.tfrec"))


def test_the_folder_is_whole_and_repeatable(tiny: Tiny, tmp_path: Path) -> None:
    one, two = converted(tiny, tmp_path / "one"), converted(tiny, tmp_path / "two")
    about = read_manifest(one)
    assert (about["size"], about["channels"], about["images"]) == (8, 1, {"train": 120, "test": 30})
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {path.name: path.read_bytes() for path in two.iterdir()}


def change(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert lines[line].startswith(old)
    lines[line] = new + lines[line][len(old) :]
    path.write_text("".join(lines))


def test_a_label_that_is_no_class(tiny: Tiny, tmp_path: Path) -> None:
    change(tiny.train, 17, tiny.train.read_text().splitlines()[17].split(",")[0], "ten")
    with pytest.raises(DataError, match=r"train.csv: row 17, column 'label': 'ten' is no class; classes are 0, 1"):
        converted(tiny, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_class_without_images(tiny: Tiny, tmp_path: Path) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace("'9']", "'9', '10']"))
    with pytest.raises(DataError, match="no image of class '10'"):
        converted(tiny, tmp_path / "out")


def test_another_size_than_the_images(tiny: Tiny, tmp_path: Path) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace("size = 8", "size = 9"))
    with pytest.raises(DataError, match="images of 8 × 8, but records.size = 9: set it to 8"):
        converted(tiny, tmp_path / "out")


def test_a_file_that_changed_since_the_launcher_saw_it(tiny: Tiny, tmp_path: Path) -> None:
    competition = load(tiny.toml)
    with pytest.raises(DataError, match="changed while the run was under way"):
        convert(
            competition.data, competition.records, classes=competition.classes, source_digest="0" * 64, out=tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()
