"""Turns the client's errors into this project's, with a message that says what to do."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from components import retry
from components.storage import client
from trainer.errors import IntegrityError, StorageError


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn the client's errors into StorageError and IntegrityError.

    Args:
        uri: the object or prefix in question; the message starts with it.
    """
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption

    try:
        yield
    except DataCorruption as error:
        raise IntegrityError(
            f"{uri}: the download does not match the stored checksum: try again ({error})"
        ) from None
    except exceptions.NotFound:
        raise StorageError(f"{uri}: no such bucket or object") from None
    except (exceptions.GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
        refused = isinstance(
            error, (exceptions.Forbidden, exceptions.Unauthorized, GoogleAuthError)
        )
        if not refused or getattr(error, "retryable", False):
            message = f"{uri}: the storage service failed for {retry.PATIENCE:g} s: {error}"
        elif client.is_anonymous():
            message = (
                f"{uri}: not signed in: run `gcloud auth application-default login`"
                f" ({_reason(error)})"
            )
        elif isinstance(error, GoogleAuthError):
            message = (
                f"{uri}: the account cannot sign in ({error}): run `gcloud auth application-default"
                " login`"
            )
        else:
            message = f"{uri}: not allowed ({_reason(error)}): {_lacking(_reason(error))}"
        raise StorageError(message) from None


def _reason(error: Any) -> str:
    """The service's own text."""
    return str(getattr(error, "message", "") or error)


def _lacking(reason: str) -> str:
    """The permission that the service's text names, and a role that has it."""
    permission = re.search(r"storage\.\w+\.\w+", reason)
    return (
        f"lacks {permission[0]}, which {role(permission[0])} has"
        if permission
        else "check the account's roles on the bucket"
    )


def role(permission: str) -> str:
    """The smallest role that has a permission, and where it is granted.

    Args:
        permission: such as `storage.objects.get`.
    """
    if permission.startswith("storage.buckets."):
        return "roles/storage.bucketViewer on the bucket"
    reads = permission in ("storage.objects.get", "storage.objects.list")
    return f"roles/storage.{'objectViewer' if reads else 'objectUser'} on the bucket"
