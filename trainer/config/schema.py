"""Typed sections: reads a table of keys into a frozen dataclass and reports every problem.

The fields of a section are the keys that it may have; their types, bounds and defaults are its
complete definition. A method `problems` of a section, if there is one, yields the problems that
involve several keys.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, NamedTuple, TypeVar

from trainer.errors import CompetitionError

Section = TypeVar("Section")
# Names of competitions, members and the like: they become file names and columns.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class Problem(NamedTuple):
    """One problem of a file.

    Attributes:
        key: the key with its section, such as `members[0].epochs`.
        message: the rest of a sentence that starts with the key.
    """

    key: str
    message: str


def number(default: Any = dataclasses.MISSING, *, low: float, high: float) -> Any:
    """Return a numeric field with inclusive bounds."""
    return field(default=default, metadata={"low": low, "high": high})


def optional_text() -> Any:
    """Return a text field whose default is "", which means that it is not set."""
    return field(default="", metadata={"may_be_empty": True})


def parse(section: type[Section], table: Mapping[str, Any], origin: str) -> Section:
    """Return a section as its dataclass, from TOML or from a pipeline parameter.

    Integers may arrive as floats, because kfp passes numbers inside dictionaries and lists as
    doubles.

    Args:
        section: a frozen dataclass of keys, such as those in trainer/config/competition.py.
        table: the keys and their values.
        origin: the file or parameter that `table` is from, for the error.

    Raises:
        CompetitionError: the table has problems: all of them, one per line.
    """
    problems: list[Problem] = []
    value = _section(section, table, "", problems)
    if problems:
        raise CompetitionError("\n".join(f"{origin}: {key} {message}" for key, message in problems))
    return value


def _section(section: type, table: object, where: str, problems: list[Problem]) -> Any:
    if not isinstance(table, Mapping):
        problems.append(Problem(where.rstrip("."), f"= {short(table)}: must be a table of keys"))
        return None
    before = len(problems)
    fields = {f.name: f for f in dataclasses.fields(section)}
    hints = typing.get_type_hints(section)
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            problems.append(
                Problem(
                    where + key, f"is an unknown key{hint} Allowed: {', '.join(sorted(fields))}"
                )
            )
    values = {}
    for name, spec in fields.items():
        if (
            name in table
            and spec.default is not dataclasses.MISSING
            and _same(spec.default, table[name])
        ):
            # A default may lie outside the bounds, if it means that the key is not set. A resolved
            # section, which states every key, must still be readable.
            values[name] = spec.default
        elif name in table:
            values[name] = _value(hints[name], table[name], where + name, spec.metadata, problems)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            problems.append(
                Problem(
                    where + name, f"is missing: it must be {_expected(hints[name], spec.metadata)}"
                )
            )
    if len(problems) > before:
        return None
    parsed = section(**values)
    if hasattr(parsed, "problems"):
        problems.extend(Problem(where + key, message) for key, message in parsed.problems())
    return parsed


def _same(default: object, value: object) -> bool:
    """Say whether a value is the default; 0 and 0.0 are the same, 0 and false are not."""
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _value(
    kind: Any, value: Any, key: str, bounds: Mapping[str, Any], problems: list[Problem]
) -> Any:
    if dataclasses.is_dataclass(kind):
        return _section(typing.cast(type, kind), value, key + ".", problems)
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        if not isinstance(value, Sequence) or isinstance(value, str):
            problems.append(Problem(key, f"= {short(value)}: must be {_expected(kind, bounds)}"))
            return None
        return [
            _value(item, entry, f"{key}[{index}]", bounds, problems)
            for index, entry in enumerate(value)
        ]
    if (
        kind is float
        and isinstance(value, int)
        and not isinstance(value, bool)
        and abs(value) < 2**53
    ):
        value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if typing.get_origin(kind) is Literal:
        fits = value in typing.get_args(kind)
    else:
        fits = type(value) is kind and (kind is not float or math.isfinite(value))
        if kind is str and fits:
            fits = value.isprintable() and bool(value or bounds.get("may_be_empty"))
    if fits and "low" in bounds and not bounds["low"] <= value <= bounds["high"]:
        fits = False
    if not fits:
        problems.append(Problem(key, f"= {short(value)}: must be {_expected(kind, bounds)}"))
    return value


def name_problems(name: str) -> Iterator[Problem]:
    """Yield the problem of a name, if it does not match `NAME`."""
    if not NAME.fullmatch(name):
        yield Problem(
            "name",
            f"= {name!r}: use lower-case letters, digits, _ and -; the first must be a letter; at"
            " most 63 characters",
        )


def placeholder_problems(
    key: str, pattern: str, allowed: set[str], *, needed: set[str]
) -> Iterator[Problem]:
    """Yield the problem of a pattern with {placeholders}, if it has one.

    Args:
        key: the key of the pattern.
        pattern: the pattern; "" has no problem.
        allowed: the placeholders that it may contain.
        needed: the placeholders that it must contain, each once.
    """
    found = _PLACEHOLDER.findall(pattern)
    if pattern and (
        set(found) - allowed or needed - set(found) or (needed and len(found) != len(set(found)))
    ):
        required = ", ".join(f"{{{name}}}" for name in sorted(needed))
        optional = ", ".join(f"{{{name}}}" for name in sorted(allowed - needed))
        rule = (
            f"must contain {required}, each exactly once"
            if needed
            else f"must not contain a placeholder{' other than ' + optional if optional else ''}"
        )
        yield Problem(
            key,
            f"= {pattern!r}: {rule}" + (f"; {optional} is optional" if needed and optional else ""),
        )


def short(value: object) -> str:
    """Return the text of a value for a message, at most 200 characters of it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python refuses to print an integer with thousands of digits, and very deep nesting.
        return "a value too long to show"
    return text if len(text) <= 200 else text[:200] + "…"


def _expected(kind: Any, bounds: Mapping[str, Any]) -> str:
    """Describe the values that a key may have."""
    if dataclasses.is_dataclass(kind):
        return "a table of keys"
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        if dataclasses.is_dataclass(item):
            return "a list of tables"
        return f"a list, each entry {_expected(item, bounds)}"
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(kind))
    words: Mapping[Any, str] = types.MappingProxyType(
        {
            int: "a whole number",
            float: "a number",
            str: "a string of printable characters",
            bool: "true or false",
        }
    )
    limits = f" from {bounds['low']} to {bounds['high']}" if "low" in bounds else ""
    return words[kind] + limits
