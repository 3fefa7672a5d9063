"""The kinds of source, behind one face: what is there, its bytes' digest, and the blocks of images
that become shards."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from components.records.sources import cifar10, files, pixels, tfrecords
from components.records.sources.patterns import MatchedFile as File
from components.records.sources.patterns import located
from components.records.types import Item, Reader, Subset, subsets
from components.storage import objects
from trainer.artifacts.manifest import files_digest
from trainer.config.data import Data, Records


class SourceSummary(NamedTuple):
    """How many labelled images there are, their ids, and those of the others; None where only a
    download would tell, or only a look at every record."""

    train: int | None
    train_ids: list[str] | None
    test_ids: list[str] | None


class Block(NamedTuple):
    """Rows `first` to `first + rows - 1` of a subset, which become the shard `number` of their
    split."""

    subset: Subset
    number: int
    first: int
    rows: int


def look(data: Data, records: Records) -> SourceSummary:
    """What the tables say, without decoding an image.

    Raises:
        DataError: a table, a column or a file is missing, or an id is empty or twice or has no
            file.
    """
    if data.source == "tfrecords":
        count, test_ids = tfrecords.look(data, records)
        return SourceSummary(count, None, test_ids)
    ids: dict[str, list[str]] = {"train": [], "test": []}
    for subset in subsets(data):
        ids[subset.split] += _ids(subset, reader(subset, records))
    return SourceSummary(len(ids["train"]), ids["train"], ids["test"])


def _ids(subset: Subset, opened: Reader) -> list[str]:
    # The ids of rows without a table are their numbers; to iterate over them would read the images.
    if subset.data.source in ("pixels", "cifar10"):
        return [f"{subset.prefix}{row}" for row in range(1, opened.rows + 1)]
    return [item.row.id for item in opened.items(0, opened.rows)]


def reader(subset: Subset, records: Records) -> Reader:
    """Open a subset of any source but ready TFRecords, which are scanned and not converted.

    Raises:
        DataError: as the source's own module says.
    """
    if subset.data.source == "files":
        return files.reader(subset, records)
    return pixels.reader(subset) if subset.data.source == "pixels" else cifar10.reader(subset)


def blocks(data: Data, records: Records) -> Iterator[tuple[Block, Reader]]:
    """All blocks in order, with the reader of each: they depend on the source and on `shard_images`
    alone."""
    number = {"train": 0, "test": 0}
    for subset in subsets(data):
        opened = reader(subset, records)
        for first in range(0, opened.rows, records.shard_images):
            count = min(records.shard_images, opened.rows - first)
            yield Block(subset, number[subset.split], first, count), opened
            number[subset.split] += 1


def items(block: Block, opened: Reader) -> Iterator[Item]:
    """The rows of a block."""
    return opened.items(block.first, block.rows)


def digest(data: Data) -> str:
    """One digest of all that the source is made of: of a table its bytes, of an image file or a
    ready shard its path, size and time.

    Reading every byte of a large image folder would take as long as converting it.
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
    """The files besides the table that a subset is made of."""
    if subset.data.source == "pixels":
        return []
    if subset.data.source == "files":
        return located(
            subset.data.root,
            subset.data.images if subset.split == "train" else subset.data.test_images,
        )
    if subset.data.source == "cifar10":
        return cifar10.batches(subset)
    return [entry for entries in tfrecords.shards(subset).values() for entry in entries]
