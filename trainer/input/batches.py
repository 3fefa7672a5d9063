"""From records to batches: JPEGs stay in their shards, decoded images pass through.

Threads decode and augment, each image in one go while it is in the cache; the codecs let go of
Python's lock. Against tf.data over the same images this is 1.4 times the speed
(benchmarks/results.md), needs no TensorFlow where JAX trains, and starts anywhere in an epoch at
once.

What is held in memory: the place of each image in its shard (16 bytes), its mean, label and tabular
values; the decoded images of a split where all of them take less than HELD_BYTES; and three
batches. Shards are mapped, not read: what of them is in memory is the system's cache, which it
takes back when it needs to."""

import mmap
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import simplejpeg

from trainer.artifacts.records import check_id, decode_example, read_shard
from trainer.config.member import Augment
from trainer.errors import IntegrityError, TrainingError
from trainer.input import augment_cpu
from trainer.input.augment import AugmentParams, draw, epoch_draws, epoch_generator, untouched

HELD_BYTES = 256 * 2**20
# Images whose augmentation is drawn in one go: by batches, a fifth of the time would go into calls
# of numpy.
_DRAWN_AT_ONCE = 2048
Item = TypeVar("Item")


class Encoded(Protocol):
    """JPEGs by their row."""

    def __getitem__(self, row: int, /) -> bytes: ...


@dataclass(frozen=True)
class Images:
    """Images of one split, encoded, with what is needed to decode and augment them.

    encoded: the JPEG of each row. means: (n, channels) mean pixel of each, 0 to 255. size,
    channels: of every image.
    decoded: (n, size, size, channels) uint8, where they are so few that they are held.
    """

    encoded: Encoded
    means: np.ndarray
    size: int
    channels: int
    decoded: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.means)

    def decode(self, row: int, out: np.ndarray) -> None:
        """The pixels of an image, into (size, size, channels) uint8."""
        if self.decoded is not None:
            out[:] = self.decoded[row]
        else:
            _decode(self.encoded[row], out)


@dataclass(frozen=True)
class Labels:
    """What each image of a split is, and what the network sees of it besides its pixels.

    targets: (n, outputs) float32: one-hot, or a value a class, or the one of the positive class.
    weights: (n,) float32 in the loss. tabular: (n, columns) float32, of no columns where the member
    takes none."""

    targets: np.ndarray
    weights: np.ndarray
    tabular: np.ndarray


@dataclass(frozen=True)
class Batch:
    """What a training step takes; `pixels` are uint8, stored ones where `drawn` says how the device
    is to paint them."""

    pixels: np.ndarray
    tabular: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    drawn: AugmentParams | None


class _Shards:
    """JPEGs where they lie: a shard, an offset and a length each."""

    def __init__(self, maps: list[mmap.mmap], places: np.ndarray) -> None:
        self.maps, self.places = maps, places

    def __getitem__(self, row: int, /) -> bytes:
        shard, offset, length = self.places[row].tolist()
        return self.maps[shard][offset : offset + length]


