from pathlib import Path

import pytest

from components.records.convert import convert
from components.records.merge import join
from tests.support.tiny import Tiny, as_files, converted
from trainer.artifacts.manifest import MANIFEST
from trainer.config.competition import Competition
from trainer.config.load import load_competition
from trainer.errors import DataError, IntegrityError


def in_parts(tiny: Tiny, folder: Path, count: int) -> tuple[Competition, list[Path]]:
    """Return a competition and the folders of its `count` converted parts, not yet joined."""
    tiny.toml.write_text(
        tiny.toml.read_text().replace("shard_images = 50", f"shard_images = 50\nparts = {count}")
    )
    competition = load_competition(tiny.toml)
    parts = [folder / f"p{part}" for part in range(count)]
    for part, out in enumerate(parts):
        convert(
            competition.data, competition.records, classes=competition.classes, part=part, out=out
        )
    return competition, parts


def joined(competition: Competition, parts: list[Path], out: Path) -> None:
    join(parts, competition.data, competition.records, classes=competition.classes, out=out)


def test_parts_of_different_sources_are_not_joined(tiny: Tiny, tmp_path: Path) -> None:
    competition, parts = in_parts(tiny, tmp_path, 2)
    header, first, *rest = tiny.train.read_text().splitlines()
    tiny.train.write_text("\n".join([header, f"9{first[1:]}", *rest]) + "\n")
    convert(
        competition.data,
        competition.records,
        classes=competition.classes,
        part=1,
        out=tmp_path / "other",
    )
    with pytest.raises(DataError, match="changed while the run was under way"):
        joined(competition, [parts[0], tmp_path / "other"], tmp_path / "out")


def test_a_part_that_is_missing_or_not_whole(tiny: Tiny, tmp_path: Path) -> None:
    competition, parts = in_parts(tiny, tmp_path, 3)
    with pytest.raises(IntegrityError, match="expected 3 parts, numbered from 0, found 0, 2"):
        joined(competition, [parts[2], parts[0]], tmp_path / "out")
    (parts[1] / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match=f"{parts[1]}: no manifest.json"):
        joined(competition, parts, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_order_in_which_parts_come_does_not_matter(tiny: Tiny, tmp_path: Path) -> None:
    competition, parts = in_parts(tiny, tmp_path, 3)
    joined(competition, parts, tmp_path / "a")
    joined(competition, parts[::-1], tmp_path / "b")
    assert (tmp_path / "a" / MANIFEST).read_bytes() == (tmp_path / "b" / MANIFEST).read_bytes()


def test_shards_are_linked_and_not_copied(tiny: Tiny, tmp_path: Path) -> None:
    competition, parts = in_parts(tiny, tmp_path, 2)
    joined(competition, parts, tmp_path / "out")
    shard = tmp_path / "out" / "8x8" / "train00-50.tfrec"
    assert shard.samefile(parts[0] / "8x8" / "train00-50.tfrec")


def test_a_second_try_clears_the_first_s_shards(tiny: Tiny, tmp_path: Path) -> None:
    competition = load_competition(as_files(tiny).toml)
    out = converted(competition, tmp_path / "out")
    (out / "8x8" / "train09-1.tfrec").write_bytes(b"")
    joined(competition, [tmp_path / "out-part0"], out)
    assert not (out / "8x8" / "train09-1.tfrec").exists()
