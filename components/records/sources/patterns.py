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


def located(
    root: str, pattern: str, *, follow: bool = False, hidden: bool = False
) -> list[MatchedFile]:
    """Return every file below `root` that matches `pattern`, sorted by path.

    Hidden folders, whose names start with a dot, are left out unless the pattern names a dot:
    notebooks and file managers leave copies of images in them. So are hidden files.

    Args:
        root: a folder, or `gs://bucket/prefix`.
        pattern: as above.
        follow: whether links may lead out of `root`.
        hidden: whether to return hidden files, because a table names the files that count.

    Raises:
        DataError: the folder is missing or cannot be read, a link leads out of it or to a folder
            that it is in, or a match is not a regular file.
    """
    regex = expression(pattern)
    # Walk only the folder in front of the first wildcard.
    fixed = re.split(r"[*{]", pattern)[0].rpartition("/")[0]
    files = (
        _remote(root, fixed, pattern)
        if storage.is_remote(root)
        else _local(root, fixed, pattern, regex, follow)
    )
    names_dots = "/." in f"/{pattern}"
    matched = [
        MatchedFile(f"{root}/{path}", size, mark, match.groupdict())
        for path, size, mark in files
        if (match := regex.fullmatch(path)) is not None
        and (names_dots or not _is_hidden(path.removeprefix(fixed), name=not hidden))
    ]
    return sorted(matched)


def _is_hidden(path: str, *, name: bool = True) -> bool:
    """Return whether a folder in a path is hidden, or, if `name`, its last part."""
    parts = path.split("/")
    return any(
        part.startswith(".") or part == "__MACOSX" for part in (parts if name else parts[:-1])
    )


def _local(
    root: str, fixed: str, pattern: str, regex: re.Pattern[str], follow: bool
) -> Iterator[tuple[str, int, str]]:
    top = Path(root, fixed)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder (from the pattern {pattern!r}){_archive_hint(top)}")
    # The top folder itself may be a link, for example to a larger disk.
    allowed = [os.path.realpath(folder) + os.sep for folder in (root, top)]

    def check(link: Path) -> None:
        """Check that a link does not lead out of the root."""
        if not follow and not os.path.realpath(link).startswith(tuple(allowed)):
            raise DataError(
                f"{link}: a symbolic link that leads out of {root}: set data.follow_links = true if"
                " that is intended"
            )

    def stop(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from None

    for folder, folders, names in os.walk(top, onerror=stop, followlinks=True):
        folders[:] = [name for name in folders if "/." in f"/{pattern}" or not _is_hidden(name)]
        for name in folders:
            link = Path(folder, name)
            if link.is_symlink():
                check(link)
                _check_loop(link, top)
        relative = os.path.relpath(folder, root)
        for name in names:
            path = name if relative == "." else f"{relative}/{name}"
            if regex.fullmatch(path) is None:
                continue
            full_path = Path(folder, name)
            if full_path.is_symlink():
                check(full_path)
            try:
                status = full_path.stat()
            except OSError as error:
                raise DataError(f"{full_path}: cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{full_path}: not a regular file")
            yield path, status.st_size, str(status.st_mtime_ns)


def _check_loop(link: Path, top: Path) -> None:
    """Check that a linked folder contains none of those that led to it."""
    target = os.path.realpath(link) + os.sep
    for folder in link.parents:
        if f"{os.path.realpath(folder)}{os.sep}".startswith(target):
            raise DataError(f"{link}: a symbolic link to {target}, which it is in")
        if folder == top:
            return


def _archive_hint(folder: Path) -> str:
    """Return what to do if there is an archive in place of a folder."""
    ends = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")
    try:
        names = sorted(path.name for path in folder.parent.iterdir())
    except OSError:
        return ""
    found = next((name for name in names if name in {folder.name + end for end in ends}), None)
    found = found or next((name for name in names if name.lower().endswith(ends)), None)
    return f"; there is the archive {folder.parent / found}: unpack it first" if found else ""


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
