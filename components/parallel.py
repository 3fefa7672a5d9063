"""Work in threads on all cores, with results in order and bounded memory."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

# Decorator: limits BLAS to one thread. Sums are then split the same way on every machine, and small
# products do not wait for threads that have no core of their own.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = os.cpu_count() or 1
# Items per thread that are queued, running, or finished and waiting to be yielded.
AHEAD = 4


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = WORKERS
) -> Iterator[Result]:
    """Yield the function's result for each item, in order, computed in threads.

    At most `AHEAD` items per thread are in progress or waiting. Threads are enough because image
    codecs release the interpreter's lock.

    Args:
        function: called with one item.
        items: consumed in order, as threads become free.
        workers: number of threads.
    """
    with ThreadPoolExecutor(workers) as pool:
        remaining = iter(items)
        pending: deque[Future[Result]] = deque(
            pool.submit(function, item) for item in islice(remaining, AHEAD * workers)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in islice(remaining, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()


class Budget:
    """Limits how many pixels are decoded at once, over all threads.

    Attributes:
        pixels: the limit.
        left: pixels that are free.
        changed: notified when pixels are released.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = self.left = pixels
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def claim(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` are free, and reserve them for the duration of the block.

        A request above the limit reserves all pixels.
        """
        pixels = min(pixels, self.pixels)
        with self.changed:
            self.changed.wait_for(lambda: self.left >= pixels)
            self.left -= pixels
        try:
            yield
        finally:
            with self.changed:
                self.left += pixels
                self.changed.notify_all()
