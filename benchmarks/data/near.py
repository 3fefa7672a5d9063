"""Benchmark the near-duplicate search by number of images, against comparing every pair.

    python benchmarks/data/near.py

The search by hashes is timed on random hashes, a tenth of which are near another one. The full
step, which also verifies candidates on their pixels, is timed on 50,000 stored images of random low
frequencies, a tenth of which are copies at another quality and brightness.
"""

import hashlib
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from components.folds.near_duplicates import DISTANCE, near_duplicates, similar
from components.records.images.describe import perceptual_hash
from components.records.images.jpeg import encoded
from trainer.artifacts.records import open_shard

ROUNDS = 3
SIZES = (12_500, 25_000, 50_000, 100_000, 200_000, 400_000)
EVERY_PAIR = 100_000
IMAGES = 50_000
SIDE = 64


def hashes(count: int) -> np.ndarray:
    """Return distinct uint64 hashes, at most `count`; a tenth are within DISTANCE of another."""
    generator = np.random.default_rng(count)
    values = generator.integers(0, 2**64, count, dtype=np.uint64)
    copies = generator.choice(count, count // 10, replace=False)
    for _ in range(DISTANCE):
        bits = np.uint64(1) << generator.integers(0, 64, len(copies)).astype(np.uint64)
        values[copies] = np.where(
            generator.random(len(copies)) < 0.5, values[copies - 1] ^ bits, values[copies]
        )
    return np.unique(values)


def seconds(values: np.ndarray) -> float:
    """Return the seconds of one search for similar hashes."""
    started = time.perf_counter()
    similar(values)
    return time.perf_counter() - started


def every_pair(values: np.ndarray) -> float:
    """Return the seconds of comparing each hash with all others, vectorised."""
    started = time.perf_counter()
    pairs = 0
    for position, value in enumerate(values):
        pairs += int((np.bitwise_count(values[position + 1 :] ^ value) <= DISTANCE).sum())
    return time.perf_counter() - started


def full_step(folder: Path) -> tuple[float, int]:
    """Time the full step on 50,000 stored images, with candidates verified on their pixels.

    Returns:
        The seconds, and the number of images that are near-duplicates of another.
    """
    generator = np.random.default_rng(0)
    rows = []
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    with open_shard(folder, "train", 0) as add:
        for number in range(IMAGES):
            quality = 95
            if number % 10 == 9:
                pixels, quality = np.clip(pixels * 0.95, 0, 255).astype(np.uint8), 60
            else:
                coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                pixels = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            jpeg = encoded(pixels, quality)
            add({"image": jpeg, "image_name": str(number).encode()})
            columns = {
                "id": str(number),
                "sha256": hashlib.sha256(jpeg).hexdigest(),
                "phash": perceptual_hash(pixels),
            }
            rows.append(
                {**columns, f"shard_{SIDE}": f"train00-{IMAGES}.tfrec", f"row_{SIDE}": number}
            )
    examples = pd.DataFrame(rows).astype({"phash": np.uint64})
    manifest = {"sizes": [SIDE], "image_feature": "image", "id_feature": "image_name"}
    started = time.perf_counter()
    pairs = near_duplicates(examples, folder, manifest)
    return time.perf_counter() - started, len(np.unique(pairs))


def main() -> None:
    """Print the table and two comparisons."""
    print("\n## Near-duplicate search\n")
    print("| images | seconds | times the seconds for half as many |")
    print("| ---: | ---: | ---: |")
    previous = None
    for size in SIZES:
        values = hashes(size)
        elapsed = statistics.median(seconds(values) for _ in range(ROUNDS))
        growth = f"{elapsed / previous:.2f}" if previous else ""
        print(f"| {size:,} | {elapsed:.2f} | {growth} |")
        previous = elapsed
    values = hashes(EVERY_PAIR)
    ratio = every_pair(values) / statistics.median(seconds(values) for _ in range(ROUNDS))
    print(
        f"\nComparing every pair of {EVERY_PAIR:,} hashes takes {ratio:.0f} times as long; its"
        " time grows fourfold with each doubling."
    )
    with tempfile.TemporaryDirectory() as folder:
        elapsed, near_images = full_step(Path(folder))
    print(
        f"\nThe full step on {IMAGES:,} images, comparing the pixels of all candidates:"
        f" {elapsed:.1f} s, {near_images:,} images with a near-duplicate."
    )


if __name__ == "__main__":
    sys.exit(main())
