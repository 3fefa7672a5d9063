"""Objects of Google Cloud Storage: list, read, write, delete, and local copies.

Paths that begin with `gs://` are objects or prefixes. Every transfer is checked by crc32c. Public
buckets can be read without credentials.
"""

import base64
import contextlib
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from components.storage import client
from components.storage.errors import explained
from trainer.errors import DataError, IntegrityError, StorageError

# Where a step on Vertex AI or on a cluster sees the objects of buckets, and where Linux lists
# mounts.
MOUNT = "/gcs/"
_MOUNTS = Path("/proc/self/mounts")
PAGE = 1000


class Object(NamedTuple):
    """An object: where it is, its length, the base64 of its crc32c (big-endian) and its
    generation."""

    uri: str
    bytes: int
    crc32c: str
    generation: int


def is_remote(path: str | Path) -> bool:
    """Whether a path is one of Cloud Storage."""
    return str(path).startswith(client.SCHEME)


def uri_of(path: str | Path) -> str:
    """The `gs://` URI of what a task sees below `MOUNT`; any other path is returned as it is."""
    text = str(path)
    return client.SCHEME + text.removeprefix(MOUNT) if text.startswith(MOUNT) else text


def is_slow(path: str | Path) -> bool:
    """Whether a path is a bucket that is mounted as a folder (gcsfuse): each read is a request
    then."""
    if not str(path).startswith(MOUNT) or not _MOUNTS.exists():
        return False
    mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    return any(
        f"{place}/".startswith(MOUNT) and kind.startswith("fuse") for _, place, kind, *_ in mounts
    )


def listing(prefix: str) -> list[Object]:
    """Every object whose URI begins with `prefix`, sorted; folders' empty placeholders are left
    out.

    Raises:
        StorageError: the bucket is not there, or may not be read.
    """
    bucket, name = client.split(prefix)
    with explained(prefix):
        blobs = client.client().list_blobs(bucket, prefix=name, page_size=PAGE, **client.options())
        return sorted(
            Object(
                f"{client.SCHEME}{bucket}/{blob.name}",
                int(blob.size),
                blob.crc32c,
                int(blob.generation),
            )
            for blob in blobs
            if not blob.name.endswith("/")
        )


def exists(uri: str) -> bool:
    """Whether there is such an object."""
    with explained(uri):
        return bool(client.blob(uri).exists(**client.options()))


def bucket_location(uri: str) -> str:
    """Where the bucket of a URI lies: a region, as "us-central1", or "us", "eu", "asia".

    Raises:
        StorageError: it is not there, or may not be looked at.
    """
    with explained(uri):
        bucket = client.client().get_bucket(client.split(uri)[0], **client.options())
    return str(bucket.location or "").lower()


def read(uri: str) -> bytes:
    """An object's bytes, whole in memory.

    Raises:
        StorageError: it is not there, or may not be read. IntegrityError: what came is not what is
            stored.
    """
    with explained(uri):
        blob = client.blob(uri)
        data: bytes = blob.download_as_bytes(**client.options(), checksum="crc32c")
    if blob.crc32c and _crc32c(data) != blob.crc32c:
        raise IntegrityError(f"{uri}: came with another crc32c than it is stored with: try again")
    return data


def local_path(path: str) -> str:
    """A local path to the same bytes: `path` itself, or a copy that lives as long as this
    process."""
    return _copy(path) if is_remote(path) else path


@functools.cache
def _copy(uri: str) -> str:
    # The copy's path ends as the object's does, so that an error that names it says which one it
    # is.
    path = path_inside(Path(_scratch().name), uri.removeprefix(client.SCHEME), uri)
    path.write_bytes(read(uri))
    return str(path)


def path_inside(folder: Path, name: str, uri: str) -> Path:
    """Where an object's file goes, its folder made; a bucket's owner chooses names, and `..` is a
    fine one there."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{uri}: its name leads out of the folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@functools.cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="foldline-")


def put(path: str | Path, uri: str) -> None:
    """Upload one file, in place of whatever is there."""
    there = [entry for entry in listing(uri) if entry.uri == uri]
    send(Path(path), uri, there[0] if there else None)


def delete(uri: str) -> None:
    """Delete an object; one that is gone already is no error."""
    from google.api_core.exceptions import NotFound

    with explained(uri), contextlib.suppress(NotFound):
        client.blob(uri).delete(**client.options())


def send(path: Path, uri: str, there: Object | None) -> int:
    """Upload one file, unless the object has these bytes already; returns how many were sent, 0 or
    1."""
    from google.api_core.exceptions import PreconditionFailed

    crc = file_crc32c(path)
    if there is not None and (there.crc32c, there.bytes) == (crc, path.stat().st_size):
        return 0
    blob = client.blob(uri)
    with explained(uri):
        try:
            blob.upload_from_filename(
                path,
                if_generation_match=there.generation if there else 0,
                checksum="crc32c",
                **client.options(),
            )
        except PreconditionFailed:
            # Either another writer, or this very upload, whose answer was lost and which was tried
            # again.
            blob.reload(**client.options())
            if blob.crc32c != crc:
                raise StorageError(
                    f"{uri}: another writer put something else there meanwhile"
                ) from None
    if blob.crc32c != crc:
        raise IntegrityError(
            f"{uri}: is stored with another crc32c than {path} has: delete it and try again"
        )
    return 1


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def file_crc32c(path: Path) -> str:
    checksum = google_crc32c.Checksum()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()
