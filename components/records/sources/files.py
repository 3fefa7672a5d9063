"""Image files: named by a table with an id a row, or by the folders they lie in."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from components.records.images.decode import BadImage
from components.records.sources.columns import Columns
from components.records.sources.patterns import MatchedFile, located
from components.records.types import Item, Reader, Row, Subset, subsets
from components.storage import objects
from trainer.artifacts.csv_rows import read_rows
from trainer.config.data import Data, Records
from trainer.errors import DataError


def reader(subset: Subset, records: Records) -> Reader:
    """The images of a subset in the order of its table, or of their paths where there is no table.

    Raises:
        DataError: as `table` and `located`; two files have one id; an id has no file, unless it may
            be skipped; no file fits.
    """
    data, labelled = subset.data, subset.split == "train"
    path, pattern = (data.train, data.images) if labelled else (data.test, data.test_images)
    found = located(data.root, pattern)
    if not path:
        items = list(_by_folder(found, subset))
        if not items:
            raise DataError(f"{data.root}: no file fits {pattern!r}")
        _twice(items)
    else:
        items = list(
            _by_table(
                found,
                subset,
                path,
                pattern,
                may_be_missing=labelled and records.on_bad_image == "skip",
            )
        )
    return Reader(len(items), lambda first, count: iter(items[first : first + count]))


def unused(data: Data, records: Records) -> list[str]:
    """The files that fit a pattern and that no row of any table names."""
    fitting: set[str] = set()
    used: set[str] = set()
    for subset in subsets(data):
        opened = reader(subset, records)
        used.update(item.file for item in opened.items(0, opened.rows))
        pattern = subset.data.images if subset.split == "train" else subset.data.test_images
        fitting.update(entry.path for entry in located(data.root, pattern))
    return sorted(fitting - used)


def table(path: str, subset: Subset) -> Iterator[tuple[int, list[str], Columns]]:
    """The rows of a table: number, from 1, and cells, and what reads them.

    Raises:
        DataError: the file or a column is missing, it has no rows, or a row has more or fewer cells
            than the header.
    """
    lines = read_rows(objects.local_path(path))
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path}: empty, where a header is meant")
    columns = Columns(subset.data, header, path, subset.split)
    number = 0
    for number, cells in enumerate(lines, start=1):
        if len(cells) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(cells)} cells, the header {len(header)}"
            )
        yield number, cells, columns
    if number == 0:
        raise DataError(f"{path}: a header and no rows")


def _by_folder(found: Sequence[MatchedFile], subset: Subset) -> Iterator[Item]:
    """Items in the order of their paths: the id is what the placeholders stand for."""
    for entry in found:
        group, label = entry.texts.get("group", ""), entry.texts.get("class", "")
        if not entry.path.isprintable():
            raise DataError(f"{entry.path!r}: a name with a character that cannot be printed")
        yield _item(
            entry,
            Row(subset.prefix + "/".join(entry.texts.values()), label, group, where=entry.path),
        )


def _by_table(
    found: Sequence[MatchedFile], subset: Subset, path: str, pattern: str, *, may_be_missing: bool
) -> Iterator[Item]:
    files_of: dict[str, list[MatchedFile]] = defaultdict(list)
    for entry in found:
        files_of[entry.texts["id"]].append(entry)
    # A system may write ä as one character or as two; where only that differs, the file is meant.
    alike = {unicodedata.normalize("NFC", id_): id_ for id_ in files_of}
    several = "{file}" in pattern
    seen: dict[str, int] = {}
    missing: list[tuple[int, str]] = []
    items: list[Item] = []
    for number, cells, columns in table(path, subset):
        id_ = cells[columns.place["id"]]
        if id_ in seen:
            raise DataError(
                f"{path}: row {number}, column {subset.data.id!r}: id {id_!r} is already in row"
                f" {seen[id_]}"
            )
        seen[id_] = number
        files = files_of.get(id_) or files_of.get(
            alike.get(unicodedata.normalize("NFC", id_), ""), []
        )
        if not several and len(files) > 1:
            raise DataError(f"{files[1].path}: a second file for id {id_!r}, after {files[0].path}")
        for entry in files:
            row = columns.row(number, cells, file=entry.texts.get("file", ""))
            name = f"{row.id}/{entry.texts['file']}" if several else row.id
            items.append(_item(entry, row._replace(id=subset.prefix + name)))
        if not files:
            missing.append((number, id_))
            file = next(
                (part.values[0] for part in subset.data.target_parts if part.column == "{file}"), ""
            )
            row = columns.row(number, cells, file=file)
            items.append(
                Item(row._replace(id=subset.prefix + row.id), "", partial(_missing, pattern))
            )
    if missing and not may_be_missing:
        number, id_ = missing[0]
        raise DataError(
            f"{path}: row {number}: no file for id {id_!r} by {pattern} ({len(missing)} such ids)"
        )
    _twice(items)
    return iter(items)


def _twice(items: Sequence[Item]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.row.id in seen:
            raise DataError(
                f"{item.file}: a second file for id {item.row.id!r}, after {seen[item.row.id]}"
            )
        seen[item.row.id] = item.file


def _item(entry: MatchedFile, row: Row) -> Item:
    load = (
        partial(objects.read, entry.path)
        if objects.is_remote(entry.path)
        else Path(entry.path).read_bytes
    )
    return Item(row, entry.path, load)


def _missing(pattern: str) -> bytes:
    raise BadImage(f"no file for it by {pattern}")
