import json
from pathlib import Path

import pytest

from trainer.artifacts.manifest import (
    MANIFEST,
    atomic_write,
    check_digest,
    files_digest,
    read_manifest,
    write_json,
    write_manifest,
)
from trainer.errors import DataError, IntegrityError


def test_a_file_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with pytest.raises(RuntimeError), atomic_write(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with atomic_write(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(b"123")
    (tmp_path / "b.bin").write_bytes(b"456")
    write_manifest(tmp_path, {"size": 8})
    return tmp_path


def test_a_whole_folder_reads_back(folder: Path) -> None:
    assert read_manifest(folder) == {"size": 8}


def test_damage_is_named(folder: Path) -> None:
    (folder / "b.bin").write_bytes(b"457")
    with pytest.raises(IntegrityError, match="b.bin: not the file"):
        read_manifest(folder)
    (folder / "b.bin").unlink()
    with pytest.raises(IntegrityError, match="b.bin: missing"):
        read_manifest(folder)
    for text in (
        "{",
        "{}",
        "[]",
        '{"about": {}, "files": {"a.bin": 1}}',
        '{"about": {}, "files": []}',
    ):
        (folder / MANIFEST).write_text(text)
        with pytest.raises(IntegrityError, match="not a manifest"):
            read_manifest(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(IntegrityError, match="no manifest.json"):
        read_manifest(folder)


def test_counts_stand_beside_their_files(folder: Path) -> None:
    write_manifest(folder, {}, {"a.bin": 3})
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert files["a.bin"]["count"] == 3
    assert "count" not in files["b.bin"]


def test_files_are_known_by_their_bytes_and_order(folder: Path) -> None:
    one, two = folder / "a.bin", folder / "b.bin"
    digest = files_digest([one, two])
    assert digest != files_digest([two, one])
    check_digest([one, two], digest)
    check_digest([one, two], "")
    two.write_text("c")
    with pytest.raises(DataError, match="b.bin: changed while the run was under way"):
        check_digest([one, two], digest)
