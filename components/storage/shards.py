"""Where the shards of a records folder are."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from components.storage.folders import local_root
from components.storage.objects import is_remote, is_slow, uri_of
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest


@contextlib.contextmanager
def local_shards(records: str | Path, size: int = 0) -> Iterator[Path]:
    """The local folder below which the shards of a records folder lie: itself, or where its ready
    TFRecords are, fetched if need be.

    Args:
        size: of the shards that are wanted, in pixels; 0 for the smallest.

    Raises:
        IntegrityError: the records folder is not whole, or a shard is gone.
    """
    about = read_manifest(records, only=(tables.EXAMPLES,))
    root = about["root"] or str(records)
    if is_slow(root):
        # Read many times over: once through the network is enough.
        root = uri_of(root)
    names: set[str] = set()
    if is_remote(root):
        examples = tables.read_examples(records)
        names.update(examples[f"shard_{size or min(about['sizes'])}"])
    with local_root(root, sorted(names)) as folder:
        yield folder
