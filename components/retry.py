"""The retry policy for every service: again for a minute, with growing random pauses."""

from collections.abc import Callable
from typing import TypeVar

from google.api_core.exceptions import RetryError
from google.api_core.retry import Retry

Result = TypeVar("Result")

# Seconds that a failing service is called again, and the first and the longest pause in between.
PATIENCE, FIRST_PAUSE, LONGEST_PAUSE = 60.0, 1.0, 20.0


def policy(is_transient: Callable[[Exception], bool]) -> Retry:
    """The policy, for functions of Google's clients that take one.

    Args:
        is_transient: returns whether an error may go away by itself.
    """
    return Retry(
        predicate=is_transient,
        initial=FIRST_PAUSE,
        maximum=LONGEST_PAUSE,
        multiplier=2.0,
        timeout=PATIENCE,
    )


def call(function: Callable[[], Result], is_transient: Callable[[Exception], bool]) -> Result:
    """Call a function, again where it fails for a transient reason; raises its last error."""
    try:
        result: Result = policy(is_transient)(function)()
    except RetryError as error:
        raise error.cause from None
    return result
