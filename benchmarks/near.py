"""Near-duplicate search: how its time grows with the number of images, against comparing every
pair.

    python benchmarks/near.py

The search by hashes is timed on random ones, of which a tenth are near another; the whole step,
with its verification on pixels, on 50,000 stored images of random low frequencies, a tenth of them
copies at another quality and brightness."""

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
    """Distinct 64-bit hashes, of which a tenth are within the distance of another."""
    generator = np.random.default_rng(count)
    whole = generator.integers(0, 2**64, count, dtype=np.uint64)
    copies = generator.choice(count, count // 10, replace=False)
    for _ in range(DISTANCE):
        bits = np.uint64(1) << generator.integers(0, 64, len(copies)).astype(np.uint64)
        whole[copies] = np.where(
            generator.random(len(copies)) < 0.5, whole[copies - 1] ^ bits, whole[copies]
        )
    return np.unique(whole)


def seconds(given: np.ndarray) -> float:
    """Of one search."""
    started = time.perf_counter()
    similar(given)
    return time.perf_counter() - started


def every_pair(given: np.ndarray) -> float:
    """Seconds for comparing each hash with all others, vectorised."""
    started = time.perf_counter()
    found = 0
    for place, one in enumerate(given):
        found += int((np.bitwise_count(given[place + 1 :] ^ one) <= DISTANCE).sum())
    return time.perf_counter() - started


def whole_step(folder: Path) -> tuple[float, int]:
    """Seconds for 50,000 stored images, verified on their pixels, and how many are
    near-duplicates."""
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
            about = {
                "id": str(number),
                "sha256": hashlib.sha256(jpeg).hexdigest(),
                "phash": perceptual_hash(pixels),
            }
            rows.append(
                {**about, f"shard_{SIDE}": f"train00-{IMAGES}.tfrec", f"row_{SIDE}": number}
            )
    examples = pd.DataFrame(rows).astype({"phash": np.uint64})
    features = {"sizes": [SIDE], "image_feature": "image", "id_feature": "image_name"}
    started = time.perf_counter()
    near = near_duplicates(examples, folder, features)
    return time.perf_counter() - started, len(np.unique(near))


def main() -> None:
    """Print the table."""
    print("\n## Near-duplicate search\n")
    print("| images | seconds | times more than for half as many |")
    print("| ---: | ---: | ---: |")
    before = None
    for size in SIZES:
        given = hashes(size)
        took = statistics.median(seconds(given) for _ in range(ROUNDS))
        growth = f"{took / before:.2f}" if before else ""
        print(f"| {size:,} | {took:.2f} | {growth} |")
        before = took
    given = hashes(EVERY_PAIR)
    ratio = every_pair(given) / statistics.median(seconds(given) for _ in range(ROUNDS))
    print(
        f"\nComparing every pair of {EVERY_PAIR:,} hashes takes {ratio:.0f} times as long, and"
        " grows fourfold."
    )
    with tempfile.TemporaryDirectory() as folder:
        took, found = whole_step(Path(folder))
    print(
        f"\nThe whole step on {IMAGES:,} images, pixels of all candidates compared: {took:.1f} s,"
        f" {found:,} in sets."
    )


if __name__ == "__main__":
    sys.exit(main())
