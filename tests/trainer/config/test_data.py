from typing import Any

import pytest

from trainer.config.data import Data, External, TargetPart
from trainer.config.preparation import Folds, Records
from trainer.config.schema import parse
from trainer.errors import CompetitionError

FILES = {"source": "files", "images": "i/{id}.jpg", "test_images": "t/{id}.jpg"}
TABLE = {**FILES, "train": "t.csv", "id": "name", "target": "label"}
READY = {
    "source": "tfrecords",
    "images": "a-{size}/*.tfrec",
    "test_images": "b-{size}/*.tfrec",
    "id": "id",
    "target": "class",
}
PIXELS = {"source": "pixels", "train": "a.csv", "test": "b.csv", "target": "label"}
PART = {"column": "age", "bins": [30, 60]}


@pytest.mark.parametrize(
    "table",
    [
        PIXELS,
        TABLE,
        {**TABLE, "test": "test.csv", "group": "who", "numeric": ["age"], "categorical": ["sex"]},
        {**FILES, "images": "i/{class}/{id}.*"},
        {**FILES, "images": "i/{class}/{group}_{id}.*"},
        {**TABLE, "target": "", "target_parts": [PART], "images": "i/{id}/{file}.*"},
        READY,
        {
            **READY,
            "validation_images": "c-{size}/*",
            "image": "jpeg",
            "group": "patient_id",
            "numeric": ["age"],
        },
        {"source": "cifar10", "train": "data_batch_*", "test": "test_batch"},
        {
            **TABLE,
            "root": "gs://bucket/prefix",
            "external": [{"name": "2019", "train": "old.csv", "images": "old/{id}.jpg"}],
        },
        {
            **PIXELS,
            "external": [{"name": "old", "use": "folds", "train": "old.csv", "target": "digit"}],
        },
    ],
)
def test_what_fits_together(table: dict[str, Any]) -> None:
    assert parse(Data, table, "data").source == table["source"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {**PIXELS, "images": "x/{id}"},
            r"data: images = 'x/\{id\}': only applies to source = 'files' or 'tfrecords'",
        ),
        (
            {"source": "pixels", "test": "a.csv", "target": "y"},
            "train is missing: source = 'pixels' requires it",
        ),
        ({**TABLE, "id": ""}, "id is missing: train requires it"),
        (
            {**FILES, "images": "i/{class}/{id}", "test": "t.csv"},
            "id is missing: test requires it",
        ),
        ({**TABLE, "target": ""}, "target or target_parts must be given, and not both"),
        ({**TABLE, "target_parts": [PART]}, "target or target_parts must be given, and not both"),
        (
            {**TABLE, "images": "i/x.jpg"},
            r"images = 'i/x.jpg': must contain \{id\} exactly once; \{file\} is optional",
        ),
        ({**TABLE, "images": "i/{id}/{id}.jpg"}, r"must contain \{id\} exactly once"),
        ({**TABLE, "images": "i/{name}.jpg"}, r"must contain \{id\}"),
        ({**TABLE, "images": "i/{class}/{id}.jpg"}, r"must contain \{id\}"),
        (
            {**FILES, "images": "i/{id}.jpg"},
            r"must contain \{class\}, \{id\}, each exactly once; \{group\} is optional",
        ),
        (
            {**FILES, "images": "i/{class}/{id}", "numeric": ["age"]},
            "numeric = .*requires a CSV of labels",
        ),
        (
            {**FILES, "images": "i/{class}/{id}", "target": "y"},
            "target = 'y': requires a CSV of labels",
        ),
        ({**TABLE, "test_images": "t/{file}.jpg"}, r"test_images = .*must contain \{id\}"),
        (
            {**READY, "images": "a/{id}.tfrec"},
            r"images = 'a/\{id\}.tfrec': must not contain a placeholder other than \{size\}",
        ),
        (
            {**READY, "train": "t.csv"},
            "train = 't.csv': only applies to source = 'pixels' or 'files' or 'cifar10'",
        ),
        (
            {**READY, "images": "/abs/*.tfrec"},
            "images = '/abs/.*': must be a path below root, without ..",
        ),
        ({**READY, "images": "a/../*.tfrec"}, "must be a path below root, without .."),
        (
            {**TABLE, "numeric": ["age"], "categorical": ["age"]},
            "numeric and categorical name 'age' more than once",
        ),
        (
            {**TABLE, "numeric": ["label"]},
            "numeric or categorical names 'label', which is a feature of every record",
        ),
        ({**TABLE, "categorical": ["image_name"]}, "numeric or categorical names 'image_name'"),
        (
            {**TABLE, "target": "", "target_parts": [{"column": "{file}", "values": ["a*", "b"]}]},
            r"target_parts use \{file\}, but images does not contain it",
        ),
        (
            {**TABLE, "external": [{"name": "a/b", "train": "x"}]},
            r"external\[0\].name = 'a/b': use letters, digits, _ and -",
        ),
        (
            {**TABLE, "external": [{"name": "a", "train": "x", "images": "x"}]},
            r"external\[0\].images = 'x': must contain \{id\}",
        ),
        (
            {**PIXELS, "root": "gs://Bad Bucket!/x"},
            "root = 'gs://Bad Bucket!/x': must be gs://bucket or gs://bucket/prefix",
        ),
        ({**PIXELS, "root": "gs://"}, "root = 'gs://': must be gs://bucket"),
        ({**PIXELS, "root": "gs://b//x"}, "must be gs://bucket"),
        (
            {"source": "cifar10", "train": "data_{1}_*", "test": "t"},
            r"train = 'data_\{1\}_\*': must not contain a placeholder",
        ),
        ({**PIXELS, "external": [{"name": "a"}]}, r"external\[0\].train is missing"),
        (
            {**PIXELS, "external": [{"name": "a", "train": "x"}, {"name": "a", "train": "y"}]},
            "external has more than one set named 'a'",
        ),
        (
            {**PIXELS, "external": [{"name": "a", "train": "x", "use": "test"}]},
            r"external\[0\].use = 'test': must be one of",
        ),
    ],
)
def test_what_does_not_is_named(table: dict[str, Any], words: str) -> None:
    with pytest.raises(CompetitionError, match=words):
        parse(Data, table, "data")


