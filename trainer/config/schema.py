"""Sections of a file: reads a table of keys into a frozen dataclass and reports every problem.

The fields of a section are the keys that it may have. Their annotations say which values pydantic
accepts, and the text below a field says what the key means, for docs/configuration.md, editors and
`foldline explain`. A method `problems` yields the problems that involve several keys.
"""

import dataclasses
import difflib
import functools
import re
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar

import annotated_types
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from trainer.errors import CompetitionError, FileProblem, shown

Read = TypeVar("Read", bound="Section")
# Names of competitions, members and the like: they become file names and columns.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# The type of pydantic's errors that come from a section's own `problems`.
_OWN = "problem"


def _as_whole(value: object) -> object:
    # kfp passes numbers inside dictionaries and lists as doubles.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_number(value: object) -> object:
    exact = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(typing.cast(int, value)) if exact else value


def _printable(value: str) -> str:
    # A key that may be empty has "" as its default, which is accepted before this is asked.
    if not value or not value.isprintable():
        raise ValueError
    return value


Whole: TypeAlias = Annotated[int, Strict(), BeforeValidator(_as_whole)]
Number: TypeAlias = Annotated[float, Strict(), AllowInfNan(False), BeforeValidator(_as_number)]
Flag: TypeAlias = Annotated[bool, Strict()]
Text: TypeAlias = Annotated[str, Strict(), AfterValidator(_printable)]


class Problem(NamedTuple):
    """One problem of a file.

    Attributes:
        key: the key with its section, such as `members[0].epochs`.
        message: the rest of a sentence that starts with the key.
    """

    key: str
    message: str


@dataclasses.dataclass(frozen=True)
class Within(annotated_types.GroupedMetadata):
    """The annotation of a number with inclusive bounds.

    Attributes:
        low: the smallest value.
        high: the largest value.
        unit: what the number counts or measures, such as "seconds"; "" if it has none.
    """

    low: float
    high: float
    unit: str = ""

    def __iter__(self) -> Iterator[Any]:
        yield annotated_types.Ge(self.low)
        yield annotated_types.Le(self.high)


@dataclasses.dataclass(frozen=True)
class OrWord(annotated_types.GroupedMetadata):
    """The annotation of a number for which a word may stand; its value is then 0, the default.

    Attributes:
        word: the word, such as "auto".
    """

    word: str

    def __iter__(self) -> Iterator[Any]:
        yield BeforeValidator(lambda value: 0 if value == self.word else value)


class Section:
    """Base of all sections, which are frozen dataclasses with keyword arguments only.

    Only `parse` checks values; a section that the code makes or changes is not checked.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        return iter(())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        keys = core_schema.no_info_before_validator_function(
            functools.partial(_without_defaults, cls), handler(source)
        )
        return core_schema.no_info_after_validator_function(_checked, keys)


def _without_defaults(section: type, table: object) -> object:
    """Leave out the keys that have their default.

    A default may be outside the bounds, if it means that the key is not set, and a file that states
    every key must still be readable.
    """
    if not isinstance(table, Mapping):
        return table
    defaults = {f.name: f.default for f in dataclasses.fields(section)}
    missing = dataclasses.MISSING
    return {k: v for k, v in table.items() if not _same(defaults.get(k, missing), v)}


def _same(default: object, value: object) -> bool:
    """Say whether a value is the default; 0 and 0.0 are the same, 0 and false are not."""
    return value == default and isinstance(value, bool) == isinstance(default, bool)


def _checked(section: Section) -> Section:
    """Report the problems that involve several keys."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(_OWN, "{message}", {"key": key, "message": message}),
            input=None,
        )
        for key, message in section.problems()
    ]
    if details:
        raise ValidationError.from_exception_data(type(section).__name__, details)
    return section


@functools.cache
def adapter(section: Any) -> TypeAdapter[Any]:
    """Return what pydantic makes of a section."""
    return TypeAdapter(section)


def parse(
    section: type[Read],
    table: Mapping[str, Any],
    origin: str,
    line: Callable[[str], int | None] = lambda key: None,
) -> Read:
    """Return a section as its dataclass, from TOML or from a pipeline parameter.

    Integers may arrive as floats, because kfp passes numbers inside dictionaries and lists as
    doubles.

    Args:
        section: a frozen dataclass of keys, such as those in trainer/config/competition.py.
        table: the keys and their values.
        origin: the file or parameter that `table` is from, for the error.
        line: returns the line of a key in that file, or None.

    Raises:
        CompetitionError: the table has problems: all of them, one per line.
    """
    try:
        kind: Any = section
        return typing.cast(Read, adapter(kind).validate_python(table))
    except ValidationError as error:
        raise CompetitionError.of(
            [
                _problem(section, details, origin, line)
                for details in error.errors(include_url=False)
            ]
        ) from None


