import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.artifacts.csv_rows import read_rows, read_two_columns
from trainer.errors import DataError


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "\ufeffa,b\r\n1,2\r\n", "a,b\r1,2", '\n"a",b\n\n1,"2"\n\n']
)
@pytest.mark.parametrize("packed", [False, True])
def test_rows(tmp_path: Path, text: str, packed: bool) -> None:
    path = tmp_path / ("x.csv.gz" if packed else "x.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    assert list(read_rows(path)) == [["a", "b"], ["1", "2"]]
    assert read_two_columns(path) == (("a", "b"), [("1", "2")])


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    for name in ("any.csv", "any.csv.gz"):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        said, rows = str(path), [["x"]]
        try:
            rows = list(read_rows(path))
        except DataError as error:
            said = str(error)
        assert all(rows)
        assert said.startswith(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,\xff\n", "x.csv: not a CSV file in UTF-8"),
        (b"a,b\n1,2\n3\n", "x.csv: row 2 has 1 columns"),
        (b"a,b\n1,2\n1,3\n", "x.csv: row 2, column 'a': id '1' is already in row 1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_two_columns(tmp_path / "x.csv")


def test_a_missing_file_a_folder_and_half_a_gzip_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.csv: no such file"):
        next(read_rows(tmp_path / "none.csv"))
    with pytest.raises(DataError, match="is a directory; expected a CSV file"):
        next(read_rows(tmp_path))
    whole = gzip.compress(b"a,b\n" * 1000)
    (tmp_path / "x.gz").write_bytes(whole[:-10])
    with pytest.raises(DataError, match="x.gz: not a complete gzip file"):
        list(read_rows(tmp_path / "x.gz"))


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"PK\3\4\x14", "an Excel workbook or a ZIP archive"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"PAR1", "a Parquet table"),
        (b'{"a": 1}', "a JSON document"),
    ],
)
def test_a_table_of_another_kind_is_named(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "t.csv").write_bytes(start)
    with pytest.raises(DataError, match=f"{kind}, not a CSV file: save the table as CSV"):
        list(read_rows(tmp_path / "t.csv"))
