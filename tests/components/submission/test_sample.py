from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.submission.sample import Sample, check_ids, read
from trainer.errors import DataError


@pytest.mark.parametrize("text", ["Id,L\nb,0\na,1\n", "\ufeffId,L\r\nb,0\r\na,1\r\n", 'Id,L\n"b",0\n\na,1'])
def test_header_ids_and_order(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.csv").write_bytes(text.encode())
    assert read(tmp_path / "s.csv") == Sample("Id", "L", ["b", "a"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty, where a header of two columns is meant"),
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
    with pytest.raises(DataError, match=r"s.csv: row 2, column 'Id': id '9' is not in test.csv \(1 such ids\)"):
        check_ids(Sample("Id", "L", ["1", "9"]), "s.csv", ["1", "2"], "test.csv")
    with pytest.raises(DataError, match=r"s.csv: no row for id '2', which is in test.csv \(9 such ids\)"):
        check_ids(Sample("Id", "L", ["1"]), "s.csv", map(str, range(1, 11)), "test.csv")


@given(st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1), st.randoms())
def test_any_order_of_the_same_ids_is_good(ids: list[str], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = ids.copy()
    random.shuffle(shuffled)
    check_ids(Sample("Id", "L", ids), "s.csv", shuffled, "test.csv")
