"""Scan ready TFRecords in place, without rewriting them.

Every record is read once per size: its crc, its features, and its image, which is decoded for the
sums and hashes of the examples table. A feature that the competition file names and a record lacks
is a missing value.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import google.protobuf.message

from components.parallel import WORKERS, in_order
from components.records.images import kinds
from components.records.images.describe import Described, described
from components.records.sources.columns import category_of, number_of
from components.records.sources.patterns import MatchedFile, located
from components.records.types import Rejected, Row, Subset, subsets
from components.storage import objects
from trainer.artifacts import jpeg
from trainer.artifacts.records import decode_example, named_count, read_shard
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import DataError, IntegrityError

# Records per batch that a thread processes.
_AT_ONCE = 16
_Features = dict[str, bytes | int | float]


class Shard(NamedTuple):
    """A file with the records of one subset in one size.

    Attributes:
        subset: the subset that the records belong to.
        size: the side of the images in pixels.
        path: the path below the root of the data.
        records: the number of records according to the file name, None if the name has none.
    """

    subset: Subset
    size: int
    path: str
    records: int | None


class Scanned(NamedTuple):
    """One scanned record.

    Attributes:
        row: its row.
        place: its index in the shard, from 0.
        width: the width of the original image in pixels.
        height: the height of the original image in pixels.
        image: the description of its image, or why the image cannot be used.
    """

    row: Row
    place: int
    width: int
    height: int
    image: Described | Rejected


def shards(subset: Subset) -> dict[int, list[MatchedFile]]:
    """Return the files of a subset by the size in their paths, 0 if the pattern has no {size}.

    Validation files come after training files.

    Raises:
        DataError: no file matches a pattern.
    """
    data = subset.data
    patterns = (
        [data.test_images] if subset.split == "test" else [data.images, data.validation_images]
    )
    files_by_size: dict[int, list[MatchedFile]] = {}
    for pattern in filter(None, patterns):
        matches = located(data.root, pattern, follow=data.follow_links)
        if not matches:
            raise DataError(f"{data.root}: no file matches {pattern!r}")
        for entry in matches:
            files_by_size.setdefault(int(entry.texts.get("size", 0)), []).append(entry)
    return files_by_size


def units(data: Data, records: Records) -> list[Shard]:
    """Return every shard to scan: by size, then by subset, in order.

    Raises:
        DataError: there are no shards in a size that the competition file names.
    """
    listed = []
    subset_files = [(subset, shards(subset)) for subset in subsets(data)]
    for size in records.sizes:
        for subset, files_by_size in subset_files:
            if len(records.sizes) == 1 and set(files_by_size) == {0}:
                files_by_size = {size: files_by_size[0]}
            if size not in files_by_size:
                sizes = ", ".join(map(str, sorted(files_by_size)))
                raise DataError(
                    f"{data.root}: no {subset.split} shards of size {size} (records.sizes), only of"
                    f" size {sizes}"
                )
            for entry in files_by_size[size]:
                path = entry.path.removeprefix(data.root + "/")
                listed.append(Shard(subset, size, path, named_count(path)))
    return listed


def look(data: Data, records: Records) -> tuple[int | None, list[str] | None]:
    """Return the number of labelled images and the ids of the test images.

    Both come from the shards of the smallest size; either is None if it would take a download.

    Raises:
        DataError: as `units`.
        IntegrityError: a shard is damaged.
    """
    size = min(records.sizes)
    smallest = [shard for shard in units(data, records) if shard.size == size]
    labelled = [shard for shard in smallest if shard.subset.split == "train"]
    if objects.is_remote(data.root):
        named_counts = [shard.records for shard in labelled]
        return (None if None in named_counts else sum(filter(None, named_counts))), None
    counts = [
        shard.records if shard.records is not None else _count(Path(data.root, shard.path))
        for shard in labelled
    ]
    ids = [
        _text(decode_example(payload), data.id, f"{shard.path}: record {index}")
        for shard in smallest
        if shard.subset.split == "test"
        for index, payload in enumerate(read_shard(Path(data.root, shard.path)))
    ]
    return sum(counts), ids


def _count(path: Path) -> int:
    return sum(1 for _ in read_shard(path))


def scan(shard: Shard, root: Path, workers: int = WORKERS) -> Iterator[Scanned]:
    """Yield the records of a shard, in order.

    Args:
        shard: the shard to scan.
        root: the local folder that `shard.path` is below.
        workers: the number of threads.

    Raises:
        DataError: a record lacks an id, image or target, or has one of the wrong kind; the message
            names the shard and the record.
        IntegrityError: the shard is damaged.
    """
    name = shard.subset.data.image or "image"

    def scan_record(index: int, payload: bytes) -> Scanned:
        where = f"{shard.path}: record {index}"
        try:
            features = decode_example(payload)
        except google.protobuf.message.DecodeError:
            raise IntegrityError(f"{where}: not a tf.train.Example") from None
        row = _row(shard.subset, features, where)
        data = features.get(name)
        if not isinstance(data, bytes):
            raise DataError(f"{where}: no bytes feature {name!r}")
        image = _image(data, shard.size, row, shard.path, shard.subset.split)
        return Scanned(row, index, *_size(features, shard.size), image)

    # Passing records to the threads one by one would cost a fifth more.
    numbered = enumerate(read_shard(root / shard.path))
    batches = iter(lambda: list(islice(numbered, _AT_ONCE)), [])
    for batch in in_order(lambda batch: [scan_record(*each) for each in batch], batches, workers):
        yield from batch


def _size(features: _Features, size: int) -> tuple[int, int]:
    """Return (width, height) of the original image, or of the stored one if not recorded."""
    width, height = features.get("width"), features.get("height")
    valid = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return (width, height) if valid else (size, size)  # type: ignore[return-value]  # whole numbers then


def _image(data: bytes, size: int, row: Row, path: str, split: str) -> Described | Rejected:
    try:
        # Check the header before the pixels take memory.
        width, height = jpeg.size(data)
        if (width, height) != (size, size):
            return Rejected(
                row.id, path, f"{width} × {height} pixels, not {size} × {size}", len(data), split
            )
        pixels, fault = jpeg.decode(data, "RGB")
        return described(pixels, data, fault)
    except ValueError as error:
        if data[:2] == b"\xff\xd8":
            reason = f"damaged or truncated JPEG: {error}"
        else:
            reason = f"not a JPEG: it is {kinds.described(data)}"
        return Rejected(row.id, path, reason, len(data), split)


def _row(subset: Subset, features: _Features, where: str) -> Row:
    data = subset.data
    label: str | int = ""
    if subset.split == "train":
        target = features.get(data.target)
        if target is None or isinstance(target, float):
            raise DataError(
                f"{where}: no feature {data.target!r} (data.target); it has"
                f" {', '.join(sorted(features))}"
            )
        label = target.decode(errors="replace") if isinstance(target, bytes) else target
    group = ""
    if subset.split == "train" and data.group in features:
        # Numbered patients count from 0; some data sets mark an unknown one with a negative number.
        value = features[data.group]
        group = (
            ""
            if isinstance(value, int) and value < 0
            else category_of(_text(features, data.group, where))
        )
    numeric = tuple(_number(features, name, where) for name in data.numeric)
    categorical = tuple(
        category_of(_text(features, name, where) if name in features else "")
        for name in data.categorical
    )
    return Row(
        subset.prefix + _text(features, data.id, where), label, group, numeric, categorical, where
    )


def _number(features: _Features, name: str, where: str) -> float:
    value = features.get(name, b"")
    return (
        number_of(value.decode(errors="replace"), where, name)
        if isinstance(value, bytes)
        else float(value)
    )


def _text(features: _Features, name: str, where: str) -> str:
    value = features.get(name)
    if value is None:
        raise DataError(f"{where}: no feature {name!r}; it has {', '.join(sorted(features))}")
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if not text.isprintable():
        raise DataError(
            f"{where}: feature {name!r}: {text!r} has a character that cannot be printed"
        )
    return text
