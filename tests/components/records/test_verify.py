import shutil
from pathlib import Path

import pytest

from components.records.verify import verify
from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, read_manifest, write_manifest
from trainer.artifacts.records import open_shard, read_shard
from trainer.errors import IntegrityError


@pytest.fixture
def folder(records_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records_folder, tmp_path / "records"))


def counts(folder: Path) -> dict[str, int]:
    return {
        f"8x8/{path.name}": sum(1 for _ in read_shard(path)) for path in folder.glob("8x8/*.tfrec")
    }


def test_a_whole_folder(folder: Path) -> None:
    assert verify(str(folder)) == (6, 150)


def test_a_damaged_byte_is_placed_in_its_record(folder: Path) -> None:
    path = folder / "8x8" / "train01-50.tfrec"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"train01-50.tfrec: damaged record \d+ at byte \d+"):
        verify(str(folder))


def test_a_cut_or_missing_or_foreign_shard(folder: Path) -> None:
    path = folder / "8x8" / "train02-20.tfrec"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(IntegrityError, match="train02-20.tfrec: damaged record 19 at byte"):
        verify(str(folder))
    path.unlink()
    with pytest.raises(IntegrityError, match="train02-20.tfrec: missing"):
        verify(str(folder))
    path.write_bytes(whole)
    with open_shard(folder / "8x8", "train", 3) as add:
        add({"image_name": b"1"})
    with pytest.raises(IntegrityError, match="train03-1.tfrec: not listed in manifest.json"):
        verify(str(folder))


def test_a_table_that_disagrees_with_the_shards(folder: Path) -> None:
    about = read_manifest(folder)
    examples = tables.read_examples(folder)
    swapped = examples.copy()
    swapped.loc[[3, 4], "row_8"] = [4, 3]
    tables.write_parquet(folder / tables.EXAMPLES, swapped)
    write_manifest(folder, about, counts(folder))
    with pytest.raises(
        IntegrityError,
        match="id '4' should be record 4 of 8x8/train00-50.tfrec, but that is '5'",
    ):
        verify(str(folder))
    tables.write_parquet(folder / tables.EXAMPLES, examples[:-1])
    write_manifest(folder, about, counts(folder))
    with pytest.raises(IntegrityError, match="has 149 rows, but the shards hold 150 records"):
        verify(str(folder))


def test_no_manifest_and_no_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="no manifest.json"):
        verify(str(folder))
    with pytest.raises(IntegrityError, match="no such folder"):
        verify(str(folder / "none"))


def test_a_whole_folder_of_another_step(tmp_path: Path) -> None:
    (tmp_path / "oof.csv").write_text("x")
    write_manifest(tmp_path, {})
    with pytest.raises(IntegrityError, match="a complete folder, but not a records folder"):
        verify(str(tmp_path))
