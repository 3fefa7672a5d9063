"""Checks arguments against the parameters of a compiled pipeline; the services do not."""

import math
from collections.abc import Mapping
from typing import Any

from trainer.errors import CompetitionError

_TYPES: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}


def check_arguments(arguments: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Check that the arguments fit the parameters of a compiled pipeline.

    The services accept arguments that do not, and the run fails later.

    Args:
        arguments: the value of each parameter.
        spec: the compiled pipeline.

    Raises:
        CompetitionError: one line per argument that is missing, unknown or of another type.
    """
    definitions = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    problems = [
        f"parameter {name}: is not a parameter of the pipeline"
        for name in arguments
        if name not in definitions
    ]
    for name, definition in definitions.items():
        if name not in arguments:
            if not definition.get("isOptional") and "defaultValue" not in definition:
                problems.append(f"parameter {name}: is missing, and the pipeline has no default")
            continue
        kind, value = definition["parameterType"], arguments[name]
        # A bool is an int in Python, but not a number for the services.
        fits = isinstance(value, _TYPES[kind]) and (
            kind == "BOOLEAN" or not isinstance(value, bool)
        )
        if not fits:
            problems.append(f"parameter {name} = {value!r}: must be {kind}")
        elif not _is_json(value):
            problems.append(f"parameter {name}: holds a value that JSON lacks, such as NaN")
    if problems:
        raise CompetitionError("\n".join(problems))


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_json(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return (
        value is None
        or isinstance(value, str | int)
        or (isinstance(value, float) and math.isfinite(value))
    )
