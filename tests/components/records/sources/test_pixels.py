import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.sources import pixels
from components.records.types import Item, Subset
from tests.support.tiny import write_pixels
from trainer.config.data import Data
from trainer.errors import DataError

HEADER = "label,pixel0,pixel1,pixel2,pixel3\n"


def read(path: Path, text: str | bytes) -> list[tuple[str, str, list[int]]]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        (item.row.id, str(item.row.label), item.load().ravel().tolist()) for item in items(path)
    ]  # type: ignore[union-attr]


def items(path: Path, first: int = 0, count: int = 1_000_000, **keys: object) -> list[Item]:
    data = Data(source="pixels", train=str(path), test="t", target="label", **keys)  # type: ignore[arg-type]
    return list(pixels.reader(Subset(data, "train", "", "")).items(first, count))


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "1,0,1,2,255\n2,4,5,6,7\n",
        "\ufeff" + HEADER + "1,0,1,2,255\n2,4,5,6,7\n",
        (HEADER + "1,0,1,2,255\n2,4,5,6,7\n").replace("\n", "\r\n"),
        HEADER + '"1","0",1,2,255\n2,4,5.0,6,7',
        HEADER + "\n1,0,1,2,255\n\n2,4,5,6,7\n\n",
        "pixel3,pixel1,other,label,pixel0,pixel2\n255,1,x,1,0,2\n7,5,y,2,4,6\n",
        'label,note,pixel0,pixel1,pixel2,pixel3\n1,"two\nlines",0,1,2,255\n2,,4,5,6,7\n',
        "\n" + HEADER + "1,0,1,2,255\n2,4,5,6,7\n",
        (HEADER + "1,0,1,2,255\n2,4,5,6,7\n").replace("\n", "\r"),
    ],
    ids=[
        "plain",
        "byte order mark",
        "carriage returns",
        "quotes and whole floats",
        "blank lines",
        "other order, more columns",
        "a line end in quotes",
        "a blank line first",
        "old Macintosh line ends",
    ],
)
def test_what_is_read(tmp_path: Path, text: str) -> None:
    assert read(tmp_path / "x.csv", text) == [("1", "1", [0, 1, 2, 255]), ("2", "2", [4, 5, 6, 7])]
    assert pixels.count(str(tmp_path / "x.csv")) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEADER + "1,0,1,2,3\n1,0,1,999,3\n",
            "row 2, column 'pixel2': 999 is not a whole number from 0 to 255",
        ),
        (HEADER + "1,0,1,2,3\n1,-1,1,2,3\n", "row 2, column 'pixel0': -1 is no"),
        (HEADER + "1,0,1.5,2,3\n", "row 1, column 'pixel1': 1.5 is no"),
        (HEADER + "1,0,1,x,3\n", "row 1, column 'pixel2': x is no"),
        (HEADER + "1,0,1,inf,3\n", "row 1, column 'pixel2': inf is no"),
        (HEADER + "1,0,True,2,3\n", "row 1, column 'pixel1': True is no"),
        (HEADER + "1,0,,2,3\n", "row 1, column 'pixel1': an empty cell is no"),
        (HEADER + "1,0,1,2\n", "row 1, column 'pixel3': an empty cell is no"),
        (HEADER + "1,0,1,2,3\n1,0,1,2,3,4\n", "row 2 has 6 cells, but the header has 5"),
        (HEADER + "1,0,1,2,3,4\n", "row 1 has 6 cells, but the header has 5"),
        (
            HEADER + "1,0,1,2,3\n" * 3000 + "1,0,1,2,3,4\n",
            "row 3001 has 6 cells, but the header has 5",
        ),
        ("label,pixels,x,y,z\n1,0,1,2,3\n", "no pixel columns"),
        ("label,pixel0,pixel1,pixel01,pixel2\n1,0,1,2,3\n", "'pixel01' are the same pixel"),
        ("label,pixel٠\n1,0\n", "no pixel columns"),
        (
            "label,pixel0,pixel99999999999\n1,0,1\n",
            "no column 'pixel1', though there is a 'pixel99999999999'",
        ),
        (HEADER + '1,0,1,2,3\n"1,0,1', "not a readable CSV|not a CSV"),
        (HEADER, "a header and no rows"),
        ("", "empty; expected a header"),
        ("digit,pixel0\n1,2\n", r"no column 'label' \(data.target\); it has 'digit', 'pixel0'"),
        ("label,a,b,c,d,e,f,g,h,i,j,k\n", "no pixel columns .* and 2 more"),
        ("label,pixel0,pixel1,pixel2,pixel4\n", "no column 'pixel3', though there is a 'pixel4'"),
        ("label,pixel0,pixel1,pixel2\n", "3 pixel columns do not make a square image"),
        ("label,pixel0,pixel0\n", "column 'pixel0' occurs more than once in the header"),
        (HEADER.encode() + b"\xff\xfe,1,2,3,4\n", "not a CSV file in UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path / "x.csv", text)
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))


