from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.submission.sample import (
    Sample,
    check_form,
    check_ids,
    read,
    read_answers,
    remarks,
)
from trainer.config.output import Submission
from trainer.errors import DataError


@pytest.mark.parametrize(
    "text", ["Id,L\nb,0\na,1\n", "\ufeffId,L\r\nb,0\r\na,1\r\n", 'Id,L\n"b",0\n\na,1']
)
def test_header_ids_and_order(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert read(tmp_path / "s.csv") == Sample("Id", ("L",), ["b", "a"], [("0",), ("1",)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty; expected a header of two columns"),
        ("Id,L\n", "a header and no rows"),
        ("Id\n1\n", "the header has 1 columns"),
        ("Id,L\n1,0\n2\n", "row 2 has 1 columns"),
        ("Id,L\n1,0\n2,0\n1,0\n", "row 3, column 'Id': id '1' is already in row 1"),
        ("Id,L\n1,0\n,0\n", "row 2, column 'Id': an empty id"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "s.csv")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.csv: no such file"):
        read(tmp_path / "none.csv")


def test_ids_that_differ_are_named_both_ways() -> None:
    with pytest.raises(
        DataError, match=r"s.csv: row 2, column 'Id': id '9' is not in test.csv \(1 such ids\)"
    ):
        check_ids(Sample("Id", ("L",), ["1", "9"], []), "s.csv", ["1", "2"], "test.csv")
    with pytest.raises(
        DataError, match=r"s.csv: no row for id '2', which is in test.csv \(9 such ids\)"
    ):
        check_ids(Sample("Id", ("L",), ["1"], []), "s.csv", map(str, range(1, 11)), "test.csv")


@given(st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1), st.randoms())
def test_any_order_of_the_same_ids_is_good(ids: list[str], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = ids.copy()
    random.shuffle(shuffled)
    check_ids(Sample("Id", ("L",), ids, []), "s.csv", shuffled, "test.csv")


FORMS = [
    ("class", ["0", "1"], None),
    ("class", ["rose", "lily"], None),
    ("class", ["placeholder"], None),
    (
        "class",
        ["0", "2"],
        "writes names such as 'rose', but the sample has '0': use values = 'index'",
    ),
    ("index", ["0"], None),
    ("index", ["rose"], "writes numbers, but the sample has 'rose': use values = 'class'"),
    ("probability", ["0.5", "0"], None),
    ("probability", ["rose"], "writes numbers, but the sample has 'rose': use values = 'class'"),
]


@pytest.mark.parametrize(("values", "shown", "words"), FORMS)
def test_the_sample_shows_what_is_to_be_written(
    values: str, shown: list[str], words: str | None
) -> None:
    sample = Sample("id", ("label",), list("abcdef")[: len(shown)], [(value,) for value in shown])
    submission = Submission(sample="s.csv", values=values)  # type: ignore[arg-type]
    classes = ["0", "1"] if shown == ["0", "1"] else ["rose", "lily"]
    if words is None:
        check_form(sample, submission, classes, "multiclass")
    else:
        with pytest.raises(DataError, match=f"s.csv: submission.values = '{values}' {words}"):
            check_form(sample, submission, classes, "multiclass")


def test_a_wide_sample_has_a_column_a_class() -> None:
    wide = Sample("id", ("lily", "rose"), ["1"], [("0", "0")])
    check_form(wide, Submission(sample="s.csv", values="columns"), ["rose", "lily"], "multiclass")
    with pytest.raises(DataError, match="the sample's header lacks class 'oak'"):
        check_form(
            wide,
            Submission(sample="s.csv", values="columns"),
            ["rose", "lily", "oak"],
            "multiclass",
        )
    with pytest.raises(
        DataError, match="the sample's header has column 'lily', which is not a class"
    ):
        check_form(wide, Submission(sample="s.csv", values="columns"), ["rose"], "multiclass")
    with pytest.raises(
        DataError, match="the sample has 2 in addition to the ids: use values = 'columns'"
    ):
        check_form(wide, Submission(sample="s.csv"), ["rose", "lily"], "multiclass")


def test_answers_of_several_classes_and_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,l\n1,a;b\n2,\n")
    submission = Submission(sample="s", separator=";")
    found = read_answers(
        str(tmp_path / "a.csv"), submission, ["a", "b"], ["1", "2"], "s", several=True
    )
    assert found == {"1": {0, 1}, "2": set()}
    (tmp_path / "a.csv").write_text("id,l\n1,1\n2,0\n")
    numbers = Submission(sample="s", values="index")
    assert read_answers(
        str(tmp_path / "a.csv"), numbers, ["a", "b"], ["1", "2"], "s", several=False
    ) == {"1": {1}, "2": {0}}
    (tmp_path / "a.csv").write_text("id,l\n1,2\n2,0\n")
    with pytest.raises(DataError, match="a.csv: row 1, column 'l': '2' .id '1'. is not a class"):
        read_answers(str(tmp_path / "a.csv"), numbers, ["a", "b"], ["1", "2"], "s", several=False)


@pytest.mark.parametrize(
    ("values", "classes", "task", "shown", "words"),
    [
        ("class", ["1", "2", "3"], "multiclass", ["0"], None),
        (
            "class",
            ["01", "02"],
            "multiclass",
            ["1"],
            "write the classes in `classes` as the",
        ),
        (
            "class",
            ["a", "b"],
            "binary",
            ["0.5"],
            "has '0.5': use values = 'probability'",
        ),
        ("class", ["a", "b", "c"], "multiclass", ["?"], None),
        ("index", ["a", "b"], "multiclass", ["7"], "numbers 0 to 1, but the sample has '7'"),
        ("class", ["a", "b"], "multilabel", ["a b", ""], None),
    ],
)
def test_placeholders(
    values: str, classes: list[str], task: str, shown: list[str], words: str | None
) -> None:
    sample = Sample("id", ("label",), ["1", "2"][: len(shown)], [(value,) for value in shown])
    submission = Submission(sample="s.csv", values=values)  # type: ignore[arg-type]
    if words is None:
        check_form(sample, submission, classes, task)
    else:
        with pytest.raises(DataError, match=words) as caught:
            check_form(sample, submission, classes, task)
        # Positions would be wrong for classes that are numbers.
        assert "index" not in str(caught.value) or values == "index"


def test_a_placeholder_that_is_no_class_is_remarked() -> None:
    sample = Sample("id", ("label",), ["1"], [("?",)])
    (remark,) = remarks(sample, Submission(sample="s.csv", values="class"), ["a"], "multiclass")
    assert "'?' is not a class: taken as a placeholder" in remark
    known = Sample("id", ("label",), ["1"], [("a",)])
    assert not [*remarks(known, Submission(sample="s.csv", values="class"), ["a"], "multiclass")]


def test_an_index_that_pandas_wrote_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(",id,label\n0,x,a\n1,y,b\n")
    with pytest.raises(DataError, match="only numbers the rows, as pandas writes its index"):
        read(tmp_path / "s.csv")
    for text in ("Unnamed: 0,a,b\nx,0,1\ny,0,1\n", ",a,b\nx,0.1,1\ny,0.9,1\n"):
        (tmp_path / "s.csv").write_text(text)
        assert read(tmp_path / "s.csv").ids == ["x", "y"]


def test_answers_in_columns_and_in_zeros_and_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"

    def answers(text: str, values: str, *, several: bool = False) -> dict[str, frozenset[int]]:
        path.write_text(text)
        submission = Submission(sample="s", values=values)  # type: ignore[arg-type]
        return read_answers(str(path), submission, ["a", "b"], ["1", "2"], "s", several=several)

    assert answers("id,b,a\n1,1,0\n2,0,1.0\n", "columns") == {"1": {1}, "2": {0}}
    assert answers("id,b,a\n1,1,1\n2,0,0\n", "columns", several=True) == {"1": {0, 1}, "2": set()}
    assert answers("id,label\n1,b\n2,a\n", "columns") == {"1": {1}, "2": {0}}
    assert answers("id,t\n1,1\n2,0\n", "probability") == {"1": {1}, "2": {0}}
    with pytest.raises(DataError, match=r"row 1 .*: expected 1 in exactly one column"):
        answers("id,b,a\n1,1,1\n2,0,1\n", "columns")
    with pytest.raises(DataError, match="expected 0 or 1 in each column, but they have 0.5, 0.5"):
        answers("id,b,a\n1,0.5,0.5\n2,0,1\n", "columns")
    with pytest.raises(DataError, match="its columns are 'c', 'a' in addition to the ids"):
        answers("id,c,a\n1,0,1\n2,0,1\n", "columns")