def test_an_external_set_has_its_own_names_where_it_says_so() -> None:
    data = parse(Data, {**TABLE, "test": "t2.csv", "group": "who"}, "data")
    own = data.of(External(name="2019", train="old.csv", images="old/{id}.png", id="image"))
    assert (own.train, own.images, own.id, own.target, own.group) == (
        "old.csv",
        "old/{id}.png",
        "image",
        "label",
        "who",
    )
    assert (own.test, own.test_images) == ("", "")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"column": "a"}, "values or bins must be given, and not both"),
        (
            {"column": "a", "values": ["x"], "bins": [1]},
            "values or bins must be given, and not both",
        ),
        ({"column": "a", "bins": [2, 1]}, r"bins = \[2.0, 1.0\]: must be in increasing order"),
        ({"column": "a", "bins": [1, 1]}, "must be in increasing order"),
    ],
)
def test_parts_of_a_label(part: dict[str, Any], words: str) -> None:
    with pytest.raises(CompetitionError, match=words):
        parse(TargetPart, part, "part")
    assert TargetPart(column="a", bins=[30.0, 60.0]).count() == 3
    assert TargetPart(column="a", values=["x", "y"]).count() == 2


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "sizes is missing"),
        ({"sizes": []}, r"sizes = \[\]: list at least one size, and none twice"),
        ({"sizes": [8, 8]}, "list at least one size, and none twice"),
        ({"sizes": [4]}, r"sizes\[0\] = 4: must be a whole number from 8 to 1024"),
        ({"sizes": 8}, "sizes = 8: must be a list"),
        ({"sizes": [8], "parts": 0}, "parts = 0"),
        (
            {"sizes": [8], "publish": "/local/folder"},
            "publish = '/local/folder': must be gs://bucket/prefix",
        ),
        ({"sizes": [8], "publish": "gs://bucket"}, "must be gs://bucket/prefix"),
        ({"sizes": [8], "publish": "gs://bucket/x/"}, "must be gs://bucket/prefix"),
        ({"sizes": [8], "publish": "gs://bucket//x"}, "must be gs://bucket/prefix"),
    ],
)
def test_records_that_cannot_be(table: dict[str, Any], words: str) -> None:
    with pytest.raises(CompetitionError, match=words):
        parse(Records, table, "records")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            {"file": "f.csv", "exclude_file": "x.txt"},
            "exclude_file = 'x.txt': cannot be combined with file",
        ),
        (
            {"file": "f.csv", "duplicates": "drop"},
            "duplicates = 'drop': cannot be combined with file",
        ),
        ({"file": "f.csv", "strata": ["age"]}, "strata = .*: cannot be combined with file"),
        (
            {"duplicates": "merge"},
            "duplicates = 'merge': must be one of 'group', 'drop', 'identical'",
        ),
    ],
)
def test_folds_that_cannot_be(table: dict[str, Any], words: str) -> None:
    with pytest.raises(CompetitionError, match=words):
        parse(Folds, table, "folds")
