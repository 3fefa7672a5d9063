from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.submission.sample import Sample, read
from components.submission.verify import breaches, check_file
from trainer.config.output import Submission
from trainer.errors import DataError

IDS = ["1", "2", "x,y"]
NARROW = Sample("id", ("label",), IDS, [])
WIDE = Sample("id", ("b", "a"), IDS, [])
GOOD = {
    "class": 'id,label\n1,a\n2,b\n"x,y",a\n',
    "index": 'id,label\n1,0\n2,1\n"x,y",1\n',
    "probability": 'id,label\n1,0.5\n2,1\n"x,y",1e-3\n',
    "columns": 'id,b,a\n1,0.5,0.5\n2,1,0\n"x,y",1e-3,0.999\n',
}


def found(tmp_path: Path, values: str, text: str, task: str = "multiclass") -> list[str]:
    (tmp_path / "s.csv").write_text(text)
    submission = Submission(sample="sample.csv", values=values, separator=" ")  # type: ignore[arg-type]
    sample = WIDE if values == "columns" else NARROW
    return list(breaches(tmp_path / "s.csv", sample, submission, ["a", "b"], task=task))


@pytest.mark.parametrize("values", list(GOOD))
def test_a_good_file_has_no_breach(tmp_path: Path, values: str) -> None:
    assert found(tmp_path, values, GOOD[values]) == []


BAD = [
    (
        "class",
        "id,label\n1,a",
        "ID,Label\n1,a",
        ["the header is ID,Label, but the sample has id,label"],
    ),
    ("class", "1,a\n", "1,c\n", ["row 1, id '1', column 'label': 'c' is not a class"]),
    ("class", "1,a\n", "1,\n", ["row 1, id '1', column 'label': '' is not a class"]),
    (
        "class",
        "2,b\n",
        "",
        [
            "row 2, id 'x,y', column 'id': the sample has '2' here",
            "row 3, id 'x,y', column 'id': the sample's row is missing",
        ],
    ),
    (
        "class",
        "1,a\n2,b\n",
        "2,b\n1,a\n",
        [
            "row 1, id '2', column 'id': the sample has '1' here",
            "row 2, id '1', column 'id': the sample has '2' here",
        ],
    ),
    (
        "class",
        "2,b\n",
        "2,b\n2,b\n",
        [
            "row 3, id '2', column 'id': is already in row 2",
            "row 4, id 'x,y', column 'id': is past the sample's last row, 3",
        ],
    ),
    (
        "class",
        "2,b\n",
        "2,b,b\n",
        ["row 2, id '2', column 'number 3': the row has 3 columns, but the sample has 2"],
    ),
    ("index", "2,1\n", "2,2\n", ["row 2, id '2', column 'label': '2' is not a number from 0 to 1"]),
    (
        "index",
        "2,1\n",
        "2,1.0\n",
        ["row 2, id '2', column 'label': '1.0' is not a number from 0 to 1"],
    ),
    ("probability", "0.5", "nan", ["row 1, id '1', column 'label': 'nan' is not a finite number"]),
    ("probability", "0.5", "inf", ["row 1, id '1', column 'label': 'inf' is not a finite number"]),
    ("probability", "0.5", "-0.1", ["row 1, id '1', column 'label': '-0.1' is not in 0 to 1"]),
    ("probability", "0.5", "1.01", ["row 1, id '1', column 'label': '1.01' is not in 0 to 1"]),
    ("columns", "id,b,a", "id,a,b", ["the header is id,a,b, but the sample has id,b,a"]),
    ("columns", "1,0.5,0.5", "1,0.5,", ["row 1, id '1', column 'a': '' is not a finite number"]),
    (
        "columns",
        "1,0.5,0.5",
        "1,0.5,0.4",
        ["row 1, id '1', columns 'b' to 'a': the probabilities sum to 0.9 instead of 1"],
    ),
]


@pytest.mark.parametrize(("values", "old", "new", "expected"), BAD)
def test_each_breach_is_a_line(
    tmp_path: Path, values: str, old: str, new: str, expected: list[str]
) -> None:
    assert old in GOOD[values]
    assert found(tmp_path, values, GOOD[values].replace(old, new, 1)) == expected


def test_lists_of_classes(tmp_path: Path) -> None:
    assert found(tmp_path, "class", 'id,label\n1,a b\n2,b\n"x,y",a\n', "multilabel") == []
    lines = found(tmp_path, "class", 'id,label\n1,a c\n2,b b\n"x,y",\n', "multilabel")
    assert lines == [
        "row 1, id '1', column 'label': 'a c' has 'c', which is not a class",
        "row 2, id '2', column 'label': 'b b' names a class twice",
    ]


def test_a_file_that_is_all_wrong_does_not_fill_the_screen(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,label\n" + "".join(f"{row},z\n" for row in range(500)))
    sample = Sample("id", ("label",), [str(row) for row in range(500)], [])
    with pytest.raises(DataError) as error:
        check_file(
            tmp_path / "s.csv", sample, Submission(sample="s"), ["a", "b"], task="multiclass"
        )
    lines = str(error.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith("480 more lines like these")


@given(
    st.lists(
        st.tuples(st.text('abc,"\n é', min_size=1), st.sampled_from(["a", "b"])),
        min_size=1,
        unique_by=lambda row: row[0],
    )
)
def test_any_ids_that_are_written_are_read(rows: list[tuple[str, str]]) -> None:
    import csv
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.csv"
        with open(path, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("id", "label"), *rows])
        assert check_file(
            path, read(path), Submission(sample="s"), ["a", "b"], task="multiclass"
        ) == len(rows)
