"""Image files named by a table: a CSV with an id a row, and a pattern that says which file an id is.

A pattern is a path below the data root with `{id}` in it. `*` stands for anything within a name, `**/` for any folders:
`train/{id}.jpg`, `train/**/{id}.*`. The tree is walked once, whatever the number of ids.
"""

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from components.records.decode import BadImage, decode
from components.records.image import Image, Rejected
from components.records.resize import fitted
from trainer.competition import Records
from trainer.csv_rows import read_rows
from trainer.errors import DataError


class Row(NamedTuple):
    """One row of the table, its texts as they stand: label and group are "" where there is none."""

    id: str
    label: str
    group: str


def table(path: str | Path, columns: Mapping[str, str]) -> list[Row]:
    """Read the rows.

    Args:
        columns: the names of the columns `id`, `target` and `group`, where the file has them.

    Raises:
        DataError: the file or a column is missing; an id or a label is empty, or an id stands there twice.
    """
    lines = list(read_rows(path))
    if not lines:
        raise DataError(f"{path}: empty, where a header is meant")
    header = lines[0]
    for purpose, name in columns.items():
        if header.count(name) != 1:
            found = "more than one" if name in header else "no"
            raise DataError(f"{path}: {found} column {name!r} (data.{purpose}); it has {', '.join(map(repr, header))}")
    place = {purpose: header.index(name) for purpose, name in columns.items()}
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            raise DataError(f"{path}: row {number} has {len(line)} cells, the header {len(header)}")
        row = Row(*(line[place[purpose]] if purpose in place else "" for purpose in ("id", "target", "group")))
        for purpose in ("id", "target"):
            if purpose in place and not line[place[purpose]]:
                raise DataError(f"{path}: row {number}, column {columns[purpose]!r}: an empty cell")
        if row.id in seen:
            raise DataError(f"{path}: row {number}, column {columns['id']!r}: id {row.id!r} is already in row {seen[row.id]}")
        seen[row.id] = number
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: a header and no rows")
    return rows


def located(root: str | Path, pattern: str) -> dict[str, Path]:
    """Every file below `root` that fits `pattern`, by its id.

    Raises:
        DataError: the folder is missing, two files have one id, or a link leads out of it.
    """
    root = Path(root)
    # What stands before the first wildcard is one folder; only that is walked.
    fixed = re.split(r"[*{]", pattern)[0].rpartition("/")[0]
    top = root / fixed
    if not top.is_dir():
        raise DataError(f"{top}: no such folder (from the pattern {pattern!r})")
    form = _expression(pattern)
    found: dict[str, Path] = {}
    for folder, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            match = form.fullmatch(path.relative_to(root).as_posix())
            if match is None:
                continue
            # The folder itself may be a link, as to a larger disk; below it os.walk follows none.
            if path.is_symlink() and not os.path.realpath(path).startswith(os.path.realpath(top) + os.sep):
                raise DataError(f"{path}: a link that leads out of {top}")
            if match["id"] in found:
                raise DataError(f"{path}: a second file for id {match['id']!r}, after {found[match['id']]}")
            found[match["id"]] = path
    return found


def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "*": "[^/]*", "{id}": "(?P<id>[^/]+)" if "*" in pattern else "(?P<id>.+)"}
    pieces = re.split(r"(\*\*/|\*|\{id\})", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces))


def images(rows: list[Row], root: str | Path, pattern: str, records: Records) -> Iterator[Image | Rejected]:
    """The images of the rows, in order, decoded and fitted on all cores, or why one cannot be used.

    At most four images a core are in memory at once, of `records.max_pixels` each at the worst.

    Raises:
        DataError: as `located`.
    """
    found = located(root, pattern)

    def read(row: Row) -> Image | Rejected:
        if row.id not in found:
            return Rejected(row.id, "", f"no file for it by {pattern}", 0)
        data = b""
        try:
            data = found[row.id].read_bytes()
            pixels = decode(data, side=records.size, max_pixels=records.max_pixels)
        except (BadImage, OSError) as error:
            return Rejected(row.id, str(found[row.id]), str(error), len(data))
        return Image(row.id, row.label, row.group, fitted(pixels, records.size, records.fit))

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(rows)
        under_way: list[Future[Image | Rejected]] = [pool.submit(read, row) for row in islice(waiting, 4 * workers)]
        try:
            while under_way:
                done = under_way.pop(0).result()
                under_way += [pool.submit(read, row) for row in islice(waiting, 1)]
                yield done
        finally:
            for future in under_way:
                future.cancel()
