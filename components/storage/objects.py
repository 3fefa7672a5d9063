"""Objects of Google Cloud Storage: list, read, write, delete, and local copies.

Paths that start with `gs://` are objects or prefixes. Every transfer is checked by crc32c. Public
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
    """An object of Cloud Storage.

    Attributes:
        uri: `gs://bucket/name`.
        bytes: its length.
        crc32c: the base64 of its crc32c (big-endian).
        generation: the number of its version.
    """

    uri: str
    bytes: int
    crc32c: str
    generation: int


def is_remote(path: str | Path) -> bool:
    """Whether a path starts with `gs://`."""
    return str(path).startswith(client.SCHEME)


def uri_of(path: str | Path) -> str:
    """The `gs://` URI of a path below `MOUNT`; any other path is returned as it is."""
    text = str(path)
    return client.SCHEME + text.removeprefix(MOUNT) if text.startswith(MOUNT) else text


def is_slow(path: str | Path) -> bool:
    """Whether a path is in a mounted bucket (gcsfuse), where each read is a request."""
    if not str(path).startswith(MOUNT) or not _MOUNTS.exists():
        return False
    mounts = [line.split() for line in _MOUNTS.read_text(encoding="utf-8").splitlines()]
    return any(
        f"{point}/".startswith(MOUNT) and kind.startswith("fuse") for _, point, kind, *_ in mounts
    )


def listing(prefix: str) -> list[Object]:
    """Every object whose URI starts with `prefix`, sorted; without empty placeholders of folders.

    Raises:
        StorageError: the bucket does not exist, or cannot be read.
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
    """Whether the object exists."""
    with explained(uri):
        return bool(client.blob(uri).exists(**client.options()))


def bucket_location(uri: str) -> str:
    """The location of the bucket of a URI: a region such as "us-central1", or "us", "eu", "asia".

    Raises:
        StorageError: the bucket does not exist, or its metadata cannot be read.
    """
    with explained(uri):
        bucket = client.client().get_bucket(client.split(uri)[0], **client.options())
    return str(bucket.location or "").lower()


def read(uri: str) -> bytes:
    """The contents of an object, in memory.

    Raises:
        StorageError: the object does not exist, or cannot be read.
        IntegrityError: the download does not match the stored checksum.
    """
    with explained(uri):
        blob = client.blob(uri)
        data: bytes = blob.download_as_bytes(**client.options(), checksum="crc32c")
    if blob.crc32c and _crc32c(data) != blob.crc32c:
        raise IntegrityError(f"{uri}: the download does not match the stored crc32c: try again")
    return data


def local_path(path: str) -> str:
    """A local path with the same contents: a local `path` itself, or a copy of a remote one.

    The copy is deleted when this process ends.
    """
    return _copy(path) if is_remote(path) else path


@functools.cache
def _copy(uri: str) -> str:
    # The copy's path ends like the URI, so that an error message that names it is clear.
    path = path_inside(Path(_scratch().name), uri.removeprefix(client.SCHEME), uri)
    path.write_bytes(read(uri))
    return str(path)


def path_inside(folder: Path, name: str, uri: str) -> Path:
    """The path of an object's local copy; creates its folder.

    Args:
        folder: the folder that the path must be in.
        name: the object's name below the prefix; a bucket's owner may have put `..` into it.
        uri: the object, for the error message.

    Raises:
        DataError: the path is outside of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{uri}: its name points outside of the download folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@functools.cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="foldline-")


def put(path: str | Path, uri: str) -> None:
    """Upload a file; replaces an existing object."""
    existing = [entry for entry in listing(uri) if entry.uri == uri]
    send(Path(path), uri, existing[0] if existing else None)


def delete(uri: str) -> None:
    """Delete an object; does nothing if it does not exist."""
    from google.api_core.exceptions import NotFound

    with explained(uri), contextlib.suppress(NotFound):
        client.blob(uri).delete(**client.options())


def send(path: Path, uri: str, there: Object | None) -> int:
    """Upload a file, unless the object has the same contents already.

    Args:
        path: the file.
        uri: the object.
        there: the object as it was listed; None if it did not exist.

    Returns:
        how many files were sent: 0 or 1.

    Raises:
        StorageError: another writer changed the object since.
        IntegrityError: the stored object does not match the file.
    """
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
            # Either another writer changed the object, or this upload was retried because the
            # answer to its first attempt was lost.
            blob.reload(**client.options())
            if blob.crc32c != crc:
                raise StorageError(
                    f"{uri}: another writer has changed this object meanwhile"
                ) from None
    if blob.crc32c != crc:
        raise IntegrityError(
            f"{uri}: its stored crc32c does not match {path}: delete it and try again"
        )
    return 1


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def file_crc32c(path: Path) -> str:
    """The base64 of a file's crc32c (big-endian), as Cloud Storage reports it."""
    checksum = google_crc32c.Checksum()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()
