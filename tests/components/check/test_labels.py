from pathlib import Path

import pytest

from components.check.files import check_files
from tests.support.tiny import Tiny, as_files
from trainer.config.load import load_competition
from trainer.errors import CompetitionError, DataError


def checked(tiny: Tiny, *changes: tuple[str, str]) -> None:
    text = tiny.toml.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    tiny.toml.write_text(text)
    check_files(load_competition(tiny.toml), tiny.toml)


def relabelled(tiny: Tiny, **labels: str) -> None:
    """Give the images of a label another one, in the pixel CSV."""
    header, *rows = tiny.train.read_text().splitlines()
    changed = []
    for row in rows:
        label, rest = row.split(",", 1)
        changed.append(f"{labels.get(f'd{label}', label)},{rest}")
    tiny.train.write_text("\n".join([header, *changed]) + "\n")


def test_all_unknown_labels_are_named_with_what_they_may_mean(tiny: Tiny) -> None:
    relabelled(tiny, d0="0.0", d1=" 1", d7="seven")
    with pytest.raises(CompetitionError) as caught:
        checked(tiny)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    zeros = next(one for one in lines if "'0.0'" in one)
    assert "train.csv, column 'label': '0.0' is not a class (12 images, first" in zeros
    assert "train.csv: row 1)" in zeros
    assert any(one.endswith("did you mean '0'?") for one in lines)
    assert any("' 1' is not a class" in one and "mean '1'?" in one for one in lines)
    assert "3 labels are no classes; classes are 0, 1, 2" in lines[-1]


def test_an_empty_label_is_a_class_only_of_several(tiny: Tiny) -> None:
    relabelled(tiny, d3="")
    with pytest.raises(CompetitionError, match=": an empty cell: write a class, or delete"):
        checked(tiny)
    with pytest.raises(CompetitionError, match="no image of '3': remove them"):
        checked(tiny, ('task = "multiclass"', 'task = "multilabel"'))


def test_classes_without_images_are_all_named(tiny: Tiny) -> None:
    relabelled(tiny, d3="4", d5="4")
    with pytest.raises(CompetitionError, match="classes: no image of '3', '5': remove them"):
        checked(tiny)


def test_a_metric_of_ranks_needs_two_images_of_each_class(tiny: Tiny) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    first = next(number for number, row in enumerate(rows) if row.startswith("5,"))
    rows = [row for number, row in enumerate(rows) if number == first or row[:2] != "5,"]
    tiny.train.write_text("\n".join([header, *rows]) + "\n")
    checked(tiny)
    with pytest.raises(CompetitionError, match="'roc_auc': class '5' has a single image"):
        checked(tiny, ('"accuracy"', '"roc_auc"'))


def folders(tiny: Tiny, images: str = "{class}/{id}.png", test: str = "test/{id}.png") -> None:
    """Write the competition again, with the labels in the names of folders."""
    rows = tiny.train.read_text().splitlines()[1:]
    as_files(tiny)
    for row, path in zip(rows, sorted((tiny.folder / "train").glob("*.png")), strict=True):
        folder = tiny.folder / images.replace("{class}", row.split(",")[0])
        folder.parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder.parent / path.name)
    text = tiny.toml.read_text()
    for line in text.splitlines():
        if line.startswith(("train = ", "target = ", "test = ", "id = ", "images = ")):
            text = text.replace(line + "\n", "")
        if line.startswith("test_images = "):
            text = text.replace(line, f'images = "{images}"\ntest_images = "{test}"')
    tiny.toml.write_text(text)


def test_a_folder_of_test_images_among_those_of_classes_is_named(tiny: Tiny) -> None:
    folders(tiny)
    with pytest.raises(CompetitionError, match="'test' is not a class .*has the test images"):
        checked(tiny)


def test_a_hidden_folder_is_no_class(tiny: Tiny) -> None:
    folders(tiny, "train/{class}/{id}.png")
    hidden = tiny.folder / "train" / ".ipynb_checkpoints" / "a-checkpoint.png"
    hidden.parent.mkdir()
    hidden.write_bytes(b"x")
    checked(tiny)


def test_an_image_of_each_kind_is_opened(tiny: Tiny) -> None:
    as_files(tiny)
    (tiny.folder / "test" / "t1.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match=r"t1.png: not an image .*git lfs pull"):
        checked(tiny)
    # Where bad ones are allowed, the next one shows that the others are images.
    checked(tiny, ("sizes = [8]", 'sizes = [8]\non_bad_test_image = "prior"'))


def test_the_ids_of_a_sample_with_and_without_ending(tiny: Tiny) -> None:
    as_files(tiny)
    rows = tiny.sample.read_text().splitlines()
    tiny.sample.write_text("\n".join([rows[0], *(row.replace(",", ".png,") for row in rows[1:])]))
    with pytest.raises(DataError, match=r"id 't1.png' is not in .*; there is 't1', without '.png'"):
        checked(tiny)


def test_an_archive_in_place_of_the_folder(tiny: Tiny, tmp_path: Path) -> None:
    as_files(tiny)
    (tiny.folder / "train").rename(tmp_path / "moved")
    (tiny.folder / "train.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no such folder .*train.zip: unpack it first"):
        checked(tiny)


def test_files_that_no_row_names_are_not_opened(tiny: Tiny) -> None:
    as_files(tiny)
    checked(tiny, ("{id}.png", "{id}.*"))
    (tiny.folder / "train" / "notes.txt").write_text("not an image")
    (tiny.folder / "train" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    checked(tiny)


def test_a_class_of_every_image_has_no_order(tiny: Tiny) -> None:
    relabelled(tiny, **{f"d{digit}": f"{digit} 0" for digit in range(1, 10)})
    checked(tiny, ('task = "multiclass"', 'task = "multilabel"'), ('"accuracy"', '"macro_f1"'))
    with pytest.raises(CompetitionError, match="'roc_auc': every image is of class '0'"):
        checked(tiny, ('"macro_f1"', '"roc_auc"'))
