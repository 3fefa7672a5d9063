"""Out-of-memory errors of any backend as one error that says what to change."""

import contextlib
from collections.abc import Iterator

from trainer.errors import TrainingError


@contextlib.contextmanager
def explain_out_of_memory(advice: str) -> Iterator[None]:
    """Turn an out-of-memory error of the block into `advice`.

    Raises:
        TrainingError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        # TensorFlow has an exception of its own for it, JAX only a word in the text.
        text = f"{type(error).__name__} {error}"
        words = ("ResourceExhausted", "RESOURCE_EXHAUSTED")
        if not isinstance(error, MemoryError) and not any(word in text for word in words):
            raise
        raise TrainingError(advice) from None
