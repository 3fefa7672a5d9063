"""Gives local access to the shards of a records folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from components.storage.folders import local_root
from components.storage.objects import is_remote, is_slow, uri_of
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest


@contextlib.contextmanager
def local_shards(records: str | Path, size: int = 0) -> Iterator[Path]:
    """A local folder with the shards of a records folder.

    It is the records folder itself, or the folder of the ready TFRecords that it refers to. Remote
    shards are downloaded, and deleted when the block ends.

    Args:
        records: the records folder.
        size: the image size of the shards, in pixels; 0 for the smallest.

    Raises:
        StorageError: a shard cannot be read.
        IntegrityError: the records folder is incomplete or damaged, or a shard is missing.
    """
    manifest = read_manifest(records, only=(tables.EXAMPLES,))
    root = manifest["root"] or str(records)
    if is_slow(root):
        # Training reads the shards many times: download them once instead.
        root = uri_of(root)
    names: set[str] = set()
    if is_remote(root):
        examples = tables.read_examples(records)
        names.update(examples[f"shard_{size or min(manifest['sizes'])}"])
    with local_root(root, sorted(names)) as folder:
        yield folder
