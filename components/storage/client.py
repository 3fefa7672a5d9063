"""The official client of Cloud Storage, which honours STORAGE_EMULATOR_HOST, and its retries."""

import functools
import os
from typing import Any

from components import retry

SCHEME = "gs://"


def client() -> Any:
    """The client of this process."""
    return _connected()[0]


def is_anonymous() -> bool:
    """Whether the client has no credentials."""
    return _connected()[1]


def reset() -> None:
    """Connect again at the next call, as for another environment."""
    _connected.cache_clear()


@functools.cache
def _connected() -> tuple[Any, bool]:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        # Objects need no project, but the client insists on one.
        project = os.environ.get("GOOGLE_CLOUD_PROJECT", "none")
        # An emulator gets no credentials.
        return storage.Client(project=project), "STORAGE_EMULATOR_HOST" in os.environ
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client(), True


def options() -> dict[str, Any]:
    """The arguments of every call: its timeout and its retry policy."""
    return {"retry": retry.policy(retry.is_transient), "timeout": retry.PATIENCE}


def blob(uri: str) -> Any:
    """The client's handle of an object; sends no request."""
    bucket, name = split(uri)
    return client().bucket(bucket).blob(name)


def split(uri: str) -> tuple[str, str]:
    """The bucket and the name of `gs://bucket/name`."""
    bucket, _, name = uri.removeprefix(SCHEME).partition("/")
    return bucket, name
