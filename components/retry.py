"""The retry policy for every service: again for a minute, with growing random pauses.

Google's library is imported when a service is called: it takes longer than many a step.
"""

import http.client
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from google.api_core.retry import Retry

Result = TypeVar("Result")

# Seconds that a failing service is called again, and the first and the longest pause in between.
PATIENCE, FIRST_PAUSE, LONGEST_PAUSE = 60.0, 1.0, 20.0
# HTTP statuses of a service that may recover.
TRANSIENT_STATUSES = (408, 429, 500, 502, 503, 504)


def policy(is_transient: Callable[[Exception], bool]) -> "Retry":
    """The policy, for functions of Google's clients that take one.

    Args:
        is_transient: returns whether an error may go away by itself.
    """
    from google.api_core.retry import Retry

    return Retry(
        predicate=is_transient,
        initial=FIRST_PAUSE,
        maximum=LONGEST_PAUSE,
        multiplier=2.0,
        timeout=PATIENCE,
    )


def call(function: Callable[[], Result], is_transient: Callable[[Exception], bool]) -> Result:
    """Call a function, again where it fails for a transient reason; raises its last error."""
    from google.api_core.exceptions import RetryError

    try:
        result: Result = policy(is_transient)(function)()
    except RetryError as error:
        raise error.cause from None
    return result


def is_transient(error: Exception) -> bool:
    """Whether an error is temporary, so that a retry may succeed.

    These are the statuses that Cloud Storage's retry strategy lists (cloud.google.com/storage/docs/
    retry-strategy), lost connections, and a token that could not be refreshed.
    """
    import requests
    import urllib3
    from google.api_core import exceptions
    from google.auth.exceptions import TransportError
    from google.cloud.storage.exceptions import InvalidResponse

    connection = (
        ConnectionError,
        http.client.HTTPException,
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        urllib3.exceptions.HTTPError,
        TransportError,
    )
    if isinstance(error, connection) or getattr(error, "retryable", False):
        return True
    if isinstance(error, InvalidResponse):
        return int(error.response.status_code) in TRANSIENT_STATUSES
    return isinstance(error, exceptions.GoogleAPICallError) and error.code in TRANSIENT_STATUSES
