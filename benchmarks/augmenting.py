"""Benchmark the input pipeline with all of the melanoma notebook's augmentation.

    python benchmarks/augmenting.py

Augmentation on the host is compared with the notebook's own code. Feeding stored pixels to a device
that augments is compared with loops that only decode and batch (threads, tf.data, grain).
"""

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
# The pipelines that decode and batch, and do nothing else.
BARE = ("threads", "tensorflow", "grain")
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
    """Write a shard of different crops of two photographs, with the notebook's features."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    with open(path, "wb") as stream:
        for number in range(IMAGES[size]):
            top, left = generator.integers(0, 427 - 384), generator.integers(0, 640 - 384)
            crop = photographs[number % 2][top : top + 384, left : left + 384]
            pixels = np.ascontiguousarray(
                crop
                if size == 384
                else cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
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
    """Return a function that runs one epoch of the notebook's pipeline, as on a TPU host.

    It reads, decodes, transforms by gathering every pixel, changes colours in floats, batches, and
    applies CutMix in a loop.
    """
    import tensorflow as tf

    odd = size % 2

    def matrix() -> Any:
        angle = math.pi * tf.random.normal([]) * 180 / 180
        shear = math.pi * 2 * tf.random.normal([]) / 180
        zoom = 1 + tf.random.normal([2]) / 8
        shift = 8 * tf.random.normal([2])
        cos, sin = tf.cos(angle), tf.sin(angle)
        one, zero = tf.ones([]), tf.zeros([])

        def square(*values: Any) -> Any:
            return tf.reshape(tf.stack(values), [3, 3])

        rotated = square(cos, sin, zero, -sin, cos, zero, zero, zero, one)
        sheared = square(one, tf.sin(shear), zero, zero, tf.cos(shear), zero, zero, zero, one)
        zoomed = square(1 / zoom[0], zero, zero, zero, 1 / zoom[1], zero, zero, zero, one)
        shifted = square(one, zero, shift[0], zero, one, shift[1], zero, zero, one)
        return (rotated @ sheared) @ (zoomed @ shifted)

    def transformed(image: Any) -> Any:
        x = tf.repeat(tf.range(size // 2, -size // 2, -1), size)
        y = tf.tile(tf.range(-size // 2, size // 2), [size])
        sources = tf.cast(
            matrix() @ tf.cast(tf.stack([x, y, tf.ones_like(x)]), tf.float32), tf.int32
        )
        sources = tf.clip_by_value(sources, -size // 2 + odd + 1, size // 2)
        return tf.reshape(
            tf.gather_nd(
                image, tf.transpose(tf.stack([size // 2 - sources[0], size // 2 - 1 + sources[1]]))
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
        image = transformed(tf.reshape(image, [size, size, 3]))
        image = tf.image.random_flip_left_right(image)
        image = tf.image.random_hue(image, 0.01)
        image = tf.image.random_saturation(image, 0.7, 1.3)
        image = tf.image.random_contrast(image, 0.8, 1.2)
        return tf.image.random_brightness(image, 0.1), tf.one_hot(example["target"], 2)

    def mixed(images: Any, labels: Any) -> Any:
        mixed_images, mixed_labels = [], []
        for row in range(BATCH):
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
                    images[row, top:bottom, :left],
                    images[other, top:bottom, left:right],
                    images[row, top:bottom, right:],
                ],
                1,
            )
            mixed_images.append(tf.concat([images[row, :top], middle, images[row, bottom:]], 0))
            share = tf.cast(width * width, tf.float32) / size / size
            mixed_labels.append((1 - share) * labels[row] + share * labels[other])
        return tf.reshape(tf.stack(mixed_images), [BATCH, size, size, 3]), tf.stack(mixed_labels)

    threads = tf.data.Options()
    threads.threading.private_threadpool_size = THREADS
    dataset = tf.data.TFRecordDataset([str(path)]).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(BATCH, drop_remainder=True).map(
        mixed, num_parallel_calls=tf.data.AUTOTUNE
    )
    dataset = dataset.prefetch(tf.data.AUTOTUNE).with_options(threads)

    def run_epoch() -> None:
        for _ in dataset:
            pass

    return run_epoch


def ours(
    images: Images,
    labels: Labels,
    workers: Workers,
    *,
    on_device: bool,
    augment: Augment = NOTEBOOK,
) -> Callable[[], None]:
    """Return a function that runs one epoch of the trainer's pipeline; a thread works ahead."""

    def run_epoch() -> None:
        batches = training_batches(
            images,
            labels,
            np.arange(len(images)),
            BatchPlan(augment, batch_size=BATCH, seed=1, epochs=1, on_device=on_device),
            workers,
        )
        for _ in prefetch(batches):
            pass

    return run_epoch


