"""The text of each key and section, `foldline explain`, and the schema for editors."""

import tomllib
from typing import Any

import jsonschema
import pytest

from pipelines.definitions.compilation import DEFAULTS
from pipelines.reference.keys import FILES, Place, explain, json_schema, keys, places, split_doc
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.schema import parse
from trainer.errors import CompetitionError

PLACES = [place for file in FILES for place in places(file)]


@pytest.mark.parametrize(
    "place", [place for place in PLACES if place.path], ids=lambda place: place.path
)
def test_the_example_of_a_section_is_one(place: Place) -> None:
    _, example = split_doc(place.section)
    # A member is an example of a judge too, and the other way round.
    table: Any = tomllib.loads(example)
    path = (
        place.path
        if place.path.partition(".")[0] in table
        else place.path.replace("judge", "members")
    )
    for name in path.split("."):
        table = table[name]
        table = table[0] if isinstance(table, list) else table
    required = {"members": {"name": "m"}}.get(path, {})
    assert parse(place.section, {**required, **table}, "example")


def test_a_key_is_explained() -> None:
    text = explain("members[0].schedule.warmup_epochs")
    assert text.startswith(
        "warmup_epochs in [members.schedule]: a number from 0 to 1000 (epochs); default 0\n"
    )
    assert "Warm-up, for all kinds but ramp" in text
    assert explain("gan.steps").startswith("steps in [gan]: a whole number from 1 to 10000000")
    assert explain("seed").startswith("seed: a whole number from 0 to 2147483647; default 0")


def test_a_section_is_explained_with_an_example_and_its_keys() -> None:
    text = explain("members.optimizer")
    assert "    [members.optimizer]\n    kind = " in text
    assert "\nmomentum            Nesterov momentum of sgd.\n" in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("data.grup", "did you mean data.group?"),
        ("epochs", "did you mean members.epochs or judge.epochs?"),
        ("optimiser.momentum", "did you mean members.optimizer.momentum or "),
        ("nothing", "docs/configuration.md lists them"),
        ("", "docs/configuration.md lists them"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(CompetitionError, match="no competition file has this key") as caught:
        explain(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("path", DEFAULTS, ids=lambda path: path.name)
def test_editors_accept_the_files_that_parse_accepts(path: Any) -> None:
    table = tomllib.loads(path.read_text())
    file = Gan if "gan" in table else Competition
    schema = json_schema(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(table, schema)
    for change in (
        {"sede": 1},
        {"seed": -1},
        {"seed": "1"},
        {"data": {}},
        {"records": {"sizes": [1]}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(table | change, schema)


def test_the_schema_describes_every_key_with_its_unit_and_bounds() -> None:
    tables = json_schema(Competition)["$defs"]
    rotation = tables["Augment"]["properties"]["rotation"]
    assert rotation == {
        "type": "number",
        "default": 0.0,
        "minimum": 0,
        "maximum": 180,
        "description": "Largest rotation, in either direction. Default: 0. Unit: degrees.",
    }
    assert tables["Records"]["properties"]["sizes"]["items"]["minimum"] == 8
    gan = json_schema(Gan)["$defs"]
    for place in PLACES:
        for name in keys(place.section):
            table = gan.get(place.section.__name__)
            assert table is None or table["properties"][name]["description"], name