def test_a_gzip_file_and_a_damaged_one(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + "1,0,1,2,255\n" * 3000).encode())
    path = tmp_path / "x.csv.gz"
    assert read(path, packed)[2999] == ("3000", "1", [0, 1, 2, 255])
    assert (pixels.layout(str(path)).side, pixels.count(str(path))) == (2, 3000)
    with pytest.raises(DataError, match="x.csv.gz: not"):
        read(path, packed[: len(packed) // 2])
    with pytest.raises(DataError, match="x.csv.gz: not a complete gzip file"):
        read(path, HEADER)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.csv: no such file"):
        pixels.layout(str(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="is a directory; expected a CSV file"):
        pixels.layout(str(tmp_path))


def test_rows_count_on_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_ROWS_AT_A_TIME", 2)
    rows = "".join(f"1,0,1,2,{value}\n" for value in (1, 2, 3, 4, 256))
    path = tmp_path / "x.csv"
    path.write_text(HEADER + rows)
    with pytest.raises(DataError, match="row 5, column 'pixel3': 256"):
        items(path)
    assert [item.row.id for item in items(path, 0, 4)] == ["1", "2", "3", "4"]
    # A part of the rows, across two chunks.
    assert [(item.row.id, item.load()[1, 1, 0]) for item in items(path, 1, 3)] == [
        ("2", 2),
        ("3", 3),
        ("4", 4),
    ]  # type: ignore[call-overload]


def test_tabular_columns_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("label,age,sex,who,pixel0\n1,5.5,f,p,7\n0,NA,,,8\n")
    one, two = (item.row for item in items(path, numeric=["age"], categorical=["sex"], group="who"))
    assert (one.numeric, one.categorical, one.group) == ((5.5,), ("f",), "p")
    assert np.isnan(two.numeric[0])
    assert (two.categorical, two.group) == (("",), "")
    path.write_text("label,age,pixel0\n1,old,7\n")
    with pytest.raises(DataError, match=r"x.csv: row 1, column 'age': 'old' is not a number"):
        items(path, numeric=["age"])


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_images_survive_the_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: int, side: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (rows, side, side, 1), dtype=np.uint8)
    path = tmp_path_factory.mktemp("trip") / "x.csv"
    write_pixels(path, images, generator.integers(0, 10, rows))
    read_back = np.stack([item.load() for item in items(path)])
    np.testing.assert_array_equal(read_back, images)


def test_blocks_that_follow_each_other_are_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(HEADER + "".join(f"1,0,1,2,{value}\n" for value in range(10)))
    opened = []
    real = pixels._chunks
    monkeypatch.setattr(pixels, "_chunks", lambda *given: opened.append(1) or real(*given))
    data = Data(source="pixels", train=str(path), test="t", target="label")
    reader = pixels.reader(Subset(data, "train"))
    seen = [item.row.id for first in range(0, 10, 3) for item in reader.items(first, 3)]
    assert seen == [str(number) for number in range(1, 11)]
    assert len(opened) == 1
    assert [item.row.id for item in reader.items(2, 2)] == ["3", "4"]
    assert len(opened) == 2
    # Rows that the caller did not take are still skipped correctly.
    assert next(reader.items(4, 3)).row.id == "5"
    assert [item.row.id for item in reader.items(7, 2)] == ["8", "9"]


def rows_of(tmp_path: Path, text: str, **keys: Any) -> list[tuple[str, str | int, Any]]:
    (tmp_path / "x.csv").write_text(text)
    data = Data(source="pixels", train=str(tmp_path / "x.csv"), target="label", **keys)
    opened = pixels.reader(Subset(data, "train"))
    items = list(opened.items(0, opened.rows))
    assert [row.id for row in pixels.rows(Subset(data, "train"))] == [i.row.id for i in items]
    return [(item.row.id, item.row.label, item.load()) for item in items]


@pytest.mark.parametrize(
    "columns",
    [
        "pixel1,pixel2,pixel3,pixel4",
        "pixel0000,pixel0001,pixel0002,pixel0003",
        "1x1,1x2,2x1,2x2",
        "0x0,0x1,1x0,1x1",
        "px_0,px_1,px_2,px_3",
        "0,1,2,3",
    ],
)
def test_popular_names_of_pixel_columns(tmp_path: Path, columns: str) -> None:
    ((id_, label, image),) = rows_of(tmp_path, f"label,{columns}\n7,1,2,3,4\n")
    assert (id_, label, image.tolist()) == ("1", "7", [[[1], [2]], [[3], [4]]])


def test_columns_in_any_order_and_further_numbered_ones(tmp_path: Path) -> None:
    text = "f1,pixel3,pixel0,label,pixel2,pixel1,f2\n9,4,1,7,3,2,9\n"
    ((_, _, image),) = rows_of(tmp_path, text)
    assert image.ravel().tolist() == [1, 2, 3, 4]


def test_colours_are_next_to_each_other(tmp_path: Path) -> None:
    header = ",".join(f"pixel{number:04}" for number in range(12))
    values = ",".join(map(str, range(12)))
    ((_, _, image),) = rows_of(tmp_path, f"{header},label\n{values},a\n")
    np.testing.assert_array_equal(image, np.arange(12).reshape(2, 2, 3))


def test_ids_are_those_of_the_file_where_it_has_some(tmp_path: Path) -> None:
    header = "label,pixel0,pixel1,pixel2,pixel3"
    assert rows_of(tmp_path, f"id,{header}\na7,x,1,2,3,4\n")[0][0] == "a7"
    assert rows_of(tmp_path, f"name,{header}\nb,x,1,2,3,4\n", id="name")[0][0] == "b"
    # A train file may do without ids where the test file has them.
    assert rows_of(tmp_path, f"{header}\nx,1,2,3,4\n", id="name")[0][0] == "1"
    data = Data(source="pixels", train="", test=str(tmp_path / "x.csv"), target="label", id="name")
    with pytest.raises(DataError, match=r"no column 'name' \(data.id\)"):
        pixels.reader(Subset(data, "test"))
