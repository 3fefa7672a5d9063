import os
from pathlib import Path

import numpy as np
import pytest

from components.records import source
from components.records.convert import convert
from tests.support.tiny import Tiny, as_files, converted
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.load import load_competition
from trainer.errors import DataError


def test_pixels_and_files_of_the_same_images_say_the_same(tiny: Tiny, tmp_path: Path) -> None:
    found = {}
    for name in ("pixels", "files"):
        competition = load_competition(tiny.toml if name == "pixels" else as_files(tiny).toml)
        found[name] = tables.read_examples(converted(competition, tmp_path / name))
    assert (
        read_manifest(tmp_path / "files")["channels"],
        read_manifest(tmp_path / "pixels")["channels"],
    ) == (3, 1)
    np.testing.assert_array_equal(found["files"]["target"], found["pixels"]["target"])
    # With files, ids are file names, in the order of the table.
    assert found["files"]["id"][:2].tolist() == ["img-001", "img-002"]
    grey, colour = (np.array(found[name]["sum_c_8"].tolist()) for name in ("pixels", "files"))
    np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=1))
    np.testing.assert_array_equal(found["files"]["phash"], found["pixels"]["phash"])


def test_a_changed_file_changes_the_digest(tiny: Tiny) -> None:
    competition = load_competition(as_files(tiny).toml)
    before = source.digest(competition.data)
    assert before == source.digest(competition.data)
    path = tiny.folder / "train" / "img-001.png"
    os.utime(path, ns=(1, 1))
    assert source.digest(competition.data) != before
    with pytest.raises(DataError, match="changed while the run was under way"):
        convert(
            competition.data,
            competition.records,
            classes=competition.classes,
            source_digest=before,
            out=tiny.folder / "out",
        )


def test_look_reads_no_image(tiny: Tiny) -> None:
    competition = load_competition(as_files(tiny).toml)
    for path in (tiny.folder / "train").iterdir():
        path.write_bytes(b"")
    found = source.look(competition.data, competition.records)
    assert (found.train, found.test_ids[:2]) == (120, ["t1", "t2"])


def test_blocks_follow_the_source_and_the_shards_alone(tiny: Tiny) -> None:
    competition = load_competition(tiny.toml)
    cut = [
        (block.subset.split, block.number, block.first, block.rows)
        for block, _ in source.blocks(competition.data, competition.records)
    ]
    assert cut == [
        ("train", 0, 0, 50),
        ("train", 1, 50, 50),
        ("train", 2, 100, 20),
        ("test", 0, 0, 30),
    ]
