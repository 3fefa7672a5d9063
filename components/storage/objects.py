"""Objects of Google Cloud Storage: the one place that talks to it, outside the launchers.

Paths that begin with `gs://` are objects or prefixes. Every transfer is checked by crc32c, and
tried again for `PATIENCE` seconds where the service falters. Without credentials public buckets can
be read. The client is the official one; it honours STORAGE_EMULATOR_HOST."""

import base64
import contextlib
import functools
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from components.parallel import in_order
from trainer.artifacts.manifest import MANIFEST, read_manifest
from trainer.errors import DataError, IntegrityError, StorageError

_SCHEME = "gs://"
# Where a task on Vertex AI, and on a cluster, sees the objects of buckets, and where Linux tells
# what is mounted.
MOUNT = "/gcs/"
_MOUNTS = Path("/proc/self/mounts")
# Transfers at once; each has at most a chunk of its object in memory.
TRANSFERS = 8
PAGE = 1000
PATIENCE = 60.0


class Object(NamedTuple):
    """An object: where it is, its length, the base64 of its crc32c (big-endian) and its
    generation."""

    uri: str
    bytes: int
    crc32c: str
    generation: int


def is_remote(path: str | Path) -> bool:
    """Whether a path is one of Cloud Storage."""
    return str(path).startswith(_SCHEME)


def uri_of(path: str | Path) -> str:
    """The `gs://` URI of what a task sees below `MOUNT`; any other path is returned as it is."""
    text = str(path)
    return _SCHEME + text.removeprefix(MOUNT) if text.startswith(MOUNT) else text


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
    bucket, name = _split(prefix)
    with _explained(prefix):
        blobs = _client().list_blobs(
            bucket, prefix=name, page_size=PAGE, retry=_retry(), timeout=PATIENCE
        )
        return sorted(
            Object(
                f"{_SCHEME}{bucket}/{blob.name}", int(blob.size), blob.crc32c, int(blob.generation)
            )
            for blob in blobs
            if not blob.name.endswith("/")
        )


def exists(uri: str) -> bool:
    """Whether there is such an object."""
    with _explained(uri):
        return bool(_blob(uri).exists(retry=_retry(), timeout=PATIENCE))


def place_of_bucket(uri: str) -> str:
    """Where the bucket of a URI lies: a region, as "us-central1", or "us", "eu", "asia".

    Raises:
        StorageError: it is not there, or may not be looked at.
    """
    with _explained(uri):
        bucket = _client().get_bucket(_split(uri)[0], retry=_retry(), timeout=PATIENCE)
    return str(bucket.location or "").lower()


def read(uri: str) -> bytes:
    """An object's bytes, whole in memory.

    Raises:
        StorageError: it is not there, or may not be read. IntegrityError: what came is not what is
            stored.
    """
    with _explained(uri):
        blob = _blob(uri)
        data: bytes = blob.download_as_bytes(retry=_retry(), timeout=PATIENCE, checksum="crc32c")
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
    path = _inside(Path(_scratch().name), uri.removeprefix(_SCHEME), uri)
    path.write_bytes(read(uri))
    return str(path)


def _inside(folder: Path, name: str, uri: str) -> Path:
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


def fetch(objects: Iterable[Object], prefix: str, folder: Path) -> None:
    """Download objects into `folder`, each at its name below `prefix`, `TRANSFERS` at once.

    Raises:
        StorageError, IntegrityError: as `read`; what is in the folder then is not whole.
    """

    def one(wanted: Object) -> None:
        path = _inside(folder, wanted.uri.removeprefix(prefix).lstrip("/"), wanted.uri)
        with _explained(wanted.uri):
            _blob(wanted.uri).download_to_filename(
                path, retry=_retry(), timeout=PATIENCE, checksum="crc32c"
            )
        if path.stat().st_size != wanted.bytes or _file_crc32c(path) != wanted.crc32c:
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
    if manifest is not None and manifest.crc32c == _file_crc32c(folder / MANIFEST):
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
        return _send(path, target, there.get(target))

    sent = sum(in_order(one, files, TRANSFERS))
    return sent + one(folder / MANIFEST)