def bare_threads(jpegs: list[bytes], size: int, pool: ThreadPoolExecutor) -> Callable[[], None]:
    """Return a function that decodes and batches one epoch with threads, and nothing else."""

    def decode_rows(batch: np.ndarray, first: int, start: int) -> None:
        for row in range(start, BATCH, THREADS):
            simplejpeg.decode_jpeg(
                jpegs[first + row], "RGB", fastdct=False, fastupsample=False, buffer=batch[row]
            )

    def run_epoch() -> None:
        for first in range(0, len(jpegs), BATCH):
            batch = np.empty((BATCH, size, size, 3), np.uint8)
            for future in [
                pool.submit(decode_rows, batch, first, start) for start in range(THREADS)
            ]:
                future.result()

    return run_epoch


def bare_tensorflow(path: Path, size: int) -> Callable[[], None]:
    """Return a function that decodes and batches one epoch with tf.data, and nothing else."""
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
    dataset = tf.data.TFRecordDataset([str(path)]).map(read, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = (
        dataset.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE).with_options(threads)
    )

    def run_epoch() -> None:
        for _ in dataset:
            pass

    return run_epoch


def bare_grain(jpegs: list[bytes]) -> Callable[[], None]:
    """Return a function that decodes and batches one epoch with grain, and nothing else."""
    import grain

    decode = partial(simplejpeg.decode_jpeg, fastdct=False, fastupsample=False)
    dataset = grain.MapDataset.source(jpegs).map(decode).batch(BATCH, drop_remainder=True)
    options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * THREADS)

    def run_epoch() -> None:
        for _ in dataset.to_iter_dataset(options):
            pass

    return run_epoch


def seconds(run_epoch: Callable[[], None]) -> float:
    started = time.perf_counter()
    run_epoch()
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
        f"Images per second on {THREADS} cores, batches of {BATCH}; medians of {ROUNDS} rounds."
        " Ratios are taken within a round.\n"
    )
    print(
        "| size | notebook | host | host / notebook | host, bilinear | device | decode and batch"
        " only | device / decode and batch only |"
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
            manifest = {
                "channels": 3,
                "image_feature": "image",
                "id_feature": "image_name",
                "root": "",
            }
            images = load(folder, table, manifest, size=size)
            labels = Labels(
                np.eye(2, dtype=np.float32)[np.arange(number) % 2],
                np.ones(number, np.float32),
                np.zeros((number, 0), np.float32),
            )
            bilinear = Augment(**{**vars(NOTEBOOK), "interpolation": "bilinear"})
            epochs = {
                "notebook": notebook(path, size),
                "host": ours(images, labels, workers, on_device=False),
                "bilinear": ours(images, labels, workers, on_device=False, augment=bilinear),
                "device": ours(images, labels, workers, on_device=True),
                "threads": bare_threads(jpegs, size, pool),
                "tensorflow": bare_tensorflow(path, size),
                "grain": bare_grain(jpegs),
            }
            for run_epoch in epochs.values():
                run_epoch()
            rounds = [
                {name: seconds(run_epoch) for name, run_epoch in epochs.items()}
                for _ in range(ROUNDS)
            ]
        rates = {
            name: number / statistics.median(timings[name] for timings in rounds) for name in epochs
        }
        speed_up = statistics.median(timings["notebook"] / timings["host"] for timings in rounds)
        bare = statistics.median(min(timings[name] for name in BARE) for timings in rounds)
        share = statistics.median(
            min(timings[name] for name in BARE) / timings["device"] for timings in rounds
        )
        print(
            f"| {size} | {rates['notebook']:,.0f} | {rates['host']:,.0f} | {speed_up:.1f} |"
            f" {rates['bilinear']:,.0f} | {rates['device']:,.0f} | {number / bare:,.0f} |"
            f" {100 * share:.0f} % |"
        )
        for name in BARE[1:]:
            ratio = statistics.median(timings[name] / timings["threads"] for timings in rounds)
            notes.append(f"{ratio:.2f} times as fast as with {name} at {size}")
    print(f"\nDecoding and batching with threads alone is {', '.join(notes)}.")
    workers.close()
    pool.shutdown()


if __name__ == "__main__":
    sys.exit(main())
