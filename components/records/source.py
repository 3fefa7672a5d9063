"""The kinds of source, behind one face: what is there, its bytes' digest, and its images in order."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.records import pixels
from components.records.image import Image, Rejected
from trainer.competition import Data, Records
from trainer.errors import DataError
from trainer.manifest import files_digest

if TYPE_CHECKING:
    from components.records.files import Row


class Found(NamedTuple):
    """How many labelled images there are, and the ids of the others."""

    train: int
    test_ids: list[str]


def look(data: Data, records: Records) -> Found:
    """What the tables say, without reading an image.

    Raises:
        DataError: a table or a column is missing, an id is empty or twice or has no file, or the images have another size than
            the records where the source leaves no choice.
    """
    if data.source == "files":
        from components.records import files

        train, test = files.table(data.train, data.columns()), files.table(data.test, {"id": data.id})
        _no_file_missing(train, files.located(data.root, data.images), data.train, data.images, records.on_bad_image == "skip")
        _no_file_missing(test, files.located(data.root, data.test_images), data.test, data.test_images, False)
        return Found(len(train), [row.id for row in test])
    for path, columns in ((data.train, data.columns()), (data.test, {})):
        side = pixels.side(path, columns=columns)
        if side != records.size:
            raise DataError(f"{path}: images of {side} × {side}, but records.size = {records.size}: set it to {side}")
    return Found(pixels.count(data.train), [str(row) for row in range(1, pixels.count(data.test) + 1)])


def _no_file_missing(rows: "Sequence[Row]", found: Mapping[str, Path], table: str, pattern: str, may_be_missing: bool) -> None:
    missing = [(number, row.id) for number, row in enumerate(rows, start=1) if row.id not in found]
    if missing and not may_be_missing:
        number, id_ = missing[0]
        raise DataError(f"{table}: row {number}: no file for id {id_!r} by {pattern} ({len(missing)} such ids)")


def images(data: Data, records: Records, split: str) -> Iterator[Image | Rejected]:
    """The images of `train` or `test`, in the order of their table, or why one cannot be used.

    Raises:
        DataError: as the source's own module says.
    """
    path, columns = (data.train, data.columns()) if split == "train" else (data.test, {"id": data.id} if data.id else {})
    if data.source == "files":
        from components.records import files

        pattern = data.images if split == "train" else data.test_images
        return files.images(files.table(path, columns), data.root, pattern, records)
    return pixels.images(path, columns=columns)


def digest(data: Data) -> str:
    """One digest of all that the source is made of: of a table its bytes, of an image file its path, size and time.

    Reading every byte of a large image folder would take as long as converting it.
    """
    tables = files_digest([data.train, data.test])
    if data.source != "files":
        return tables
    from components.records import files

    listing = hashlib.sha256(tables.encode())
    for pattern in (data.images, data.test_images):
        for id_, path in sorted(files.located(data.root, pattern).items()):
            status = path.stat()
            listing.update(f"{id_}\0{path.as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return listing.hexdigest()
