import os

import numpy as np
import pandas as pd
import pytest
from conftest import Tiny, as_files

from components.records import source
from components.records.convert import convert
from components.records.verify import verify
from trainer import tables
from trainer.competition import load
from trainer.errors import DataError
from trainer.manifest import read_manifest


def test_pixels_and_files_of_the_same_images_say_the_same(tiny: Tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = {}
    for name in ("pixels", "files"):
        competition = load(tiny.toml if name == "pixels" else as_files(tiny).toml)
        convert(
            competition.data,
            competition.records,
            classes=competition.classes,
            source_digest=source.digest(competition.data),
            out=tmp_path / name,
        )
        found[name] = tables.read_examples(tmp_path / name)
    assert (read_manifest(tmp_path / "files")["channels"], read_manifest(tmp_path / "pixels")["channels"]) == (3, 1)
    np.testing.assert_array_equal(found["files"]["target"], found["pixels"]["target"])
    # The ids of the files are names, in the order of the table.
    assert found["files"]["id"][:2].tolist() == ["img-001", "img-002"]
    grey = np.stack(found["pixels"]["sum_c"].to_list())
    colour = np.stack(found["files"]["sum_c"].to_list())
    assert colour.shape == (150, 3)
    np.testing.assert_allclose(colour / grey, 1, atol=0.05)


def test_a_changed_file_changes_the_digest(tiny: Tiny) -> None:
    competition = load(as_files(tiny).toml)
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
    competition = load(as_files(tiny).toml)
    for path in (tiny.folder / "train").iterdir():
        path.write_bytes(b"")
    found = source.look(competition.data, competition.records)
    assert (found.train, found.test_ids[:2]) == (120, ["t1", "t2"])


def converted(tiny: Tiny, old: str = "", new: str = "") -> pd.DataFrame:
    tiny.toml.write_text(tiny.toml.read_text().replace(old, new) if old else tiny.toml.read_text())
    competition = load(tiny.toml)
    convert(competition.data, competition.records, classes=competition.classes, source_digest="", out=tiny.folder / "out")
    return tables.read_examples(tiny.folder / "out")


def test_bad_images_fail_or_are_left_out_as_the_file_says(tiny: Tiny) -> None:
    as_files(tiny)
    (tiny.folder / "train" / "img-003.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"img-003.png: an empty file \(1 such images; records.on_bad_image = 'skip'"):
        converted(tiny)
    (tiny.folder / "train" / "img-007.png").unlink()
    with pytest.raises(DataError, match=r"train.csv: row 7: no file for id 'img-007' by train/\{id\}.png \(1 such ids\)"):
        converted(tiny)
    skip = 'size = 8\non_bad_image = "skip"\nmax_bad_fraction = 0.01'
    with pytest.raises(DataError, match="2 such images of 120, more than records.max_bad_fraction = 0.01 allows"):
        converted(tiny, "size = 8", skip)
    assert not (tiny.folder / "out" / "manifest.json").exists()
    examples = converted(tiny, "max_bad_fraction = 0.01", "max_bad_fraction = 0.02")
    assert len(examples) == 148
    assert not {"img-003", "img-007"} & set(examples["id"])
    rejects = pd.read_csv(tiny.folder / "out" / "rejects.csv", keep_default_na=False)
    assert rejects["id"].tolist() == ["img-003", "img-007"]
    assert rejects["reason"].tolist() == ["an empty file", "no file for it by train/{id}.png"]
    assert verify(tiny.folder / "out").records == 148


def test_a_bad_test_image_is_never_left_out(tiny: Tiny) -> None:
    as_files(tiny)
    (tiny.folder / "test" / "t5.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match="t5.png: .*1 such test images, and a submission needs them all"):
        converted(tiny, "size = 8", 'size = 8\non_bad_image = "skip"\nmax_bad_fraction = 1')
