from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.submission.sample import Sample, check_form, check_ids, read, read_answers
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
