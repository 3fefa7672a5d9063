import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.records.sources.patterns import expression, located
from trainer.errors import DataError

NAMES = (
    "train/a.jpg",
    "train/deep/er/b.png",
    "train/c.tar.jpg",
    "train/note.txt",
    "test/a.jpg",
    "train/ä ö.jpg",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "root"


def ids(root: Path, pattern: str) -> dict[str, str]:
    return {
        entry.texts["id"]: os.path.relpath(entry.path, root)
        for entry in located(str(root), pattern)
    }


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (
            "train/{id}.jpg",
            {"a": "train/a.jpg", "c.tar": "train/c.tar.jpg", "ä ö": "train/ä ö.jpg"},
        ),
        ("train/{id}.png", {"deep/er/b": "train/deep/er/b.png"}),
        ("train/**/{id}.png", {"b": "train/deep/er/b.png"}),
        ("*/{id}.txt", {"note": "train/note.txt"}),
        (
            "train/{id}",
            {
                name: f"train/{name}"
                for name in ("a.jpg", "deep/er/b.png", "c.tar.jpg", "note.txt", "ä ö.jpg")
            },
        ),
        ("{id}.txt", {"train/note": "train/note.txt"}),
    ],
)
def test_a_pattern_finds_the_files(root: Path, pattern: str, found: dict[str, str]) -> None:
    assert ids(root, pattern) == found


@pytest.mark.parametrize(
    ("pattern", "path", "texts"),
    [
        ("train/{class}/{id}.jpg", "train/rose/7.jpg", {"class": "rose", "id": "7"}),
        (
            "train/{class}/{group}_{id}.*",
            "train/rose/p1_7.png",
            {"class": "rose", "group": "p1", "id": "7"},
        ),
        (
            "images/{id}/{file}.*",
            "images/0001_female/mask1.jpg",
            {"id": "0001_female", "file": "mask1"},
        ),
        (
            "r-{size}/train/*-{size}-*.tfrec",
            "r-192x192/train/00-192x192-798.tfrec",
            {"size": "192"},
        ),
        ("r-{size}/*.tfrec", "r-64/a.tfrec", {"size": "64"}),
        ("r-{size}/*-{size}-*.tfrec", "r-192x192/00-224x224-798.tfrec", None),
        ("r-{size}/*.tfrec", "r-192x224/a.tfrec", None),
        ("{class}/{id}.jpg", "a/b/c.jpg", None),
        ("a.b/{id}", "aXb/c", None),
    ],
)
def test_what_a_path_says(pattern: str, path: str, texts: dict[str, str] | None) -> None:
    match = expression(pattern).fullmatch(path)
    assert (match and match.groupdict()) == texts


@given(st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text))
def test_any_id_comes_back(id_: str) -> None:
    match = expression("a/**/{id}.*").fullmatch(f"a/b/{id_}.jpg")
    assert match is not None
    assert match["id"] == id_


def test_a_link_that_leads_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (root / "train" / "z.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match="z.jpg: a symbolic link that leads out of"):
        located(str(root), "train/{id}.jpg")


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "train").rename(tmp_path / "large disk")
    (root / "train").symlink_to(tmp_path / "large disk")
    assert set(ids(root, "train/{id}.jpg")) == {"a", "c.tar", "ä ö"}
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (root / "train" / "z.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match="z.jpg: a symbolic link that leads out of"):
        located(str(root), "train/{id}.jpg")
    (root / "train" / "z.jpg").unlink()
    (root / "train" / "z.jpg").symlink_to("a.jpg")
    assert "z" in ids(root, "train/{id}.jpg")


def test_a_folder_that_is_not_there(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"none: no such folder .from the pattern 'none/\{id\}.jpg'"
    ):
        located(str(root), "none/{id}.jpg")


def test_a_mark_changes_with_the_file(root: Path) -> None:
    before = located(str(root), "train/{id}.txt")
    os.utime(root / "train" / "note.txt", ns=(1, 1))
    assert located(str(root), "train/{id}.txt") != before


def test_what_cannot_be_read_is_named(root: Path) -> None:
    (root / "train" / "gone.jpg").symlink_to(root / "train" / "nothing.jpg")
    with pytest.raises(DataError, match="gone.jpg: cannot be read: No such file"):
        located(str(root), "train/{id}.jpg")
    (root / "train" / "gone.jpg").unlink()
    (root / "train" / "loop.jpg").symlink_to("loop.jpg")
    with pytest.raises(DataError, match="loop.jpg: (cannot be read|a symbolic link that leads)"):
        located(str(root), "train/{id}.jpg")
    (root / "train" / "loop.jpg").unlink()
    os.mkfifo(root / "train" / "pipe.jpg")
    with pytest.raises(DataError, match="pipe.jpg: not a regular file"):
        located(str(root), "train/{id}.jpg")


def test_links_below_the_root_are_followed_and_others_on_request(
    root: Path, tmp_path: Path
) -> None:
    blobs = root / "blobs"
    blobs.mkdir()
    (blobs / "1").write_bytes(b"x")
    # As a hub lays out a snapshot: names are links to a folder next to theirs.
    (root / "train" / "linked.jpg").symlink_to("../blobs/1")
    (root / "more").mkdir()
    (root / "more" / "m.jpg").write_bytes(b"x")
    (root / "train" / "folder").symlink_to(root / "more")
    found = {entry.texts["id"] for entry in located(str(root), "train/**/{id}.jpg")}
    assert {"linked", "m"} <= found
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.jpg").write_bytes(b"x")
    (root / "train" / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="train/out: a symbolic link that leads out of .*follow"):
        located(str(root), "train/**/{id}.jpg")
    followed = located(str(root), "train/**/{id}.jpg", follow=True)
    assert "far" in {entry.texts["id"] for entry in followed}
    (root / "train" / "up").symlink_to("..")
    with pytest.raises(DataError, match="train/up: a symbolic link to .*root/, which it is in"):
        located(str(root), "train/**/{id}.jpg", follow=True)


def test_hidden_copies_are_left_out(root: Path) -> None:
    for name in (".ipynb_checkpoints/a-checkpoint.jpg", "._a.jpg", "__MACOSX/a.jpg"):
        path = root / "train" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert set(ids(root, "train/**/{id}.jpg")) == {"a", "c.tar", "ä ö"}
    assert "train/.ipynb_checkpoints/a-checkpoint.jpg" in {
        os.path.relpath(entry.path, root)
        for entry in located(str(root), "train/.ipynb_checkpoints/{id}.jpg")
    }


def test_an_archive_in_place_of_a_folder_is_named(root: Path) -> None:
    (root / "images.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="no such folder .*there is the archive .*images.tar.gz"):
        located(str(root), "images/{id}.jpg")
