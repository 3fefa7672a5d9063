import json
from typing import Any

import pytest

from components.check.resolve import resolve_competition
from tests.support.tiny import Tiny, in_bucket
from trainer.config.load import read
from trainer.errors import CompetitionError, DataError


def table(tiny: Tiny) -> dict[str, Any]:
    """Return the pipeline's arguments, with the paths as written in the file."""
    return read(tiny.toml).pipeline_arguments()


def test_sections_come_whole_and_with_digests(tiny: Tiny) -> None:
    values = table(tiny)
    resolved = resolve_competition(values, str(tiny.folder))
    assert resolved.data["train"] == str(tiny.train)
    assert resolved.submission["sample"] == str(tiny.sample)
    assert resolved.records["shard_images"] == 50
    assert (resolved.folds["count"], resolved.train["folds_per_task"]) == (3, 3)
    assert [member["name"] for member in resolved.members] == ["m0", "m1"]
    assert resolved.blend["method"] == "weights"
    digests = [bool(digest) for digest in resolved[-6:]]
    assert digests == [True, False, True, False, False, False]
    assert resolved.keep == 0
    # kfp passes numbers as floats.
    floats = json.loads(json.dumps(values).replace("50", "50.0"))
    assert resolve_competition(floats, str(tiny.folder)).records["shard_images"] == 50


def test_the_same_in_a_bucket(tiny: Tiny, bucket: str) -> None:
    values = table(tiny)
    in_bucket(tiny, bucket)
    local = resolve_competition(values, str(tiny.folder))
    resolved = resolve_competition(values, f"{bucket}/data/")
    assert resolved.data["root"] == f"{bucket}/data"
    assert resolved.data["train"] == f"{bucket}/data/train.csv"
    assert resolved.submission["sample"] == f"{bucket}/data/sample.csv"
    assert resolved.sample_digest == local.sample_digest


def test_a_change_of_a_file_changes_its_digest(tiny: Tiny) -> None:
    before = resolve_competition(table(tiny), str(tiny.folder))[-6:]
    tiny.sample.write_text(tiny.sample.read_text() + "\n")
    after = resolve_competition(table(tiny), str(tiny.folder))[-6:]
    same = [old == new for old, new in zip(before, after, strict=True)]
    assert same == [True, True, False, True, True, True]


def test_classes_may_be_in_a_file(tiny: Tiny) -> None:
    path = tiny.folder / "classes.txt"
    path.write_text("".join(f"{digit}\n" for digit in range(10)))
    values = {**table(tiny), "classes": [f"file:{path}"]}
    listed = resolve_competition(values, str(tiny.folder))
    assert listed._replace(classes_digest="") == resolve_competition(table(tiny), str(tiny.folder))
    # A run that reads another file reuses nothing of this one.
    path.write_text("".join(f"{digit}\n" for digit in reversed(range(10))))
    other = resolve_competition(values, str(tiny.folder))
    assert len({listed.classes_digest, other.classes_digest, ""}) == 3


@pytest.mark.parametrize("root", ["", "data", "../data"])
def test_without_a_place(tiny: Tiny, root: str) -> None:
    values = table(tiny)
    with pytest.raises(CompetitionError, match="must be the data's location, such as gs://"):
        resolve_competition(values, root)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("train", "../other/train.csv"),
        ("train", "gs://other/../bucket/train.csv"),
        ("test", "gs://Bucket/test.csv"),
        ("test", "a/./test.csv"),
        ("test", "gs://"),
    ],
)
def test_paths_that_leave_their_root_or_are_no_uri(tiny: Tiny, key: str, path: str) -> None:
    values = table(tiny)
    values["data"][key] = path
    with pytest.raises(
        CompetitionError,
        match="must be gs://bucket/path without . and .., or relative to gs://b-1/data",
    ):
        resolve_competition(values, "gs://b-1/data")


@pytest.mark.parametrize(
    "root",
    ["gs://b", "gs://UPPER/data", "gs://bucket/../data", "gs://bucket//data", "gs:bucket/data"],
)
def test_roots_that_are_none(tiny: Tiny, root: str) -> None:
    with pytest.raises(
        CompetitionError, match=r"root|'gs://bucket/../data': must be gs://bucket/path"
    ):
        resolve_competition(table(tiny), root)


def test_what_a_console_s_user_mistyped_is_named(tiny: Tiny) -> None:
    values = table(tiny)
    values["folds"]["cuont"] = 3
    values["metric"] = "acuracy"
    with pytest.raises(CompetitionError) as caught:
        resolve_competition(values, str(tiny.folder))
    assert "parameters: folds.cuont is an unknown key; did you mean 'count'?" in str(caught.value)
    for value in (None, [], "x"):
        with pytest.raises(
            CompetitionError, match="parameters: data = .*: must be a table of keys"
        ):
            resolve_competition({**table(tiny), "data": value}, str(tiny.folder))
    values = table(tiny)
    values["submission"]["sample"] = "none.csv"
    with pytest.raises(
        CompetitionError, match="parameters: submission.sample = .*none.csv': no such file"
    ):
        resolve_competition(values, str(tiny.folder))
    values = table(tiny)
    values["data"]["target"] = "digit"
    with pytest.raises(DataError, match="train.csv: no column 'digit'"):
        resolve_competition(values, str(tiny.folder))
