import string
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.load import Lines

TEXT = '''\
# A comment.
classes = [
    "a",  # the first
    "b"
]

[data]
root = "x"
text = """
[records]
"""
[[members]]
name = "m0"
[[members.augment.one_of]]
hue = 0.1
[[members.augment.one_of]]
hue = 0.2

[[members]]
name = "m1"
cnn = { filters = [1, 2], strides = [1] }
loss.gamma = 2
[members.head]
dropout = 0.1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("classes", 2),
        ("classes[1]", 2),
        ("data", 7),
        ("data.root", 8),
        ("data.text", 9),
        ("members", 12),
        ("members[0].name", 13),
        ("members[0].augment.one_of[0].hue", 15),
        ("members[0].augment.one_of[1]", 16),
        ("members[0].augment.one_of[1].hue", 17),
        ("members[1]", 19),
        ("members[1].cnn.strides[0]", 21),
        ("members[1].loss.gamma", 22),
        ("members[1].head.dropout", 24),
        # A key that is missing is looked for in the table around it.
        ("data.train", 7),
        ("members[1].head.pooling", 23),
        ("members[1].epochs", 19),
        ("records.sizes", None),
    ],
)
def test_a_key_is_in_its_line(key: str, line: int | None) -> None:
    assert Lines(TEXT).find(key) == line


names = st.text(string.ascii_lowercase, min_size=1, max_size=4)


@given(st.dictionaries(names, st.dictionaries(names, st.integers(0, 9), max_size=4), max_size=4))
def test_every_key_of_any_file_is_in_its_line(tables: dict[str, dict[str, int]]) -> None:
    lines, expected = [], {}
    for table, keys in tables.items():
        lines.append(f"[{table}]")
        expected[table] = len(lines)
        for key, value in keys.items():
            lines.append(f"{key} = {value}")
            expected[f"{table}.{key}"] = len(lines)
    text = "\n".join(lines)
    tomllib.loads(text)
    found = Lines(text)
    assert {key: found.find(key) for key in expected} == expected


def test_a_list_of_thousands_of_lines_is_read_once() -> None:
    classes = "".join(f'    "c{number}",\n' for number in range(20_000))
    assert Lines(f"classes = [\n{classes}]\n[data]\nroot = 1\n").find("data.root") == 20_004
