"""Find the files that match a pattern, and extract what their paths say about the images.

A pattern is a path below the data root. `{id}`, `{file}`, `{class}` and `{group}` each match a text
within the path, and occur at most once; `{size}` matches 192 or 192x192, and may occur repeatedly;
`*` matches anything within a name, `**/` any folders: `train/{id}.jpg`, `train/**/{id}.*`,
`train/{class}/{id}.png`. The tree is walked once, whatever the number of ids.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from components.storage import objects as storage
from trainer.errors import DataError


class MatchedFile(NamedTuple):
    """A file that matches a pattern.

    Attributes:
        path: its path or URI.
        bytes: its size in bytes.
        mark: a text that changes with its contents: the modification time in ns, or the crc32c of
            an object in a bucket.
        texts: the text that each placeholder matches.
    """

    path: str
    bytes: int
    mark: str
    texts: dict[str, str]


def located(root: str, pattern: str) -> list[MatchedFile]:
    """Return every file below `root` that matches `pattern`, sorted by path.

    Raises:
        DataError: the folder is missing or cannot be read, a folder in it is a symbolic link, a
            link leads out of it, or a match is not a regular file.
    """
    regex = expression(pattern)
    # Walk only the folder in front of the first wildcard.
    fixed = re.split(r"[*{]", pattern)[0].rpartition("/")[0]
    files = (
        _remote(root, fixed, pattern)
        if storage.is_remote(root)
        else _local(root, fixed, pattern, regex)
    )
    matched = [
        MatchedFile(f"{root}/{path}", size, mark, match.groupdict())
        for path, size, mark in files
        if (match := regex.fullmatch(path)) is not None
    ]
    return sorted(matched)


def _local(
    root: str, fixed: str, pattern: str, regex: re.Pattern[str]
) -> Iterator[tuple[str, int, str]]:
    top = Path(root, fixed)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder (from the pattern {pattern!r})")
    prefix = os.path.realpath(top) + os.sep

    def stop(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from None

    for folder, folders, names in os.walk(top, onerror=stop):
        for name in folders:
            if Path(folder, name).is_symlink():
                raise DataError(
                    f"{folder}/{name}: a symbolic link to a folder, which is not followed: put"
                    " the files there, or change data.root"
                )
        relative = os.path.relpath(folder, root)
        for name in names:
            path = name if relative == "." else f"{relative}/{name}"
            if regex.fullmatch(path) is None:
                continue
            full_path = Path(folder, name)
            # The top folder itself may be a link, for example to a larger disk.
            if full_path.is_symlink() and not os.path.realpath(full_path).startswith(prefix):
                raise DataError(f"{full_path}: a symbolic link that leads out of {top}")
            try:
                status = full_path.stat()
            except OSError as error:
                raise DataError(f"{full_path}: cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{full_path}: not a regular file")
            yield path, status.st_size, str(status.st_mtime_ns)


def _remote(root: str, fixed: str, pattern: str) -> Iterator[tuple[str, int, str]]:
    objects = storage.listing(f"{root}/{fixed}".rstrip("/") + "/")
    if not objects:
        raise DataError(f"{root}/{fixed}: no such folder (from the pattern {pattern!r})")
    for entry in objects:
        yield entry.uri.removeprefix(f"{root}/"), entry.bytes, entry.crc32c


def expression(pattern: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression, with its placeholders as named groups."""
    # An id that is the only wildcard may span folders; next to others, that would be ambiguous.
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
