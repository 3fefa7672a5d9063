import shutil
from pathlib import Path

import pytest

from components.records.verify import verify
from trainer import tables
from trainer.errors import IntegrityError
from trainer.manifest import MANIFEST, read_manifest, write_manifest
from trainer.records import read_shard, write_shard


@pytest.fixture
def folder(records_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records_folder, tmp_path / "records"))


def counts(folder: Path) -> dict[str, int]:
    return {path.name: sum(1 for _ in read_shard(path)) for path in folder.glob("*.tfrec")}


def test_a_whole_folder(folder: Path) -> None:
    assert verify(folder) == (6, 150)


def test_a_damaged_byte_is_placed_in_its_record(folder: Path) -> None:
    path = folder / "train01-50.tfrec"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=r"train01-50.tfrec: damaged record \d+ at byte \d+"):
        verify(folder)


def test_a_cut_or_missing_or_foreign_shard(folder: Path) -> None:
    path = folder / "train02-20.tfrec"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(IntegrityError, match="train02-20.tfrec: damaged record 19 at byte"):
        verify(folder)
    path.unlink()
    with pytest.raises(IntegrityError, match="train02-20.tfrec: missing"):
        verify(folder)
    path.write_bytes(whole)
    write_shard(folder / "train03-1.tfrec", [{"image_name": b"1"}])
    with pytest.raises(IntegrityError, match="train03-1.tfrec: manifest.json does not name it"):
        verify(folder)


def test_a_table_that_disagrees_with_the_shards(folder: Path) -> None:
    about = read_manifest(folder)
    examples = tables.read_examples(folder)
    swapped = examples.copy()
    swapped.loc[[3, 4], "row"] = [4, 3]
    tables.write_parquet(folder / tables.EXAMPLES, swapped)
    write_manifest(folder, about, counts(folder))
    with pytest.raises(IntegrityError, match="id '4' should be record 4 of train00-50.tfrec, which is b'5'"):
        verify(folder)
    tables.write_parquet(folder / tables.EXAMPLES, examples[:-1])
    write_manifest(folder, about, counts(folder))
    with pytest.raises(IntegrityError, match="has 149 rows, the shards hold 150 records"):
        verify(folder)


def test_no_manifest_and_no_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="no manifest.json"):
        verify(folder)
    with pytest.raises(IntegrityError, match="no such folder"):
        verify(folder / "none")