def put(path: str | Path, uri: str) -> None:
    """Upload one file, in place of whatever is there."""
    there = [entry for entry in listing(uri) if entry.uri == uri]
    _send(Path(path), uri, there[0] if there else None)


def delete(uri: str) -> None:
    """Delete an object; one that is gone already is no error."""
    from google.api_core.exceptions import NotFound

    with _explained(uri), contextlib.suppress(NotFound):
        _blob(uri).delete(retry=_retry(), timeout=PATIENCE)


def _send(path: Path, uri: str, there: Object | None) -> int:
    """Upload one file, unless the object has these bytes already; returns how many were sent, 0 or
    1."""
    from google.api_core.exceptions import PreconditionFailed

    crc = _file_crc32c(path)
    if there is not None and (there.crc32c, there.bytes) == (crc, path.stat().st_size):
        return 0
    blob = _blob(uri)
    with _explained(uri):
        try:
            blob.upload_from_filename(
                path,
                if_generation_match=there.generation if there else 0,
                checksum="crc32c",
                retry=_retry(),
                timeout=PATIENCE,
            )
        except PreconditionFailed:
            # Either another writer, or this very upload, whose answer was lost and which was tried
            # again.
            blob.reload(retry=_retry(), timeout=PATIENCE)
            if blob.crc32c != crc:
                raise StorageError(
                    f"{uri}: another writer put something else there meanwhile"
                ) from None
    if blob.crc32c != crc:
        raise IntegrityError(
            f"{uri}: is stored with another crc32c than {path} has: delete it and try again"
        )
    return 1


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


@functools.cache
def _client() -> Any:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        # Objects need no project; the client insists on some.
        return storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY

    def again(error: Exception) -> bool:
        # A token is fetched anew each hour, by which the client's own rule does not go.
        return bool(DEFAULT_RETRY._predicate(error)) or bool(getattr(error, "retryable", False))

    return DEFAULT_RETRY.with_timeout(PATIENCE).with_predicate(again)


def _blob(uri: str) -> Any:
    bucket, name = _split(uri)
    return _client().bucket(bucket).blob(name)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix(_SCHEME).partition("/")
    return bucket, name


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    """The client's errors in the project's words."""
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except DataCorruption as error:
        raise IntegrityError(
            f"{uri}: came with another checksum than it is stored with: try again ({error})"
        ) from None
    except exceptions.NotFound:
        raise StorageError(f"{uri}: no such bucket or object") from None
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        refused = isinstance(
            error, (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError)
        )
        if not refused or getattr(error, "retryable", False):
            told = f"{uri}: the storage service failed for {PATIENCE:g} s: {error}"
        elif _anonymous():
            told = (
                f"{uri}: not signed in: run `gcloud auth application-default login`"
                f" ({_said(error)})"
            )
        elif isinstance(error, GoogleAuthError):
            told = (
                f"{uri}: the account cannot sign in ({error}): run `gcloud auth application-default"
                " login`"
            )
        else:
            told = f"{uri}: not allowed ({_said(error)}): {_lacking(_said(error))}"
        raise StorageError(told) from None


def _anonymous() -> bool:
    from google.auth.credentials import AnonymousCredentials

    return isinstance(_client()._credentials, AnonymousCredentials)


def _said(error: Any) -> str:
    return str(getattr(error, "message", "") or error)


def _lacking(said: str) -> str:
    found = re.search(r"storage\.\w+\.\w+", said)
    return (
        f"lacks {found[0]}, which {role(found[0])} has"
        if found
        else "check the account's roles on the bucket"
    )


def role(permission: str) -> str:
    """The smallest role that has a permission, as `storage.objects.get`, and where it is
    granted."""
    if permission.startswith("storage.buckets."):
        return "roles/storage.bucketViewer on the bucket"
    reads = permission in ("storage.objects.get", "storage.objects.list")
    return f"roles/storage.{'objectViewer' if reads else 'objectUser'} on the bucket"


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(data).digest()).decode()


def _file_crc32c(path: Path) -> str:
    checksum = google_crc32c.Checksum()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()
