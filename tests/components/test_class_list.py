from pathlib import Path

import pytest

from components import class_list
from trainer.errors import CompetitionError, DataError

MANY = [f"species {number}" for number in range(15_501)]


def test_a_short_list_stays_a_list(tmp_path: Path) -> None:
    arguments = {"classes": ["a", "b"], "data": {"root": "x"}}
    assert class_list.shortened(arguments, str(tmp_path), class_list.write_locally) == arguments
    assert list(tmp_path.iterdir()) == []
    assert class_list.names(["a", "b"]) == ["a", "b"]
    # A class may be named like a file, in a list of several.
    assert class_list.names(["file:a", "b"]) == ["file:a", "b"]


def test_a_long_list_becomes_a_file_named_by_its_contents(tmp_path: Path) -> None:
    written = [
        class_list.shortened({"classes": MANY[:length]}, str(tmp_path), class_list.write_locally)[
            "classes"
        ]
        for length in (15_501, 15_500, 15_501)
    ]
    assert written[0] == written[2] != written[1]
    assert class_list.names(written[0]) == MANY
    assert class_list.location(written[0]).startswith(str(tmp_path))


def test_names_keep_their_spaces_and_letters(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeff Ährenfeld \r\nb\n\nc d\n".encode())
    assert class_list.names([f"file:{path}"]) == [" Ährenfeld ", "b", "c d"]


@pytest.mark.parametrize(
    ("contents", "message"),
    [(None, "No such file"), (b"", "is empty"), (b"\xff\xfe", "must be text in UTF-8")],
)
def test_a_file_that_is_no_list_is_named(
    contents: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "classes.txt"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(DataError, match=f"classes = file:{path}: .*{message}"):
        class_list.names([f"file:{path}"])


def test_settings_that_no_command_line_holds_are_refused(tmp_path: Path) -> None:
    arguments = {"classes": ["a", "b"], "members": [{"name": "m" * 500}] * 300}
    with pytest.raises(CompetitionError, match="members: takes 15") as refused:
        class_list.shortened(arguments, str(tmp_path), class_list.write_locally)
    assert "shorten it; of many members" in str(refused.value)
