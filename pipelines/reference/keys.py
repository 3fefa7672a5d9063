"""What the keys of a competition file mean, for documentation, editors and `foldline explain`."""

import ast
import dataclasses
import difflib
import functools
import inspect
import sys
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.schema import (
    Section,
    Within,
    adapter,
    annotations,
    bare,
    bounds,
    describe,
    word,
)
from trainer.errors import CompetitionError
from trainer.metrics.names import HIGHER_IS_BETTER

FILES = (Competition, Gan)


class Key(NamedTuple):
    """A key of a section.

    Attributes:
        name: the key.
        text: what it means: sentences in Markdown.
        kind: its annotation.
        default: its default in TOML, such as `0.3`; None if the key is required, and "" if it is a
            section of its own.
        unit: what a number counts or measures, or "".
    """

    name: str
    text: str
    kind: Any
    default: str | None
    unit: str

    def allowed(self) -> str:
        """Return the allowed values in words."""
        unit = f" ({self.unit})" if self.unit else ""
        return describe(self.kind).replace("a string of printable characters", "text") + unit


class Place(NamedTuple):
    """A section and where it is in the file.

    Attributes:
        path: its path, such as `members.augment`; "" for the top of the file.
        is_list: whether the file may have several, as in `[[members]]`.
        section: the class of the section.
    """

    path: str
    is_list: bool
    section: type

    def header(self) -> str:
        """Return the section's header in TOML; "" for the top of the file."""
        if not self.path:
            return ""
        return f"[[{self.path}]]" if self.is_list else f"[{self.path}]"


@functools.cache
def keys(section: type) -> dict[str, Key]:
    """Return the keys of a section by name."""
    texts: dict[str, str] = {}
    for base in reversed(section.__mro__[: section.__mro__.index(Section)]):
        texts |= _texts(base.__module__).get(base.__name__, {})
    kinds = annotations(section)
    return {
        f.name: Key(
            f.name, texts[f.name], kinds[f.name], _default(f, kinds[f.name]), _unit(kinds[f.name])
        )
        for f in dataclasses.fields(section)
    }


@functools.cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return the text below each field, by class and field. Python keeps it in the source only."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                field.target.id: " ".join(text.value.value.split())
                for field, text in zip(node.body, node.body[1:], strict=False)
                if isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            }
    return found


def _bounds(kind: Any) -> Within | None:
    """Return the bounds of a number, or of the numbers in a list."""
    return bounds(kind) or next(filter(None, map(bounds, typing.get_args(bare(kind)))), None)


def _unit(kind: Any) -> str:
    found = _bounds(kind)
    return found.unit if found else ""


def _default(field: "dataclasses.Field[Any]", kind: Any) -> str | None:
    if field.default is not dataclasses.MISSING:
        return _toml(field.default or word(kind) or field.default)
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        return "" if dataclasses.is_dataclass(value) else _toml(value)
    return None


def _toml(value: Any) -> str:
    """Return a default as it would be written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if value else "0"


def places(file: type) -> Iterator[Place]:
    """Yield the sections of a kind of file in the order of its keys, each before its subsections.

    Args:
        file: `Competition` or `Gan`.
    """
    yield from _places(Place("", False, file))


def _places(place: Place) -> Iterator[Place]:
    yield place
    for key in keys(place.section).values():
        inner = bare(key.kind)
        is_list = typing.get_origin(inner) is list
        section = bare(typing.get_args(inner)[0]) if is_list else inner
        if dataclasses.is_dataclass(section):
            path = f"{place.path}.{key.name}".lstrip(".")
            yield from _places(Place(path, is_list, typing.cast(type, section)))


def split_doc(section: type) -> tuple[str, str]:
    """Return the text of a section in Markdown, and the example in TOML that follows it."""
    text, _, example = inspect.cleandoc(section.__doc__ or "").partition("\n```toml\n")
    return text.strip(), example.removesuffix("```").strip()


def explain(name: str) -> str:
    """Return what a key or a section means, as text for a terminal.

    Args:
        name: a section, such as `members.optimizer`; a key with its section, such as `data.group`;
            or a key at the top of the file. Indices, as in `members[0].epochs`, are ignored.

    Raises:
        CompetitionError: there is no such key.
    """
    wanted = "".join(part.partition("]")[2] if "]" in part else part for part in name.split("["))
    everything = [place for file in FILES for place in places(file)]
    for place in everything:
        if wanted and wanted == place.path:
            return _explain_section(place)
    known: dict[str, None] = {}
    for place in everything:
        for key in keys(place.section).values():
            path = f"{place.path}.{key.name}".lstrip(".")
            if wanted == path:
                return _explain_key(key, place)
            known[path] = None
    last = wanted.rpartition(".")[2]
    close = [path for path in known if path.rpartition(".")[2] == last]
    close = close or difflib.get_close_matches(wanted, known, n=1)
    hint = (
        f"; did you mean {' or '.join(close[:3])}?"
        if close
        else ": docs/configuration.md lists them"
    )
    raise CompetitionError(f"{name}: no competition file has this key{hint}")


def _explain_key(key: Key, place: Place) -> str:
    default = "required" if key.default is None else f"default {key.default}"
    where = f" in {place.header()}" if place.path else ""
    body = textwrap.fill(
        key.text.replace("`", ""), 88, initial_indent="    ", subsequent_indent="    "
    )
    return f"{key.name}{where}: {key.allowed()}; {default}\n\n{body}"


def _explain_section(place: Place) -> str:
    text, example = split_doc(place.section)
    lines = [text.replace("`", ""), "", textwrap.indent(example, "    "), ""]
    for key in keys(place.section).values():
        meaning = first_sentence(key.text).replace("`", "")
        lines += textwrap.wrap(f"{key.name:<20}{meaning}", 96, subsequent_indent=" " * 20)
    return "\n".join(lines)


def first_sentence(text: str) -> str:
    """Return the text up to the first full stop that ends a sentence."""
    return text.partition(". ")[0].rstrip(".") + "."


def json_schema(file: type) -> dict[str, Any]:
    """Return the JSON schema of a kind of file, for editors.

    Args:
        file: `Competition` or `Gan`.
    """
    schema = adapter(file).json_schema()
    tables = {**schema["$defs"], file.__name__: schema}
    for section in {place.section for place in places(file)}:
        table = tables[section.__name__]
        table["description"] = split_doc(section)[0].replace("`", "")
        for name, key in keys(section).items():
            spec = table["properties"][name]
            spec.pop("title", None)  # a reference to a section has none
            if limits := _bounds(key.kind):
                number = spec.get("items", spec)
                del number["ge"], number["le"]
                number |= {"minimum": limits.low, "maximum": limits.high}
            if instead := word(key.kind):
                number = {name: spec.pop(name) for name in ("type", "minimum", "maximum")}
                spec["anyOf"] = [{"const": instead}, number]
            spec["description"] = key.text.replace("`", "")
            if key.default:
                spec["description"] += f" Default: {key.default}."
            if key.unit:
                spec["description"] += f" Unit: {key.unit}."
    if "metric" in schema["properties"]:
        schema["properties"]["metric"]["enum"] = list(HIGHER_IS_BETTER)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
