"""Read any kind of source through one interface: its summary, its digest, and the blocks of images
that become shards.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from components.records.sources import cifar10, files, pixels, tfrecords
from components.records.sources.patterns import MatchedFile as File
from components.records.types import Item, Reader, Row, Subset, subsets
from components.storage import objects
from trainer.artifacts.manifest import files_digest
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import DataError


class SourceSummary(NamedTuple):
    """What a source reports without decoding an image.

    A field is None if it would take a download, or a pass over every record.

    Attributes:
        train: the number of labelled images.
        train_ids: their ids.
        test_ids: the ids of the unlabelled images.
        labels: how each label is used.
        remarks: what is odd, but can be used.
    """

    train: int | None
    train_ids: list[str] | None
    test_ids: list[str] | None
    labels: "dict[str | int, LabelUse] | None" = None
    remarks: tuple[str, ...] = ()


class LabelUse(NamedTuple):
    """How a label is used.

    Attributes:
        images: how many images have it.
        held_out: how many of them may be held out: all but those that always train.
        where: the file and row of the first, for messages.
    """

    images: int
    held_out: int
    where: str


class Block(NamedTuple):
    """Consecutive rows of a subset that become one shard.

    Attributes:
        subset: the subset that the rows belong to.
        number: the number of the shard within its split, from 0.
        first: the index of the first row in the subset, from 0.
        rows: the number of rows.
    """

    subset: Subset
    number: int
    first: int
    rows: int


def look(data: Data, records: Records) -> SourceSummary:
    """Summarise the tables of a source, without decoding an image.

    Raises:
        DataError: a table, a column or a file is missing; or an id is empty, occurs twice or has no
            file.
    """
    if data.source == "tfrecords":
        count, test_ids = tfrecords.look(data, records)
        return SourceSummary(count, None, test_ids)
    ids: dict[str, list[str]] = {"train": [], "test": []}
    labels: dict[str | int, LabelUse] = {}
    for subset in subsets(data):
        rows = _rows(subset, reader(subset, records))
        _check_unique(rows, subset)
        ids[subset.split] += [row.id for row in rows]
        for row in rows if subset.split == "train" else ():
            known = labels.get(row.label, LabelUse(0, 0, row.where))
            labels[row.label] = known._replace(
                images=known.images + 1, held_out=known.held_out + (subset.external != "train")
            )
    # The labels of CIFAR are numbers in files that would have to be read for them.
    known_labels = None if data.source == "cifar10" else labels
    return SourceSummary(len(ids["train"]), ids["train"], ids["test"], known_labels)


def _rows(subset: Subset, opened: Reader) -> list[Row]:
    # Iterating over the items would read the images.
    if subset.data.source == "pixels":
        return pixels.rows(subset)
    if subset.data.source == "cifar10":
        return [Row(f"{subset.prefix}{row}", 0) for row in range(1, opened.rows + 1)]
    return [item.row for item in opened.items(0, opened.rows)]


def _check_unique(rows: Sequence[Row], subset: Subset) -> None:
    """Check that no id occurs twice; of files, their reader has checked it."""
    if subset.data.source != "pixels":
        return
    where_of: dict[str, str] = {}
    for row in rows:
        if row.id in where_of:
            raise DataError(f"{row.where}: id {row.id!r} is already in {where_of[row.id]}")
        where_of[row.id] = row.where


def reader(subset: Subset, records: Records) -> Reader:
    """Open a subset of any source except ready TFRecords, which are scanned and not converted.

    Raises:
        DataError: as documented in the module of the source.
    """
    if subset.data.source == "files":
        return files.reader(subset, records)
    return pixels.reader(subset) if subset.data.source == "pixels" else cifar10.reader(subset)


def blocks(data: Data, records: Records) -> Iterator[tuple[Block, Reader]]:
    """Yield all blocks in order, each with its reader.

    Blocks depend only on the source and on `shard_images`.
    """
    number = {"train": 0, "test": 0}
    for subset in subsets(data):
        opened = reader(subset, records)
        for first in range(0, opened.rows, records.shard_images):
            count = min(records.shard_images, opened.rows - first)
            yield Block(subset, number[subset.split], first, count), opened
            number[subset.split] += 1


def items(block: Block, opened: Reader) -> Iterator[Item]:
    """Iterate over the items of a block."""
    return opened.items(block.first, block.rows)


def digest(data: Data) -> str:
    """Return one digest of everything that a source consists of.

    It covers the bytes of each table, and the path, size and modification time (in a bucket: the
    crc32c) of each image file or ready shard. Reading every byte of a large image folder would take
    as long as converting it.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for subset in subsets(data):
        table = subset.data.train if subset.split == "train" else subset.data.test
        if table and data.source != "cifar10":
            total.update(files_digest([objects.local_path(table)]).encode())
        for entry in _listed(subset):
            total.update(
                f"{entry.path}\0{entry.bytes}\0{entry.mark}\n".encode(errors="surrogateescape")
            )
    return total.hexdigest()


def _listed(subset: Subset) -> list[File]:
    """Return the files of a subset other than its table."""
    if subset.data.source == "pixels":
        return []
    if subset.data.source == "files":
        return files.listed(subset)
    if subset.data.source == "cifar10":
        return cifar10.batches(subset)
    return [entry for entries in tfrecords.shards(subset).values() for entry in entries]
