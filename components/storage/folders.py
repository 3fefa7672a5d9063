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
    """Download objects into a folder, `TRANSFERS` at once.

    If it fails, the folder is left incomplete.

    Args:
        objects: the objects, as `listing` returns them.
        prefix: the URI that is replaced by the folder's path.
        folder: the folder to write to.

    Raises:
        StorageError: an object is missing or cannot be read.
        IntegrityError: a download does not match the stored checksum.
    """

    def download(entry: Object) -> None:
        path = path_inside(folder, entry.uri.removeprefix(prefix).lstrip("/"), entry.uri)
        with explained(entry.uri):
            client.blob(entry.uri).download_to_filename(path, **client.options(), checksum="crc32c")
        if path.stat().st_size != entry.bytes or file_crc32c(path) != entry.crc32c:
            raise IntegrityError(
                f"{entry.uri}: the download does not match the stored crc32c: try again"
            )

    for _ in in_order(download, objects, TRANSFERS):
        pass


def fetch_folder(uri: str, folder: Path) -> None:
    """Download a published folder, and check it against its manifest.

    Args:
        uri: `gs://bucket/prefix` of the folder.
        folder: the local folder to write to.

    Raises:
        StorageError: an object is missing or cannot be read.
        IntegrityError: there is no manifest, so publishing did not finish; or a file does not match
            the manifest.
    """
    objects = listing(uri + "/")
    if f"{uri}/{MANIFEST}" not in {entry.uri for entry in objects}:
        raise IntegrityError(
            f"{uri}: no {MANIFEST}, so publishing did not finish: publish it again"
        )
    fetch(objects, uri, folder)
    read_manifest(folder)


def publish(folder: str | Path, uri: str) -> int:
    """Upload a folder; the manifest comes last, so that an incomplete upload is recognised.

    Objects with the same bytes are not sent again: an interrupted upload resumes. An object is
    written only if its generation is still the one that was listed (0 for a new object): of two
    writers at once, one fails, and their files never mix.

    Args:
        folder: the local folder, with a manifest.
        uri: `gs://bucket/prefix` to upload to.

    Returns:
        how many files were sent.

    Raises:
        StorageError: the prefix has other objects or another manifest, or another writer was
            faster.
        IntegrityError: an upload does not match the file.
    """
    folder = Path(folder)
    existing = {entry.uri: entry for entry in listing(uri + "/")}
    manifest = existing.get(f"{uri}/{MANIFEST}")
    if manifest is not None and manifest.crc32c == file_crc32c(folder / MANIFEST):
        return 0
    if manifest is not None:
        raise StorageError(
            f"{uri}: already has other complete records: use another prefix, or delete them"
        )
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST
    ]
    foreign = sorted(
        set(existing) - {f"{uri}/{path.relative_to(folder).as_posix()}" for path in files}
    )
    if foreign:
        # It would count as part of these records when the prefix is listed.
        raise StorageError(
            f"{foreign[0]}: exists, but is not part of these records: delete it, or use another"
            " prefix"
        )

    def upload(path: Path) -> int:
        target = f"{uri}/{path.relative_to(folder).as_posix()}"
        return send(path, target, existing.get(target))

    sent = sum(in_order(upload, files, TRANSFERS))
    return sent + upload(folder / MANIFEST)


@contextlib.contextmanager
def local_root(root: str, names: Iterable[str]) -> Iterator[Path]:
    """A local folder with some files of `root`.

    Args:
        root: a local folder, which is returned as it is; or `gs://bucket/prefix`, whose files are
            downloaded to a folder that is deleted when the block ends.
        names: the paths of the files below `root`.

    Raises:
        StorageError: an object cannot be read.
        IntegrityError: an object does not exist, or a download does not match its checksum.
    """
    if not is_remote(root):
        yield Path(root)
        return
    uris = {f"{root}/{name}" for name in names}
    # List only the folders that have one of the files.
    prefixes = sorted({uri.rpartition("/")[0] + "/" for uri in uris})
    objects = [entry for prefix in prefixes for entry in listing(prefix) if entry.uri in uris]
    missing = sorted(uris - {entry.uri for entry in objects})
    if missing:
        raise IntegrityError(f"{missing[0]}: no such object ({len(missing)} missing in all)")
    with tempfile.TemporaryDirectory(prefix="foldline-") as folder:
        fetch(sorted(set(objects)), root, Path(folder))
        yield Path(folder)
