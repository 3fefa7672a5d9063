"""Work on all cores, its results in order, its memory bounded."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from threadpoolctl import threadpool_limits

# Sums are then cut the same way on every machine, and small products do not wait for threads that
# have no core of their own.
one_thread = threadpool_limits.wrap(limits=1, user_api="blas")

Given = TypeVar("Given")
Made = TypeVar("Made")

WORKERS = os.cpu_count() or 1
# Of each thread's: what is waiting to be worked on, or worked on and waiting for its turn.
AHEAD = 4


def in_order(
    function: Callable[[Given], Made], given: Iterable[Given], workers: int = WORKERS
) -> Iterator[Made]:
    """`function` of each of `given`, in their order, in threads; at most `AHEAD` a thread are under
    way or wait.

    Image codecs release the interpreter's lock, so threads are enough.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(given)
        under_way: deque[Future[Made]] = deque(
            pool.submit(function, one) for one in islice(waiting, AHEAD * workers)
        )
        try:
            while under_way:
                done = under_way.popleft().result()
                under_way.extend(pool.submit(function, one) for one in islice(waiting, 1))
                yield done
        finally:
            for future in under_way:
                future.cancel()


class Budget:
    """So many pixels may be decoded at once, in all threads together."""

    def __init__(self, pixels: int) -> None:
        self.pixels = self.left = pixels
        self.changed = threading.Condition()

    @contextlib.contextmanager
    def claim(self, pixels: int) -> Iterator[None]:
        """Wait until so many are free, and hold them; more than there are is as all of them."""
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
