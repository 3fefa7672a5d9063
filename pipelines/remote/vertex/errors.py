"""Vertex AI's errors in words that say what to do."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from components import retry
from components.storage.errors import role
from trainer.errors import RemoteError

# The smallest role that has a permission, by the start of the permission's name. docs/security.md
# lists who needs which role.
_ROLES = {
    "aiplatform.": "roles/aiplatform.user",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser on the run's service account",
    "logging.": "roles/logging.viewer",
    "artifactregistry.": "roles/artifactregistry.reader on the repository",
}


@contextlib.contextmanager
def explained(what: str, place: str, endpoint: str) -> Iterator[None]:
    """Turn the service's errors into RemoteError.

    Args:
        what: what the request is about; the message starts with it.
        place: project and region.
        endpoint: the address of the service.

    Raises:
        RemoteError: the request failed, or what it started does not end.
    """
    import requests
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (GoogleAuthError, exceptions.Unauthorized) as error:
        reason = _reason(error) if isinstance(error, exceptions.Unauthorized) else error
        raise RemoteError(
            f"{what}: not signed in ({reason}): run `gcloud auth application-default login`"
        ) from None
    except exceptions.Forbidden as error:
        raise RemoteError(f"{what}: not allowed: {_reason(error)}{_role(error)}") from None
    except exceptions.NotFound as error:
        raise RemoteError(f"{what}: not found in {place}: {_reason(error)}") from None
    except exceptions.Conflict as error:
        raise RemoteError(f"{what}: already exists: {_reason(error)}") from None
    except exceptions.TooManyRequests as error:
        raise RemoteError(f"{what}: {_reason(error)}{_quota(error)}") from None
    except exceptions.RetryError as error:
        cause = error.cause if isinstance(error.cause, exceptions.GoogleAPICallError) else None
        reason = f"{_reason(cause)}{_quota(cause)}" if cause is not None else str(error.cause)
        raise RemoteError(f"{what}: Vertex AI failed for {retry.PATIENCE:g} s: {reason}") from None
    except exceptions.GoogleAPICallError as error:
        raise RemoteError(f"{what}: {_reason(error)}") from None
    except TimeoutError:
        raise RemoteError(
            f"{what}: Vertex AI has not finished in time: look at the console"
        ) from None
    except requests.RequestException as error:
        raise RemoteError(f"{what}: {endpoint} cannot be reached: {error}") from None


def _reason(error: Any) -> str:
    """The service's own text, without the address that the library puts before it."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, ValueError, KeyError, TypeError):
        return str(error.message)


def _role(error: Any) -> str:
    """The missing permission and a role that has it, as the end of a message; "" if unknown."""
    permission = (
        (error.metadata or {}).get("permission", "")
        if error.reason == "IAM_PERMISSION_DENIED"
        else ""
    )
    permission = permission or next(
        iter(re.findall(r"'?([a-z]+\.[A-Za-z]+\.[A-Za-z]+)'?", _reason(error))), ""
    )
    if permission.startswith("storage."):
        return f" (lacks {permission}, which {role(permission)} has)"
    return next(
        (
            f" (lacks {permission}, which {name} has)"
            for prefix, name in _ROLES.items()
            if permission.startswith(prefix)
        ),
        "",
    )


def _quota(error: Any) -> str:
    """The exceeded quotas and the remedy, as the end of a message; "" if the error names none."""
    violations = [
        violation
        for detail in error.details
        if isinstance(detail, Mapping)
        and str(detail.get("@type", "")).endswith("google.rpc.QuotaFailure")
        for violation in detail.get("violations", [])
    ]
    exceeded = "; ".join(
        f"{violation.get('subject', '')} {violation.get('description', '')}".strip()
        for violation in violations
    )
    remedy = (
        "request more at console.cloud.google.com/iam-admin/quotas, or use another region or a"
        " smaller machine"
    )
    return f" ({exceeded}): {remedy}" if exceeded else ""
