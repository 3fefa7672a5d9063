import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.records import files
from components.records.image import Image as Image_
from components.records.image import Rejected
from trainer.competition import Records
from trainer.errors import DataError

COLUMNS = {"id": "name", "target": "label"}


def read(path: Path, text: str) -> list[files.Row]:
    path.write_bytes(text.encode())
    return files.table(path, COLUMNS)


@pytest.mark.parametrize(
    "text",
    ["name,label\na,1\nb,2\n", "\ufeffname,label\r\na,1\r\nb,2\r\n", 'label,x,name\n1,,"a"\n\n2,"p\nq",b'],
)
def test_rows(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "t.csv", text) == [("a", "1", ""), ("b", "2", "")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty, where a header is meant"),
        ("name,label\n", "a header and no rows"),
        ("name,class\na,1\n", r"no column 'label' \(data.target\); it has 'name', 'class'"),
        ("name,label,label\na,1,1\n", "more than one column 'label'"),
        ("name,label\na,1\na,2\n", "row 2, column 'name': id 'a' is already in row 1"),
        ("name,label\n,1\n", "row 1, column 'name': an empty cell"),
        ("name,label\na,\n", "row 1, column 'label': an empty cell"),
        ("name,label\na\n", "row 1 has 1 cells, the header 2"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path / "t.csv", text)


def write(path: Path, value: int = 100, side: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(path, "PNG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/a.jpg", "train/deep/er/b.png", "train/c.tar.jpg", "train/note.txt", "test/a.jpg", "train/ä ö.jpg"):
        write(tmp_path / "root" / name)
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("train/{id}.jpg", {"a": "train/a.jpg", "c.tar": "train/c.tar.jpg", "ä ö": "train/ä ö.jpg"}),
        ("train/{id}.png", {"deep/er/b": "train/deep/er/b.png"}),
        ("train/**/{id}.png", {"b": "train/deep/er/b.png"}),
        ("*/{id}.txt", {"note": "train/note.txt"}),
        ("train/{id}", {name: f"train/{name}" for name in ("a.jpg", "deep/er/b.png", "c.tar.jpg", "note.txt", "ä ö.jpg")}),
    ],
)
def test_a_pattern_finds_the_files(root: Path, pattern: str, found: dict[str, str]) -> None:
    assert files.located(root, pattern) == {id_: root / name for id_, name in found.items()}


def test_two_files_of_one_id(root: Path) -> None:
    with pytest.raises(DataError, match=r"a.jpg: a second file for id 'a', after .*/test/a.jpg"):
        files.located(root, "**/{id}.jpg")


def test_a_link_that_leads_out(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret.jpg")
    (root / "train" / "z.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match="z.jpg: a link that leads out of"):
        files.located(root, "train/{id}.jpg")


def test_the_folder_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (root / "train").rename(tmp_path / "large disk")
    (root / "train").symlink_to(tmp_path / "large disk")
    assert set(files.located(root, "train/{id}.jpg")) == {"a", "c.tar", "ä ö"}
    write(tmp_path / "secret.jpg")
    (root / "train" / "z.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(DataError, match="z.jpg: a link that leads out of"):
        files.located(root, "train/{id}.jpg")
    (root / "train" / "z.jpg").unlink()
    (root / "train" / "z.jpg").symlink_to("a.jpg")
    assert "z" in files.located(root, "train/{id}.jpg")


def test_a_folder_that_is_not_there(root: Path) -> None:
    with pytest.raises(DataError, match=r"none: no such folder .from the pattern 'none/\{id\}.jpg'"):
        files.located(root, "none/{id}.jpg")


def test_images_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).permutation(40)
    for value in values:
        write(tmp_path / f"{value}.png", int(value))
    rows = [files.Row(str(value), "x", "") for value in values]
    found = list(files.images(rows, tmp_path, "{id}.png", Records(size=8)))
    assert all(isinstance(image, Image_) for image in found)
    assert [image.id for image in found] == [str(value) for value in values]
    assert [int(image.pixels[0, 0, 0]) for image in found] == values.tolist()
    assert {image.pixels.shape for image in found} == {(8, 8, 3)}


def test_an_id_without_a_file_and_a_file_that_is_no_image(root: Path) -> None:
    (root / "train" / "a.jpg").write_bytes(b"<html>")
    rows = [files.Row("c.tar", "", ""), files.Row("q", "", ""), files.Row("a", "", "")]
    good, missing, bad = files.images(rows, root, "train/{id}.jpg", Records(size=8))
    assert isinstance(good, Image_)
    assert missing == Rejected("q", "", "no file for it by train/{id}.jpg", 0)
    reason = "no image of a known format: text (an error page?)"
    assert bad == Rejected("a", str(root / "train" / "a.jpg"), reason, 6)


def test_few_images_are_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        write(tmp_path / f"{number}.png")
    read = 0
    real = files.decode

    def counted(*arguments: object, **options: object) -> np.ndarray:
        nonlocal read
        read += 1
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "decode", counted)
    rows = [files.Row(str(number), "", "") for number in range(100)]
    stream = files.images(rows, tmp_path, "{id}.png", Records(size=8))
    for taken, _ in enumerate(stream, start=1):
        assert read <= taken + 4 * (os.cpu_count() or 1)
        if taken == 50:
            break
    stream.close()
    assert read <= 50 + 4 * (os.cpu_count() or 1)
