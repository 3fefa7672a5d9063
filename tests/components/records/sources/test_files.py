import os
import unicodedata
from pathlib import Path

import pytest

from components.records.images.decode import BadImage
from components.records.sources import files
from components.records.types import Item, Subset
from trainer.config.data import Data, TargetPart
from trainer.config.preparation import Records
from trainer.errors import DataError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


def read(
    root: Path, table: str | None, *, split: str = "train", skip: bool = False, **keys: object
) -> list[Item]:
    """Return the items of a table; its images are `i/<name>.jpg` by default."""
    if table is not None:
        (root / "t.csv").write_bytes(table.encode())
        keys = {
            "train": str(root / "t.csv"),
            "test": str(root / "t.csv"),
            "id": "name",
            "target": "label",
            **keys,
        }
    data = Data(
        source="files",
        root=str(root),
        **{"images": "i/{id}.jpg", "test_images": "i/{id}.jpg", **keys},
    )  # type: ignore[arg-type]
    opened = files.reader(
        Subset(data, split, "", ""), Records(sizes=[8], on_bad_image="skip" if skip else "fail")
    )
    return list(opened.items(0, opened.rows))


@pytest.mark.parametrize(
    "text",
    [
        "name,label\na,1\nb,2\n",
        "\ufeffname,label\r\na,1\r\nb,2\r\n",
        'label,x,name\n1,,"a"\n\n2,"p\nq",b',
    ],
)
def test_rows_in_the_order_of_the_table(tmp_path: Path, text: str) -> None:
    put(tmp_path, "i/b.jpg", "i/a.jpg")
    found = read(tmp_path, text)
    assert [(item.row.id, item.row.label, item.row.group, item.load()) for item in found] == [
        ("a", "1", "", b"i/a.jpg"),
        ("b", "2", "", b"i/b.jpg"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty; expected a header"),
        ("name,label\n", "a header and no rows"),
        ("name,class\na,1\n", r"no column 'label' \(data.target\); it has 'name', 'class'"),
        ("name,label,label\na,1,1\n", "more than one column 'label'"),
        ("name,label\na,1\na,2\n", "row 2, column 'name': id 'a' is already in row 1"),
        ("name,label\n,1\n", "row 1, column 'name': an empty cell"),
        ("name,label\na\n", "row 1 has 1 cells, but the header has 2"),
        (
            "name,label\nb,1\nq,1\n",
            r"row 1: no file for id 'b' matches i/\{id\}.jpg \(2 such ids, also 'q'\)$",
        ),
        (
            "name,label\na.jpg,1\n",
            r"no file for id 'a.jpg' .*; there is .*i/a.jpg: write i/\{id\} for ids with an ending",
        ),
        ("name,label\nsecret,1\n", r"no file for id 'secret' .*; there is .*secret.jpg .1 such"),
        (
            'name,label\n"a\x07",1\n',
            "row 1, column 'name': id 'a.x07' has a character that cannot be printed",
        ),
        (
            'name,label\n"a\nb",1\n',
            "row 1, column 'name': id 'a.nb' has a character that cannot be printed",
        ),
        ("name,label\n../secret,1\n", "row 1: no file for id '../secret'"),
        ("name,label\na,1\nA,1\n", "row 2: no file for id 'A'"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(tmp_path: Path, text: str, words: str) -> None:
    put(tmp_path, "i/a.jpg", "secret.jpg")
    with pytest.raises(DataError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "id_", ["=1+1", "+x", "-x", "@x", "sub/x", "a b", "ä", "日本", "x'y", "..x", "#x", "%41"]
)
def test_ids_that_look_dangerous_are_texts_like_others(tmp_path: Path, id_: str) -> None:
    put(tmp_path, f"i/{id_}.jpg")
    (item,) = read(tmp_path, f"name,label\n{id_},1\n")
    assert (item.row.id, item.load()) == (id_, f"i/{id_}.jpg".encode())


def test_ids_that_differ_in_case_only_are_two(tmp_path: Path) -> None:
    put(tmp_path, "i/a.jpg", "i/A.jpg")
    assert [item.load() for item in read(tmp_path, "name,label\nA,1\na,2\n")] == [
        b"i/A.jpg",
        b"i/a.jpg",
    ]


def test_a_letter_written_as_two_characters_is_found(tmp_path: Path) -> None:
    # macOS decomposes letters in file names (NFD); tables do not.
    name = unicodedata.normalize("NFD", "é")
    put(tmp_path, f"i/{name}.jpg")
    (item,) = read(tmp_path, "name,label\né,1\n")
    assert item.row.id == "é"
    assert item.file.endswith(f"{name}.jpg")


def test_missing_values_of_every_kind(tmp_path: Path) -> None:
    put(tmp_path, "i/a.jpg", "i/b.jpg")
    keys = {"numeric": ["age"], "categorical": ["sex"], "group": "who"}
    one, two = (
        item.row
        for item in read(tmp_path, "name,label,age,sex,who\na,1,30,f,p\nb,2,nan,NA,NA\n", **keys)
    )
    assert (one.numeric, one.categorical, one.group) == ((30.0,), ("f",), "p")
    assert two.numeric[0] != two.numeric[0]
    assert (two.categorical, two.group) == (("",), "")
    with pytest.raises(DataError, match="t.csv: row 1, column 'age': 'x' is not a number"):
        read(tmp_path, "name,label,age,sex,who\na,1,x,f,p\n", **keys)
    for cell in ("1e999", "1_000"):
        with pytest.raises(DataError, match=f"column 'age': '{cell}' is not a number"):
            read(tmp_path, f"name,label,age,sex,who\na,1,{cell},f,p\n", **keys)
    with pytest.raises(DataError, match=r"no column 'sex' \(data.categorical\)"):
        read(tmp_path, "name,label,age,who\na,1,3,p\n", **keys)


def test_an_id_without_a_file_may_be_skipped(tmp_path: Path) -> None:
    put(tmp_path, "i/a.jpg")
    good, missing = read(tmp_path, "name,label\na,1\nq,1\n", skip=True)
    assert good.load() == b"i/a.jpg"
    with pytest.raises(BadImage, match=r"no file matches i/\{id\}.jpg"):
        missing.load()
    with pytest.raises(DataError, match="no file for id 'q'"):
        read(tmp_path, "name,label\na,1\nq,1\n", skip=True, split="test")


def test_two_files_of_one_id(tmp_path: Path) -> None:
    put(tmp_path, "i/a.jpg", "i/a.png")
    with pytest.raises(DataError, match=r"a.png: a second file for id 'a', after .*/i/a.jpg"):
        read(tmp_path, "name,label\na,1\n", images="i/{id}.*")


def test_files_without_a_row(tmp_path: Path) -> None:
    put(tmp_path, "i/a.jpg", "i/b.jpg", "i/t.jpg", "i/c.txt")
    (tmp_path / "t.csv").write_text("name,label\na,1\n")
    (tmp_path / "test.csv").write_text("name\nt\n")
    data = Data(
        source="files",
        root=str(tmp_path),
        train=str(tmp_path / "t.csv"),
        test=str(tmp_path / "test.csv"),
        id="name",
        target="label",
        images="i/{id}.jpg",
        test_images="i/{id}.jpg",
    )
    # Both splits share one folder: an image that either names is used.
    assert files.unused(data, Records(sizes=[8])) == [f"{tmp_path}/i/b.jpg"]


def test_class_folders(tmp_path: Path) -> None:
    put(
        tmp_path,
        "train/rose/1.jpg",
        "train/daisy/1.jpg",
        "train/daisy/2.png",
        "train/x.jpg",
        "train/rose/deep/3.jpg",
    )
    found = read(tmp_path, None, images="train/{class}/{id}.*", test_images="train/{id}.jpg")
    assert [(item.row.id, item.row.label) for item in found] == [
        ("daisy/1", "daisy"),
        ("daisy/2", "daisy"),
        ("rose/1", "rose"),
    ]
    put(tmp_path, "train/rose/1.png")
    with pytest.raises(
        DataError, match=r"rose/1.png: a second file for id 'rose/1', after .*rose/1.jpg"
    ):
        read(tmp_path, None, images="train/{class}/{id}.*", test_images="train/{id}.jpg")
    with pytest.raises(DataError, match="no file matches 'train/{class}/{id}.gif'"):
        read(tmp_path, None, images="train/{class}/{id}.gif", test_images="train/{id}.jpg")


@pytest.mark.parametrize("name", [b"a\x07.jpg", b"\xff\xfe.jpg", b"a\nb.jpg"])
def test_file_names_that_cannot_be_printed(tmp_path: Path, name: bytes) -> None:
    put(tmp_path, "t/rose/1.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path / "t" / "rose") + b"/" + name)).write_bytes(b"")
    with pytest.raises(DataError, match="a name with a character that cannot be printed"):
        read(tmp_path, None, images="t/{class}/{id}.jpg", test_images="t/{id}.jpg")


def test_class_folders_may_name_a_group(tmp_path: Path) -> None:
    put(tmp_path, "t/rose/p1_1.jpg", "t/rose/p1_2.jpg", "t/daisy/p2_1.jpg")
    found = read(tmp_path, None, images="t/{class}/{group}_{id}.jpg", test_images="t/{id}.jpg")
    assert [(item.row.id, item.row.group) for item in found] == [
        ("daisy/p2/1", "p2"),
        ("rose/p1/1", "p1"),
        ("rose/p1/2", "p1"),
    ]


MASKS = [
    TargetPart(column="{file}", values=["mask*", "incorrect", "normal"]),
    TargetPart(column="gender", values=["male", "female"]),
    TargetPart(column="age", bins=[30.0, 60.0]),
]


def test_a_row_that_names_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "i/p1/mask1.jpg", "i/p1/normal.png", "i/p2/incorrect.jpg", "i/p2/deep/mask9.jpg")
    keys = {"images": "i/{id}/{file}.*", "target": "", "target_parts": MASKS, "group": "name"}
    found = read(tmp_path, "name,gender,age\np1,female,30\np2,male,60\n", **keys)
    assert [(item.row.id, item.row.label, item.row.group) for item in found] == [
        ("p1/mask1", 0 * 6 + 3 + 1, "p1"),
        ("p1/normal", 2 * 6 + 3 + 1, "p1"),
        ("p2/incorrect", 1 * 6 + 0 + 2, "p2"),
    ]
    with pytest.raises(DataError, match=r"row 1, column 'gender': 'x' is not one of male, female"):
        read(tmp_path, "name,gender,age\np1,x,30\n", **keys)
    with pytest.raises(DataError, match=r"row 1, column 'age': an empty cell"):
        read(tmp_path, "name,gender,age\np1,male,\n", **keys)
    put(tmp_path, "i/p1/hat.jpg")
    with pytest.raises(
        DataError, match=r"column '\{file\}': 'hat' is not one of mask\*, incorrect, normal"
    ):
        read(tmp_path, "name,gender,age\np1,male,30\n", **keys)
