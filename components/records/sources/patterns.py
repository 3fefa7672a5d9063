"""Patterns that say which files are images, and what a file's path says of its image.

A pattern is a path below the data root. `{id}`, `{file}`, `{class}` and `{group}` stand for a text
within the path, each once; `{size}` for 192 or 192x192, as often as it stands there; `*` for
anything within a name, `**/` for any folders: `train/{id}.jpg`, `train/**/{id}.*`,
`train/{class}/{id}.png`. The tree is walked once, whatever the number of ids."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.storage import objects as storage
from trainer.errors import DataError


class MatchedFile(NamedTuple):
    """A file that fits a pattern: its path or URI, its size in bytes, a mark that changes with its
    contents, what the placeholders stand for."""

    path: str
    bytes: int
    mark: str
    texts: dict[str, str]


def located(root: str, pattern: str) -> list[MatchedFile]:
    """Every file below `root` that fits `pattern`, sorted by path.

    Raises:
        DataError: the folder is missing or cannot be read, a link leads out of it, or what fits is
            no file.
    """
    form = expression(pattern)
    # What stands before the first wildcard is one folder; only that is walked.
    fixed = re.split(r"[*{]", pattern)[0].rpartition("/")[0]
    files = (
        _remote(root, fixed, pattern)
        if storage.is_remote(root)
        else _local(root, fixed, pattern, form)
    )
    found = [
        MatchedFile(f"{root}/{path}", size, mark, match.groupdict())
        for path, size, mark in files
        if (match := form.fullmatch(path)) is not None
    ]
    return sorted(found)


def _local(
    root: str, fixed: str, pattern: str, form: re.Pattern[str]
) -> Iterator[tuple[str, int, str]]:
    top = Path(root, fixed)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder (from the pattern {pattern!r})")
    inside = os.path.realpath(top) + os.sep

    def stop(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from None

    for folder, folders, names in os.walk(top, onerror=stop):
        for name in folders:
            if Path(folder, name).is_symlink():
                raise DataError(
                    f"{folder}/{name}: a linked folder, which is not followed: put the files there,"
                    " or move data.root"
                )
        below = os.path.relpath(folder, root)
        for name in names:
            path = name if below == "." else f"{below}/{name}"
            if form.fullmatch(path) is None:
                continue
            whole = Path(folder, name)
            # The folder itself may be a link, as to a larger disk.
            if whole.is_symlink() and not os.path.realpath(whole).startswith(inside):
                raise DataError(f"{whole}: a link that leads out of {top}")
            try:
                status = whole.stat()
            except OSError as error:
                raise DataError(f"{whole}: cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{whole}: no regular file")
            yield path, status.st_size, str(status.st_mtime_ns)


def _remote(root: str, fixed: str, pattern: str) -> Iterator[tuple[str, int, str]]:
    objects = storage.listing(f"{root}/{fixed}".rstrip("/") + "/")
    if not objects:
        raise DataError(f"{root}/{fixed}: no such folder (from the pattern {pattern!r})")
    for entry in objects:
        yield entry.uri.removeprefix(f"{root}/"), entry.bytes, entry.crc32c


def expression(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression, its placeholders as named groups."""
    # An id alone may be a path; beside wildcards that would say nothing.
    single = "*" not in pattern and len(re.findall(r"\{\w+\}", pattern)) == 1
    parts = {"**/": "(?:.*/)?", "*": "[^/]*"}
    pieces = []
    seen_size = False
    for piece in re.split(r"(\*\*/|\*|\{\w+\})", pattern):
        if piece == "{size}":
            pieces.append(
                "(?P=size)(?:x(?P=size))?" if seen_size else "(?P<size>[0-9]+)(?:x(?P=size))?"
            )
            seen_size = True
        elif piece.startswith("{"):
            pieces.append(f"(?P<{piece[1:-1]}>{'.+' if single else '[^/]+'})")
        else:
            pieces.append(parts.get(piece, re.escape(piece)))
    return re.compile("".join(pieces), re.DOTALL)
