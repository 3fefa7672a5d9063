"""Read image files: named in a table with one id per row, or found in folders."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath

from components.records.images.decode import BadImage
from components.records.sources.columns import Columns
from components.records.sources.patterns import MatchedFile, expression, located
from components.records.types import Item, Reader, Row, Subset, subsets
from components.storage import objects
from trainer.artifacts.csv_rows import read_rows
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import DataError, shown


def reader(subset: Subset, records: Records) -> Reader:
    """Open the images of a subset, in the order of its table, or of their paths if it has no table.

    Raises:
        DataError: as `table` and `located`; two files have one id; an id has no file, unless it may
            be skipped; or no file matches the pattern.
    """
    data, labelled = subset.data, subset.split == "train"
    path, pattern = (data.train, data.images) if labelled else (data.test, data.test_images)
    matches = listed(subset)
    if not path:
        items = list(_by_folder(matches, subset))
        if not items:
            raise DataError(f"{data.root}: no file matches {pattern!r}")
        _check_unique(items)
    else:
        items = list(
            _by_table(
                matches,
                subset,
                path,
                pattern,
                may_be_missing=(
                    records.on_bad_image == "skip"
                    if labelled
                    else records.on_bad_test_image == "prior"
                ),
            )
        )
    return Reader(len(items), lambda first, count: iter(items[first : first + count]))


def listed(subset: Subset) -> list[MatchedFile]:
    """Return the files that match the pattern of a subset. A table may name hidden ones, unless it
    names folders whose every file is an image."""
    data, labelled = subset.data, subset.split == "train"
    path, pattern = (data.train, data.images) if labelled else (data.test, data.test_images)
    named = bool(path) and "{file}" not in pattern
    return located(data.root, pattern, follow=data.follow_links, hidden=named)


def unused(data: Data, records: Records) -> list[str]:
    """Return the files that match a pattern but that no row of any table names, sorted."""
    matching: set[str] = set()
    used: set[str] = set()
    for subset in subsets(data):
        opened = reader(subset, records)
        used.update(item.file for item in opened.items(0, opened.rows))
        matching.update(entry.path for entry in listed(subset))
    return sorted(matching - used)


def table(path: str, subset: Subset) -> Iterator[tuple[int, list[str], Columns]]:
    """Read the rows of a table.

    Yields:
        the number of the row, from 1; its cells; and the `Columns` that convert them.

    Raises:
        DataError: the file or a column is missing, there are no rows, or a row has more or fewer
            cells than the header.
    """
    lines = read_rows(objects.local_path(path))
    header = next(lines, None)
    if header is None:
        raise DataError(f"{path}: empty; expected a header")
    columns = Columns(subset.data, header, path, subset.split)
    number = 0
    for number, cells in enumerate(lines, start=1):
        if len(cells) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(cells)} cells, but the header has {len(header)}"
            )
        yield number, cells, columns
    if number == 0:
        raise DataError(f"{path}: a header and no rows")


def _by_folder(matches: Sequence[MatchedFile], subset: Subset) -> Iterator[Item]:
    """Yield items in the order of their paths; the placeholders' texts make up the id."""
    for entry in matches:
        group, label = entry.texts.get("group", ""), entry.texts.get("class", "")
        if not entry.path.isprintable():
            raise DataError(f"{entry.path!r}: a name with a character that cannot be printed")
        yield _item(
            entry,
            Row(subset.prefix + "/".join(entry.texts.values()), label, group, where=entry.path),
        )


def _by_table(
    matches: Sequence[MatchedFile], subset: Subset, path: str, pattern: str, *, may_be_missing: bool
) -> Iterator[Item]:
    files_of: dict[str, list[MatchedFile]] = defaultdict(list)
    for entry in matches:
        files_of[entry.texts["id"]].append(entry)
    # A system may write ä as one or two characters; names that differ only in that are the same.
    id_of_normal_form = {unicodedata.normalize("NFC", id_): id_ for id_ in files_of}
    several_files = "{file}" in pattern
    row_of_id: dict[str, int] = {}
    missing: list[tuple[int, str]] = []
    items: list[Item] = []
    for number, cells, columns in table(path, subset):
        id_ = cells[columns.place["id"]]
        if id_ in row_of_id:
            raise DataError(
                f"{path}: row {number}, column {subset.data.id!r}: id {id_!r} is already in row"
                f" {row_of_id[id_]}"
            )
        row_of_id[id_] = number
        files = files_of.get(id_) or files_of.get(
            id_of_normal_form.get(unicodedata.normalize("NFC", id_), ""), []
        )
        if not several_files and len(files) > 1:
            raise DataError(f"{files[1].path}: a second file for id {id_!r}, after {files[0].path}")
        for entry in files:
            row = columns.row(number, cells, file=entry.texts.get("file", ""))
            name = f"{row.id}/{entry.texts['file']}" if several_files else row.id
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
        others = [other for _, other in missing[1:]]
        raise DataError(
            f"{path}: row {number}: no file for id {id_!r} matches {pattern}"
            f"{_nearest_file(subset.data.root, pattern, id_)} ({len(missing)} such ids"
            f"{f', also {shown(others)}' if others else ''})"
        )
    _check_unique(items)
    return iter(items)


def _check_unique(items: Sequence[Item]) -> None:
    """Check that every item has an id of its own."""
    file_of: dict[str, str] = {}
    for item in items:
        if item.row.id in file_of:
            raise DataError(
                f"{item.file}: a second file for id {item.row.id!r}, after {file_of[item.row.id]}"
            )
        file_of[item.row.id] = item.file


def _nearest_file(root: str, pattern: str, id_: str) -> str:
    """Return which file an id may mean, and the pattern that would find it; "" if there is none."""
    if objects.is_remote(root):
        return ""
    wanted = PurePath(id_)
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = PurePath(name)
            if wanted.name not in (name, path.stem) and wanted.stem != path.stem:
                continue
            place = Path(folder, name)
            ending = "" if wanted.name == name else path.suffix
            better = pattern[: pattern.rindex("{id}")] + "{id}" + ending
            fits = expression(better).fullmatch(place.relative_to(root).as_posix())
            why = " for ids with an ending" if wanted.name == name else ""
            return f"; there is {place}" + (f": write {better}{why}" if fits else "")
    return ""


def read(path: str) -> bytes:
    """Return the bytes of a file, or of an object in a bucket.

    Raises:
        OSError: it cannot be read.
        StorageError: it cannot be read from its bucket.
    """
    return objects.read(path) if objects.is_remote(path) else Path(path).read_bytes()


def _item(entry: MatchedFile, row: Row) -> Item:
    return Item(row, entry.path, partial(read, entry.path))


def _missing(pattern: str) -> bytes:
    raise BadImage(f"no file matches {pattern}")
