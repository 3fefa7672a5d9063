"""The input pipeline with all of the melanoma notebook's augmentation, against the notebook's way
of writing it; and the one that feeds stored pixels to a device that augments, against a loop that
only decodes and batches.

python benchmarks/augmenting.py
"""

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from sklearn.datasets import load_sample_image

from trainer.artifacts.records import decode_example, encode_example, frame, read_shard
from trainer.config.augment import Augment
from trainer.input import shards
from trainer.input.batches import BatchPlan, training_batches
from trainer.input.labels import Labels
from trainer.input.shards import Images, load
from trainer.input.workers import Workers, prefetch

IMAGES = {384: 512, 192: 1536}
BATCH = 32
ROUNDS = 7
THREADS = 2
NOTEBOOK = Augment(
    distribution="normal",
    rotation=180,
    shear=2,
    zoom=0.125,
    shift=0.02,
    flip_horizontal=0.5,
    hue=0.01,
    saturation=0.3,
    contrast=0.2,
    brightness=0.1,
    interpolation="nearest",
    fill="edge",
    cutmix=1.0,
)


def write(path: Path, size: int) -> None:
    """A shard of different cuts of two photographs, with the notebook's features."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    with open(path, "wb") as stream:
        for number in range(IMAGES[size]):
            top, left = generator.integers(0, 427 - 384), generator.integers(0, 640 - 384)
            cut = photographs[number % 2][top : top + 384, left : left + 384]
            pixels = np.ascontiguousarray(
                cut if size == 384 else cv2.resize(cut, (size, size), interpolation=cv2.INTER_AREA)
            )
            jpeg = simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")
            stream.write(
                frame(
                    encode_example(
                        {"image": jpeg, "image_name": str(number).encode(), "target": number % 2}
                    )
                )
            )


def notebook(path: Path, size: int) -> Callable[[], None]:
    """Read, decode, turn by a gather of every pixel, recolour in floats, batch, and cut and mix in
    a loop: as on a TPU host."""
    import tensorflow as tf

    odd = size % 2

    def matrix() -> Any:
        turn = math.pi * tf.random.normal([]) * 180 / 180
        shear = math.pi * 2 * tf.random.normal([]) / 180
        zoom = 1 + tf.random.normal([2]) / 8
        shift = 8 * tf.random.normal([2])
        cos, sin = tf.cos(turn), tf.sin(turn)
        one, nought = tf.ones([]), tf.zeros([])

        def square(*values: Any) -> Any:
            return tf.reshape(tf.stack(values), [3, 3])

        rotated = square(cos, sin, nought, -sin, cos, nought, nought, nought, one)
        sheared = square(
            one, tf.sin(shear), nought, nought, tf.cos(shear), nought, nought, nought, one
        )
        zoomed = square(
            1 / zoom[0], nought, nought, nought, 1 / zoom[1], nought, nought, nought, one
        )
        shifted = square(one, nought, shift[0], nought, one, shift[1], nought, nought, one)
        return (rotated @ sheared) @ (zoomed @ shifted)

    def moved(image: Any) -> Any:
        x = tf.repeat(tf.range(size // 2, -size // 2, -1), size)
        y = tf.tile(tf.range(-size // 2, size // 2), [size])
        places = tf.cast(
            matrix() @ tf.cast(tf.stack([x, y, tf.ones_like(x)]), tf.float32), tf.int32
        )
        places = tf.clip_by_value(places, -size // 2 + odd + 1, size // 2)
        return tf.reshape(
            tf.gather_nd(
                image, tf.transpose(tf.stack([size // 2 - places[0], size // 2 - 1 + places[1]]))
            ),
            [size, size, 3],
        )

    def read(record: Any) -> Any:
        features = {
            "image": tf.io.FixedLenFeature([], tf.string),
            "target": tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, features)
        image = tf.cast(tf.io.decode_jpeg(example["image"], channels=3), tf.float32) / 255.0
        image = moved(tf.reshape(image, [size, size, 3]))
        image = tf.image.random_flip_left_right(image)
        image = tf.image.random_hue(image, 0.01)
        image = tf.image.random_saturation(image, 0.7, 1.3)
        image = tf.image.random_contrast(image, 0.8, 1.2)
        return tf.image.random_brightness(image, 0.1), tf.one_hot(example["target"], 2)

    def mixed(images: Any, labels: Any) -> Any:
        pictures, mixes = [], []
        for place in range(BATCH):
            other = tf.random.uniform([], 0, BATCH, tf.int32)
            x, y = (
                tf.random.uniform([], 0, size, tf.int32),
                tf.random.uniform([], 0, size, tf.int32),
            )
            width = tf.cast(size * tf.sqrt(1 - tf.random.uniform([])), tf.int32)
            top, bottom = tf.maximum(0, y - width // 2), tf.minimum(size, y + width // 2)
            left, right = tf.maximum(0, x - width // 2), tf.minimum(size, x + width // 2)
            middle = tf.concat(
                [
                    images[place, top:bottom, :left],
                    images[other, top:bottom, left:right],
                    images[place, top:bottom, right:],
                ],
                1,
            )
            pictures.append(tf.concat([images[place, :top], middle, images[place, bottom:]], 0))
            share = tf.cast(width * width, tf.float32) / size / size
            mixes.append((1 - share) * labels[place] + share * labels[other])
        return tf.reshape(tf.stack(pictures), [BATCH, size, size, 3]), tf.stack(mixes)

    threads = tf.data.Options()
    threads.threading.private_threadpool_size = THREADS
    made = tf.data.TFRecordDataset([str(path)]).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    made = made.batch(BATCH, drop_remainder=True).map(mixed, num_parallel_calls=tf.data.AUTOTUNE)
    made = made.prefetch(tf.data.AUTOTUNE).with_options(threads)

    def once() -> None:
        for _ in made:
            pass

    return once


def ours(
    images: Images,
    labels: Labels,
    workers: Workers,
    *,
    on_device: bool,
    augment: Augment = NOTEBOOK,
) -> Callable[[], None]:
    """An epoch as the trainer reads it, a thread ahead of whoever takes the batches."""

    def once() -> None:
        batches = training_batches(
            images,
            labels,
            np.arange(len(images)),
            BatchPlan(augment, batch_size=BATCH, seed=1, epochs=1, on_device=on_device),
            workers,
        )
        for _ in prefetch(batches):
            pass

    return once


def bare_threads(jpegs: list[bytes], size: int, pool: ThreadPoolExecutor) -> Callable[[], None]:
    """Decode and batch with threads, and nothing else."""

    def some(batch: np.ndarray, first: int, start: int) -> None:
        for place in range(start, BATCH, THREADS):
            simplejpeg.decode_jpeg(
                jpegs[first + place], "RGB", fastdct=False, fastupsample=False, buffer=batch[place]
            )

    def once() -> None:
        for first in range(0, len(jpegs), BATCH):
            batch = np.empty((BATCH, size, size, 3), np.uint8)
            for done in [pool.submit(some, batch, first, start) for start in range(THREADS)]:
                done.result()

    return once


def bare_tensorflow(path: Path, size: int) -> Callable[[], None]:
    """Decode and batch with tf.data, and nothing else."""
    import tensorflow as tf

    def read(record: Any) -> Any:
        image = tf.io.parse_single_example(record, {"image": tf.io.FixedLenFeature([], tf.string)})[
            "image"
        ]
        return tf.ensure_shape(
            tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE"), (size, size, 3)
        )

    threads = tf.data.Options()
    threads.threading.private_threadpool_size = THREADS
    made = tf.data.TFRecordDataset([str(path)]).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    made = made.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE).with_options(threads)

    def once() -> None:
        for _ in made:
            pass

    return once


def seconds(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def main() -> None:
    """Print the tables."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    shards.HELD_BYTES = 0
    cv2.setNumThreads(1)
    workers, pool = Workers(THREADS), ThreadPoolExecutor(THREADS)
    notes: list[str] = []
    print(
        "\n## The melanoma notebook's augmentation on the host, and feeding a device that"
        " augments\n"
    )
    print(
        f"Images a second on {THREADS} cores, batches of {BATCH}; medians of {ROUNDS} rounds,"
        " ratios within a round.\n"
    )
    print(
        "| size | the notebook's way | host path | times | bilinear | device path | decode and"
        " batch alone | share |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for size, number in IMAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"train00-{number}.tfrec"
            write(path, size)
            jpegs: list[Any] = [decode_example(payload)["image"] for payload in read_shard(path)]
            table = pd.DataFrame(
                {
                    "id": [str(n) for n in range(number)],
                    f"shard_{size}": path.name,
                    f"row_{size}": range(number),
                    f"bytes_{size}": [len(jpeg) for jpeg in jpegs],
                    f"sum_c_{size}": [[size * size * 120] * 3] * number,
                }
            )
            about = {
                "channels": 3,
                "image_feature": "image",
                "id_feature": "image_name",
                "root": "",
            }
            images = load(folder, table, about, size=size)
            labels = Labels(
                np.eye(2, dtype=np.float32)[np.arange(number) % 2],
                np.ones(number, np.float32),
                np.zeros((number, 0), np.float32),
            )
            bilinear = Augment(**{**vars(NOTEBOOK), "interpolation": "bilinear"})
            ways = {
                "notebook": notebook(path, size),
                "host": ours(images, labels, workers, on_device=False),
                "bilinear": ours(images, labels, workers, on_device=False, augment=bilinear),
                "device": ours(images, labels, workers, on_device=True),
                "threads": bare_threads(jpegs, size, pool),
                "tensorflow": bare_tensorflow(path, size),
            }
            for way in ways.values():
                way()
            rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
        rates = {name: number / statistics.median(one[name] for one in rounds) for name in ways}
        times = statistics.median(one["notebook"] / one["host"] for one in rounds)
        bare = statistics.median(min(one["threads"], one["tensorflow"]) for one in rounds)
        share = statistics.median(
            min(one["threads"], one["tensorflow"]) / one["device"] for one in rounds
        )
        print(
            f"| {size} | {rates['notebook']:,.0f} | {rates['host']:,.0f} | {times:.1f} |"
            f" {rates['bilinear']:,.0f} | {rates['device']:,.0f} | {number / bare:,.0f} |"
            f" {100 * share:.0f} % |"
        )
        against = statistics.median(one["tensorflow"] / one["threads"] for one in rounds)
        notes.append(f"{against:.2f} times ({size})")
    print(f"\nDecoding and batching by threads is {' and '.join(notes)} as fast as by tf.data.")
    workers.close()
    pool.shutdown()


if __name__ == "__main__":
    sys.exit(main())
