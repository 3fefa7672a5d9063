"""Threads that decode and augment images, and a thread that works ahead.

An image is decoded and augmented in one go, while it is in the processor's cache; the codecs
release Python's lock, so threads are enough."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from trainer.config.augment import Augment
from trainer.input import augment_cpu
from trainer.input.augment import AugmentParams
from trainer.input.shards import Images

Item = TypeVar("Item")


class Workers:
    """Threads that decode and augment. Their number does not affect the results."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
        self.scratch = threading.local()

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(cancel_futures=True)

    def decoded(self, images: Images, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, size, size, channels) uint8: the stored images of `rows`."""
        out = np.empty((len(rows), images.size, images.size, images.channels), np.uint8)
        numbers = np.asarray(rows).tolist()
        self._for_each(len(rows), lambda place: images.decode(numbers[place], out[place]))
        return out

    def augmented(
        self, images: Images, rows: np.ndarray, params: AugmentParams, augment: Augment
    ) -> np.ndarray:
        """(n, side, side, channels) uint8: the images of `rows`, decoded, augmented and mixed."""
        side = augment.crop or images.size
        out = np.empty((len(rows), side, side, images.channels), np.uint8)

        def work(place: int) -> None:
            stored = self._buffer(images)
            images.decode(int(rows[place]), stored)
            augment_cpu.apply(stored, params, place, augment, out[place])

        self._for_each(len(rows), work)
        return augment_cpu.mix(out, params)

    def augmented_pixels(
        self, pixels: np.ndarray, params: AugmentParams, augment: Augment
    ) -> np.ndarray:
        """(n, side, side, channels) uint8: decoded images, augmented but not mixed.

        Args:
            pixels: (n, size, size, channels) uint8.
            params: how each image is augmented.
            augment: interpolation, fill and crop.
        """
        side = augment.crop or pixels.shape[1]
        out = np.empty((len(pixels), side, side, pixels.shape[3]), np.uint8)
        self._for_each(
            len(pixels),
            lambda place: augment_cpu.apply(pixels[place], params, place, augment, out[place]),
        )
        return out

    def _buffer(self, images: Images) -> np.ndarray:
        """This thread's buffer for one stored image."""
        shape = (images.size, images.size, images.channels)
        buffer: np.ndarray | None = getattr(self.scratch, "image", None)
        if buffer is None or buffer.shape != shape:
            buffer = self.scratch.image = np.empty(shape, np.uint8)
        return buffer

    def _for_each(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` for 0 to count - 1, every thread for each n-th."""

        def share(first: int) -> None:
            for place in range(first, count, self.threads):
                work(place)

        for future in [self.pool.submit(share, first) for first in range(self.threads)]:
            future.result()


def prefetch(items: Iterator[Item], ahead: int = 2) -> Iterator[Item]:
    """The items, produced by a thread that works `ahead` items ahead. Closing ends the thread."""
    waiting: queue.Queue[Any] = queue.Queue(ahead)
    stop = threading.Event()
    end = object()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:  # noqa: BLE001  # raised again by the consumer below
            put((end, error))

    thread = threading.Thread(target=work, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        thread.join()
