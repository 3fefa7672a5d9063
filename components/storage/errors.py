"""The client's errors in words that say what to do."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from components import retry
from components.storage import client
from trainer.errors import IntegrityError, StorageError


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
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
            told = f"{uri}: the storage service failed for {retry.PATIENCE:g} s: {error}"
        elif client.is_anonymous():
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
