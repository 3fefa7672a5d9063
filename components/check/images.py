"""Opens an image of each kind before anything runs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePath

from components.records.images.decode import BadImage, decoding
from components.records.images.deep import LARGEST
from components.records.sources import files, tfrecords
from components.records.types import Rejected, Subset, subsets
from components.storage import objects
from components.storage.folders import local_root
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import DataError

# Files of one ending that are tried if bad ones may be left out.
_TRIED = 3
# File name endings of which a file is opened.
_MOST_KINDS = 20


def check_images(data: Data, records: Records) -> None:
    """Open an image of each subset and of each file name ending; of ready TFRecords, their first
    record.

    Raises:
        DataError: it cannot be used, and where bad images may be left out, neither can the next
            ones. The message names each file.
    """
    if data.source not in ("files", "tfrecords"):
        return
    shards = tfrecords.units(data, records) if data.source == "tfrecords" else []
    problems = [
        problem
        for subset in subsets(data)
        for problem in (
            _of_files(subset, records)
            if data.source == "files"
            else _of_records(subset, shards, records)
        )
    ]
    if problems:
        raise DataError("\n".join(problems))


def _of_files(subset: Subset, records: Records) -> Iterator[str]:
    tried = _TRIED if _may_be_bad(subset, records) else 1
    kinds: dict[str, list[str]] = defaultdict(list)
    opened = files.reader(subset, records)
    for item in opened.items(0, opened.rows):
        # An id may have dots, so that each name seems to have an ending of its own.
        kind = PurePath(item.file).suffix.lower()
        known = kind in kinds or len(kinds) < _MOST_KINDS
        if item.file and known and len(kinds[kind]) < tried:
            kinds[kind].append(item.file)
    for paths in kinds.values():
        problems = [problem for path in paths if (problem := _problem(path, records))]
        if len(problems) == len(paths):
            yield from problems


def _may_be_bad(subset: Subset, records: Records) -> bool:
    """Return whether bad images of a subset are allowed."""
    if subset.split == "train":
        return records.on_bad_image == "skip"
    return records.on_bad_test_image == "prior"


def _problem(path: str, records: Records) -> str:
    """Return what is wrong with a file, "" if it is an image."""
    try:
        with decoding(
            files.read(path),
            side=max(records.sizes),
            max_pixels=records.max_pixels,
            white_level=records.white_level or LARGEST,
        ):
            return ""
    except BadImage as error:
        return f"{path}: {error}"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"


def _of_records(subset: Subset, shards: Sequence[tfrecords.Shard], records: Records) -> list[str]:
    if objects.is_remote(subset.data.root):
        return []  # a shard is a large download
    tried = _TRIED if _may_be_bad(subset, records) else 1
    for shard in shards:
        if shard.subset != subset:
            continue
        with local_root(subset.data.root, [shard.path]) as root:
            found = list(islice(tfrecords.scan(shard, root, workers=1), tried))
        bad = [one.image.message() for one in found if isinstance(one.image, Rejected)]
        return bad if len(bad) == len(found) else []
    return []