def _problem(
    section: type, details: Any, origin: str, line: Callable[[str], int | None]
) -> FileProblem:
    """Return one of pydantic's errors in words."""
    kind, value, place = details["type"], details["input"], details["loc"]
    expected, close = "", ""
    key = _joined(place)
    if kind == _OWN:
        context = details["ctx"]
        key = f"{key}.{context['key']}".lstrip(".")
        value, message = None, context["message"]
    elif kind == "unexpected_keyword_argument":
        names = sorted(f.name for f in dataclasses.fields(_at(section, place[:-1])))
        expected = ", ".join(names)
        close = next(iter(difflib.get_close_matches(str(place[-1]), names, n=1)), "")
        hint = f"; did you mean {close!r}?" if close else "."
        message = f"is an unknown key{hint} Allowed: {expected}"
    else:
        expected = describe(_at(section, place))
        if kind == "missing":
            value, message = None, f"is missing: it must be {expected}"
        else:
            message = f"= {short(value)}: must be {expected}"
    return FileProblem(origin, line(key), key, message, value, expected, close)


def _joined(place: Sequence[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).lstrip(".")


def _at(section: Any, place: Sequence[int | str]) -> Any:
    """Return the annotation of the key at a place."""
    for part in place:
        if isinstance(part, int):
            (section,) = typing.get_args(bare(section))
        else:
            section = annotations(bare(section))[part]
    return section


@functools.cache
def annotations(section: type) -> dict[str, Any]:
    """Return the annotations of a section's keys, with their bounds."""
    found = typing.get_type_hints(section, include_extras=True)
    return {f.name: found[f.name] for f in dataclasses.fields(section)}


def bare(kind: Any) -> Any:
    """Return an annotation without its bounds."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind


def bounds(kind: Any) -> Within | None:
    """Return the bounds of a number's annotation, or None."""
    return next((one for one in getattr(kind, "__metadata__", ()) if isinstance(one, Within)), None)


def word(kind: Any) -> str:
    """Return the word that may stand for a number, "" if there is none."""
    found = (one.word for one in getattr(kind, "__metadata__", ()) if isinstance(one, OrWord))
    return next(found, "")


def name_problems(name: str) -> Iterator[Problem]:
    """Yield the problem of a name, if it does not match `NAME`."""
    if not NAME.fullmatch(name):
        yield Problem(
            "name",
            f"= {name!r}: use lower-case letters, digits, _ and -; the first must be a letter; at"
            " most 63 characters",
        )


def repeated_classes(classes: Sequence[str]) -> Iterator[Problem]:
    """Yield the problem of class names that occur more than once, if there are any."""
    repeated = sorted(name for name, count in Counter(classes).items() if count > 1)
    if repeated:
        yield Problem("classes", f"names {shown(repeated)} more than once")


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
            f"must contain {required}{', each' if len(needed) > 1 else ''} exactly once"
            if needed
            else f"must not contain a placeholder{' other than ' + optional if optional else ''}"
        )
        yield Problem(
            key,
            f"= {pattern!r}: {rule}" + (f"; {optional} is optional" if needed and optional else ""),
        )


def short(value: object) -> str:
    """Return the text of a value for a message, at most 200 characters of it."""
    if isinstance(value, bool):
        return str(value).lower()  # as it is in the file
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # Python refuses to print an integer with thousands of digits, and very deep nesting.
        return "a value too long to show"
    return text if len(text) <= 200 else text[:200] + "…"


def describe(kind: Any) -> str:
    """Describe the values that a key may have.

    Args:
        kind: the annotation of the key.
    """
    plain = bare(kind)
    if dataclasses.is_dataclass(plain):
        return "a table of keys"
    if typing.get_origin(plain) is list:
        (item,) = typing.get_args(plain)
        if dataclasses.is_dataclass(bare(item)):
            return "a list of tables, each below a header in double brackets, as in [[members]]"
        return f"a list, each entry {describe(item)}"
    if typing.get_origin(plain) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(plain))
    words: Mapping[Any, str] = types.MappingProxyType(
        {
            int: "a whole number",
            float: "a number",
            str: "a string of printable characters",
            bool: "true or false",
        }
    )
    found = bounds(kind)
    either = f"{word(kind)!r} or " if word(kind) else ""
    return either + words[plain] + (f" from {found.low} to {found.high}" if found else "")
