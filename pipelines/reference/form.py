"""The descriptions of a pipeline's parameters, which a console shows in its form."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any

from pipelines.reference.keys import keys
from trainer.config.schema import bare

# The only parameter that is not a key of the file.
ROOT = "Where the data is, gs://bucket/prefix; empty for data.root. Relative paths are below it."


def describe_parameters(pipeline: Callable[..., Any], file: type) -> str:
    """Return the docstring of a pipeline with a description of each parameter.

    Args:
        pipeline: the function, whose parameters are `root` and keys at the top of the file; its
            docstring says what it does.
        file: `Competition` or `Gan`.
    """
    known = keys(file)
    lines = [inspect.cleandoc(pipeline.__doc__ or ""), "", "Args:"]
    for name in inspect.signature(pipeline).parameters:
        text = ROOT
        if name != "root":
            text = known[name].text.replace("`", "") + _keys(known[name].kind)
        lines.append(f"    {name}: {text}")
    return "\n".join(lines)


def _keys(kind: Any) -> str:
    """Return the names of the keys that a section may have, as a sentence."""
    section = bare(kind)
    if typing.get_origin(section) is list:
        (section,) = map(bare, typing.get_args(section))
    if not dataclasses.is_dataclass(section):
        return ""
    section = typing.cast(type, section)
    return f" Keys: {', '.join(keys(section))}."
