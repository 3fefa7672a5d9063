"""Folders of objects: download, publish, and local copies of some files."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.parallel import in_order
from components.storage import client
from components.storage.errors import explained
from components.storage.objects import (
    Object,
    file_crc32c,
    is_remote,
    listing,
    path_inside,
    send,
)
from trainer.artifacts.manifest import MANIFEST, read_manifest
from trainer.errors import IntegrityError, StorageError

# Transfers at once; each has at most a chunk of its object in memory.
TRANSFERS = 8


def fetch(objects: Iterable[Object], prefix: str, folder: Path) -> None:
    """Download objects into `folder`, each at its name below `prefix`, `TRANSFERS` at once.

    Raises:
        StorageError, IntegrityError: as `read`; what is in the folder then is not whole.
    """

    def one(wanted: Object) -> None:
        path = path_inside(folder, wanted.uri.removeprefix(prefix).lstrip("/"), wanted.uri)
        with explained(wanted.uri):
            client.blob(wanted.uri).download_to_filename(
                path, **client.options(), checksum="crc32c"
            )
        if path.stat().st_size != wanted.bytes or file_crc32c(path) != wanted.crc32c:
            raise IntegrityError(
                f"{wanted.uri}: came with another crc32c than it is stored with: try again"
            )

    for _ in in_order(one, objects, TRANSFERS):
        pass


def fetch_folder(uri: str, folder: Path) -> None:
    """Download a published folder, and check it by its manifest.

    Raises:
        IntegrityError: it has no manifest, so whoever wrote it did not finish; or a file is not the
            one that the manifest names.
    """
    objects = listing(uri + "/")
    if f"{uri}/{MANIFEST}" not in {entry.uri for entry in objects}:
        raise IntegrityError(
            f"{uri}: no {MANIFEST}, so what wrote here did not finish: publish it again"
        )
    fetch(objects, uri, folder)
    read_manifest(folder)


def publish(folder: str | Path, uri: str) -> int:
    """Upload a whole folder, its manifest last, so that nobody takes a part for the whole.

    Objects that are there with the same bytes are left: an upload that was stopped goes on. Each
    object is written only where its generation is the one that was listed (0: none), so that of two
    writers at once one fails and neither mixes.

    Returns:
        how many files were sent.

    Raises:
        StorageError: a manifest of other contents is there, or another writer was faster.
    """
    folder = Path(folder)
    there = {entry.uri: entry for entry in listing(uri + "/")}
    manifest = there.get(f"{uri}/{MANIFEST}")
    if manifest is not None and manifest.crc32c == file_crc32c(folder / MANIFEST):
        return 0
    if manifest is not None:
        raise StorageError(
            f"{uri}: other finished records are there: name another prefix, or delete these"
        )
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST
    ]
    foreign = sorted(
        set(there) - {f"{uri}/{path.relative_to(folder).as_posix()}" for path in files}
    )
    if foreign:
        # Whoever lists the prefix would take it for a part of these.
        raise StorageError(
            f"{foreign[0]}: is there, and no part of these records: delete it, or name another"
            " prefix"
        )

    def one(path: Path) -> int:
        target = f"{uri}/{path.relative_to(folder).as_posix()}"
        return send(path, target, there.get(target))

    sent = sum(in_order(one, files, TRANSFERS))
    return sent + one(folder / MANIFEST)


@contextlib.contextmanager
def local_root(root: str, names: Iterable[str]) -> Iterator[Path]:
    """A local folder in which the files `names` of `root` lie; remote ones are there as long as the
    block lasts."""
    if not is_remote(root):
        yield Path(root)
        return
    wanted = {f"{root}/{name}" for name in names}
    # Only the folders that hold a wanted file are listed.
    prefixes = sorted({uri.rpartition("/")[0] + "/" for uri in wanted})
    objects = [entry for prefix in prefixes for entry in listing(prefix) if entry.uri in wanted]
    lost = sorted(wanted - {entry.uri for entry in objects})
    if lost:
        raise IntegrityError(f"{lost[0]}: no such object ({len(lost)} are missing)")
    with tempfile.TemporaryDirectory(prefix="foldline-") as folder:
        fetch(sorted(set(objects)), root, Path(folder))
        yield Path(folder)
