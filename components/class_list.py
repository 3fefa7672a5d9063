"""Class lists as files: a list of thousands of classes is too long for the command line of a step.

Linux limits one argument of a command to 128 KiB, and kfp passes a step all its parameters as one.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.storage import objects
from trainer.artifacts.manifest import atomic_write
from trainer.errors import CompetitionError, DataError

# A list of classes that is a file has one entry, which starts like this. The file has one name a
# line, in UTF-8.
PREFIX = "file:"
# JSON characters of a list above which it becomes a file, and of all parameters together. kfp adds
# the paths of all inputs and outputs to them.
_LONGEST_LIST, _LONGEST = 30_000, 110_000


def names(classes: Sequence[str]) -> list[str]:
    """Return the class names of a parameter `classes`.

    Args:
        classes: the names themselves; or one entry, `file:` and the path or `gs://` URI of a file
            with one name a line.

    Raises:
        StorageError: the file cannot be read from its bucket.
        DataError: the file is missing, is not UTF-8, or has no name.
    """
    path = location(classes)
    if not path:
        return list(classes)
    try:
        text = Path(objects.local_path(path)).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"classes = {PREFIX}{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"classes = {PREFIX}{path}: must be text in UTF-8") from None
    found = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    if not found:
        raise DataError(f"classes = {PREFIX}{path}: is empty: write one name a line")
    return found


def location(classes: Sequence[str]) -> str:
    """Return the path or URI of the file that holds the classes; "" if they are in the list."""
    alone = len(classes) == 1 and isinstance(classes[0], str)
    return classes[0].removeprefix(PREFIX) if alone and classes[0].startswith(PREFIX) else ""


def shortened(
    arguments: Mapping[str, Any], folder: str, write: Callable[[str, str], None]
) -> dict[str, Any]:
    """Return the arguments of a pipeline with a long list of classes as a file.

    Args:
        arguments: the value of each parameter.
        folder: a folder or `gs://` URI that every step of the run can read.
        write: writes a text to a path or URI; it is called with both, if the list is long.

    Raises:
        CompetitionError: the other parameters are too long.
    """
    values = dict(arguments)
    classes = values["classes"]
    if len(json.dumps(classes)) > _LONGEST_LIST:
        text = "".join(f"{name}\n" for name in classes)
        # Named by its contents: steps are reused only for the same classes.
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        path = f"{folder}/classes/{digest}.txt"
        write(path, text)
        values["classes"] = [f"{PREFIX}{path}"]
    sizes = {name: len(json.dumps(value)) for name, value in values.items()}
    if sum(sizes.values()) > _LONGEST:
        largest = max(sizes, key=lambda name: sizes[name])
        raise CompetitionError(
            f"{largest}: takes {sizes[largest]:,} of {sum(sizes.values()):,} characters of the"
            f" file's settings, of which the command line of a step holds {_LONGEST:,}: shorten it;"
            " of many members, train some in a run of their own, and blend its tables with"
            " [[blend.external]]"
        )
    return values


def write_locally(path: str, text: str) -> None:
    """Write a file of classes on this machine; `write` for `shortened`."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