def load(
    root: str | Path, examples: pd.DataFrame, about: Mapping[str, Any], *, size: int
) -> Images:
    """The images of each row of `examples` in one size, in their order. A shard is read once, from
    start to end.

    Args:
        root: the folder that the shards lie below.
        examples: rows of the examples table.
        about: of the records' manifest.

    Raises:
        IntegrityError: a shard is damaged, or its record is not the one that the table names.
    """
    places = np.zeros((len(examples), 3), dtype=np.int64)
    table = examples.reset_index(drop=True)
    maps: list[mmap.mmap] = []
    for shard, rows in table.groupby(f"shard_{size}", sort=True):
        path = Path(root) / str(shard)
        place_of = dict(zip(rows[f"row_{size}"], rows.index, strict=True))
        ids, lengths = rows["id"].to_dict(), rows[f"bytes_{size}"].to_dict()
        offset = 0
        for number, payload in enumerate(read_shard(path)):
            place = place_of.pop(number, None)
            if place is not None:
                features = decode_example(payload)
                check_id(features, about, ids[place], f"{shard}: record {number}")
                jpeg: Any = features[about["image_feature"]]
                if len(jpeg) != lengths[place]:
                    raise IntegrityError(
                        f"{shard}: record {number} is not the image that the examples table"
                        " describes"
                    )
                # A frame is a length of 12 bytes with its crc, the payload, and a crc of 4.
                places[place] = len(maps), offset + 12 + payload.index(jpeg), len(jpeg)
            offset += len(payload) + 16
        if place_of:
            raise IntegrityError(
                f"{shard}: the examples table names record {min(place_of)}, which the shard lacks"
            )
        with open(path, "rb") as stream:
            maps.append(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    channels = int(about["channels"])
    sums = np.array(table[f"sum_c_{size}"].tolist(), dtype=np.float64).reshape(len(table), channels)
    images = Images(_Shards(maps, places), sums / (size * size), size, channels)
    if len(images) * size * size * channels > HELD_BYTES:
        return images
    held = np.empty((len(images), size, size, channels), np.uint8)
    for row in range(len(images)):
        images.decode(row, held[row])
    return Images(images.encoded, images.means, size, channels, held)


def _decode(jpeg: bytes, out: np.ndarray) -> None:
    # The accurate inverse DCT, as everything else here sees the pixels; the fast one is off by a
    # level or more.
    simplejpeg.decode_jpeg(
        jpeg, "GRAY" if out.shape[2] == 1 else "RGB", fastdct=False, fastupsample=False, buffer=out
    )


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in an epoch; the rest of the images waits for an epoch whose order brings it
    forward.

    Raises:
        TrainingError: there is not one whole batch.
    """
    if images < batch_size:
        raise TrainingError(
            f"batch_size = {batch_size} is larger than the {images} training images of a fold:"
            " lower it"
        )
    return images // batch_size


class Workers:
    """Threads that decode and augment. Every image is worked on by itself, so their number changes
    no result."""

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
        self._each(len(rows), lambda place: images.decode(numbers[place], out[place]))
        return out

    def painted(
        self, images: Images, rows: np.ndarray, drawn: AugmentParams, augment: Augment
    ) -> np.ndarray:
        """(n, side, side, channels) uint8: the images of `rows`, decoded, augmented and mixed."""
        side = augment.crop or images.size
        out = np.empty((len(rows), side, side, images.channels), np.uint8)

        def one(place: int) -> None:
            stored = self._own(images)
            images.decode(int(rows[place]), stored)
            augment_cpu.paint(stored, drawn, place, augment, out[place])

        self._each(len(rows), one)
        return augment_cpu.join(out, drawn)

    def repainted(self, stored: np.ndarray, drawn: AugmentParams, augment: Augment) -> np.ndarray:
        """(n, side, side, channels) uint8: a view of images that are decoded already."""
        side = augment.crop or stored.shape[1]
        out = np.empty((len(stored), side, side, stored.shape[3]), np.uint8)
        self._each(
            len(stored),
            lambda place: augment_cpu.paint(stored[place], drawn, place, augment, out[place]),
        )
        return out

    def _own(self, images: Images) -> np.ndarray:
        """This thread's room for one stored image."""
        shape = (images.size, images.size, images.channels)
        held: np.ndarray | None = getattr(self.scratch, "image", None)
        if held is None or held.shape != shape:
            held = self.scratch.image = np.empty(shape, np.uint8)
        return held

    def _each(self, number: int, work: Any) -> None:
        """Do the work for 0 to number - 1, each thread every n-th."""

        def some(first: int) -> None:
            for place in range(first, number, self.threads):
                work(place)

        for done in [self.pool.submit(some, first) for first in range(self.threads)]:
            done.result()


def training_batches(
    images: Images,
    labels: Labels,
    rows: np.ndarray,
    *,
    augment: Augment,
    batch_size: int,
    seed: int,
    workers: Workers,
    start: tuple[int, int] = (0, 0),
    epochs: int,
    on_device: bool = False,
    part: tuple[int, int] = (0, 1),
) -> Iterator[tuple[int, int, Batch]]:
    """All batches from a place in the training on: shuffled anew and augmented in each epoch.

    Args:
        images, labels: the data set.
        rows: (n,) which of its images train.
        batch_size: images a batch, on all processes together.
        start: epoch and step of the first batch.
        epochs: how many there are in all.
        on_device: hand out stored pixels, and what is to be done to them.
        part: which process this is, of how many: each gets its own share of every batch.

    Yields:
        epoch, step and the batch.
    """
    steps = steps_per_epoch(len(rows), batch_size)
    block = max(1, _DRAWN_AT_ONCE // batch_size)
    mine = slice(*(batch_size * (part[0] + end) // part[1] for end in (0, 1)))
    first = start[1]
    for epoch in range(start[0], epochs):
        order = epoch_generator(seed, epoch, stream=0).permutation(rows)
        uniform = epoch_draws(augment, seed=seed, epoch=epoch, rows=int(rows.max()) + 1)
        for step in range(first, steps):
            if step == first or step % block == 0:
                start_of_block = step // block * block
                some = order[
                    start_of_block * batch_size : min(steps, start_of_block + block) * batch_size
                ]
                drawn_block = draw(
                    augment,
                    uniform[some],
                    size=images.size,
                    means=images.means[some],
                    batch=batch_size,
                )
            place = (step - start_of_block) * batch_size
            chosen = some[place : place + batch_size]
            whole = drawn_block.of(slice(place, place + batch_size))
            partners = chosen[whole.partner]
            own = whole.share * labels.weights[chosen]
            weights = own + (1 - whole.share) * labels.weights[partners]
            # Losses are linear in labels: so each of the two counts with its own weight, and one of
            # weight 0 not at all.
            parts = (
                np.divide(own, weights, out=np.ones_like(own), where=weights > 0)[:, None],
                whole.share[:, None],
            )
            targets, tabular = (
                part * values[chosen] + (1 - part) * values[partners]
                for part, values in zip(parts, (labels.targets, labels.tabular), strict=True)
            )
            if on_device:
                pixels, drawn = workers.decoded(images, chosen[mine]), whole.of(mine)
            else:
                pixels, drawn = workers.painted(images, chosen, whole, augment)[mine], None
            yield epoch, step, Batch(pixels, tabular[mine], targets[mine], weights[mine], drawn)
        first = 0


def view(
    images: Images, rows: np.ndarray, augment: Augment, *, number: int, seed: int
) -> AugmentParams:
    """How the images of `rows` are seen in a prediction's view: number 0 as they are, others
    augmented but not mixed."""
    if number == 0:
        side = augment.crop or images.size
        return untouched(len(rows), size=images.size, side=side, channels=images.channels)
    uniform = epoch_draws(
        augment, seed=seed, epoch=number, rows=int(rows.max(initial=0)) + 1, stream=2
    )
    return draw(augment, uniform[rows], size=images.size, means=images.means[rows], mixing=False)


def prefetch(items: Iterator[Item], held: int = 2) -> Iterator[Item]:
    """The items, made by a thread of their own, `held` of them ahead. Closing ends the thread."""
    waiting: queue.Queue[Any] = queue.Queue(held)
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
        except BaseException as error:  # noqa: BLE001  # it is raised again where the items are taken
            put((end, error))

    thread = threading.Thread(target=work, daemon=True, name="ahead")
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
