"""Ready TFRecords: scanned where they lie, never rewritten.

Every record is read once a size: its crc, its features, and its image, decoded for the sums and
hashes of the examples table. Features that the competition file names and a record lacks are
missing values."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import google.protobuf.message
import simplejpeg

from components.parallel import WORKERS, in_order
from components.records.images.describe import Described, described
from components.records.images.jpeg import decoded
from components.records.sources.columns import category_of, number_of
from components.records.sources.patterns import MatchedFile, located
from components.records.types import Rejected, Row, Subset, subsets
from components.storage import objects
from trainer.artifacts.records import decode_example, named_count, read_shard
from trainer.config.data import Data, Records
from trainer.errors import DataError, IntegrityError

# Records that a thread takes at once.
_AT_ONCE = 16
_Features = dict[str, bytes | int | float]


class Shard(NamedTuple):
    """A file of records of one size, of one subset; `path` is below the data's root."""

    subset: Subset
    size: int
    path: str
    records: int | None


class Scanned(NamedTuple):
    """A record: its row, its place in the shard, and what was found out about its image, or why it
    cannot be used."""

    row: Row
    place: int
    width: int
    height: int
    image: Described | Rejected


def shards(subset: Subset) -> dict[int, list[MatchedFile]]:
    """The files of a subset by the size that their paths name, 0 where the pattern has no {size};
    validation after training.

    Raises:
        DataError: no file fits a pattern.
    """
    data = subset.data
    patterns = (
        [data.test_images] if subset.split == "test" else [data.images, data.validation_images]
    )
    found: dict[int, list[MatchedFile]] = {}
    for pattern in filter(None, patterns):
        fitting = located(data.root, pattern)
        if not fitting:
            raise DataError(f"{data.root}: no file fits {pattern!r}")
        for entry in fitting:
            found.setdefault(int(entry.texts.get("size", 0)), []).append(entry)
    return found


def units(data: Data, records: Records) -> list[Shard]:
    """Every shard to scan: of each size, of each subset, in order.

    Raises:
        DataError: there are no shards of a size that the competition file names.
    """
    listed = []
    located_of = [(subset, shards(subset)) for subset in subsets(data)]
    for size in records.sizes:
        for subset, found in located_of:
            if len(records.sizes) == 1 and set(found) == {0}:
                found = {size: found[0]}
            if size not in found:
                there = ", ".join(map(str, sorted(found)))
                raise DataError(
                    f"{data.root}: no {subset.split} shards of size {size}, though of {there}"
                    " (records.sizes)"
                )
            for entry in found[size]:
                path = entry.path.removeprefix(data.root + "/")
                listed.append(Shard(subset, size, path, named_count(path)))
    return listed


def look(data: Data, records: Records) -> tuple[int | None, list[str] | None]:
    """How many labelled images there are, and the ids of the test images, from the shards of the
    smallest size; None where only a download would tell.

    Raises:
        DataError: as `units`. IntegrityError: a shard is damaged.
    """
    size = min(records.sizes)
    mine = [shard for shard in units(data, records) if shard.size == size]
    labelled = [shard for shard in mine if shard.subset.split == "train"]
    if objects.is_remote(data.root):
        named = [shard.records for shard in labelled]
        return (None if None in named else sum(filter(None, named))), None
    counts = [
        shard.records if shard.records is not None else _count(Path(data.root, shard.path))
        for shard in labelled
    ]
    ids = [
        _text(decode_example(payload), data.id, f"{shard.path}: record {place}")
        for shard in mine
        if shard.subset.split == "test"
        for place, payload in enumerate(read_shard(Path(data.root, shard.path)))
    ]
    return sum(counts), ids


def _count(path: Path) -> int:
    return sum(1 for _ in read_shard(path))


def scan(shard: Shard, root: Path, workers: int = WORKERS) -> Iterator[Scanned]:
    """The records of a shard that lies below the local folder `root`, in order.

    Raises:
        DataError: a record has no id, image or target, or one of another kind; the text has shard
            and record.
        IntegrityError: the shard is damaged.
    """
    name = shard.subset.data.image or "image"

    def one(place: int, payload: bytes) -> Scanned:
        where = f"{shard.path}: record {place}"
        try:
            features = decode_example(payload)
        except google.protobuf.message.DecodeError:
            raise IntegrityError(f"{where}: no tf.train.Example") from None
        row = _row(shard.subset, features, where)
        jpeg = features.get(name)
        if not isinstance(jpeg, bytes):
            raise DataError(f"{where}: no feature {name!r} of bytes")
        return Scanned(
            row, place, *_size(features, shard.size), _image(jpeg, shard.size, row, shard.path)
        )

    # Handed over one by one, records would cost a fifth more.
    numbered = enumerate(read_shard(root / shard.path))
    batches = iter(lambda: list(islice(numbered, _AT_ONCE)), [])
    for batch in in_order(lambda batch: [one(*each) for each in batch], batches, workers):
        yield from batch


def _size(features: _Features, size: int) -> tuple[int, int]:
    """Width and height of the original, where the record says so."""
    width, height = features.get("width"), features.get("height")
    known = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    return (width, height) if known else (size, size)  # type: ignore[return-value]  # whole numbers then


def _image(jpeg: bytes, size: int, row: Row, path: str) -> Described | Rejected:
    try:
        # By the header, before the pixels take memory.
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        if (width, height) != (size, size):
            return Rejected(
                row.id, path, f"{width} × {height} pixels, not {size} × {size}", len(jpeg)
            )
        return described(decoded(jpeg, 3), jpeg)
    except ValueError as error:
        return Rejected(row.id, path, f"a damaged JPEG: {error}", len(jpeg))


def _row(subset: Subset, features: _Features, where: str) -> Row:
    data = subset.data
    label: str | int = ""
    if subset.split == "train":
        target = features.get(data.target)
        if target is None or isinstance(target, float) or target == b"":
            raise DataError(
                f"{where}: no feature {data.target!r} (data.target); it has"
                f" {', '.join(sorted(features))}"
            )
        label = target.decode(errors="replace") if isinstance(target, bytes) else target
    group = ""
    if subset.split == "train" and data.group in features:
        # Numbered patients are numbered from 0; less is how some say that they do not know.
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
