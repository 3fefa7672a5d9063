"""Benchmark the scan of ready TFRecords against a bare loop that only decodes the same JPEGs.

    python benchmarks/data/scanning.py

The loop uses the faster of simplejpeg and OpenCV.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from sklearn.datasets import load_sample_image

from components.records.sources import tfrecords
from components.records.types import Subset
from trainer.artifacts.records import decode_example, encode_example, frame, read_shard
from trainer.config.data import Data

SIZE = 384
RECORDS = 1000
ROUNDS = 7


def write(path: Path) -> None:
    """Write a shard of different crops of two photographs, in the schema of flowers-104."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    with open(path, "wb") as stream:
        for number in range(RECORDS):
            top, left = generator.integers(0, 427 - SIZE), generator.integers(0, 640 - SIZE)
            pixels = np.ascontiguousarray(
                photographs[number % 2][top : top + SIZE, left : left + SIZE]
            )
            jpeg = simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")
            stream.write(
                frame(
                    encode_example(
                        {"image": jpeg, "id": str(number).encode(), "class": number % 104}
                    )
                )
            )


def by_simplejpeg(jpeg: bytes) -> np.ndarray:
    """Decode as the scan does: with the accurate transform."""
    return simplejpeg.decode_jpeg(jpeg, fastdct=False, fastupsample=False)


def by_opencv(jpeg: bytes) -> np.ndarray:
    """Decode with OpenCV, which returns the channels in the order BGR."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def bare(decode: Callable[[bytes], np.ndarray], jpegs: list[bytes], workers: int) -> float:
    """Return the seconds of a loop that decodes and does nothing else."""
    started = time.perf_counter()
    if workers == 1:
        for jpeg in jpegs:
            decode(jpeg)
    else:
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(decode, jpegs):
                pass
    return time.perf_counter() - started


def scanning(shard: tfrecords.Shard, root: Path, workers: int) -> float:
    """Return the seconds of the scan: checksums, features, decoding, sums and hashes."""
    started = time.perf_counter()
    for _ in tfrecords.scan(shard, root, workers):
        pass
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    print(f"\n## Scanning {RECORDS:,} ready records of {SIZE} × {SIZE}, against decoding only\n")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / f"00-{SIZE}x{SIZE}-{RECORDS}.tfrec")
        (path,) = root.iterdir()
        data = Data(
            source="tfrecords",
            root=folder,
            id="id",
            target="class",
            images="*.tfrec",
            test_images="*.tfrec",
        )
        shard = tfrecords.Shard(Subset(data, "train", "", ""), SIZE, path.name, RECORDS)
        jpegs = [bytes(decode_example(payload)["image"]) for payload in read_shard(path)]  # type: ignore[arg-type]
        runs: dict[str, Callable[[], float]] = {}
        for workers in (1, 2):
            runs[f"simplejpeg, {workers}"] = lambda workers=workers: bare(
                by_simplejpeg, jpegs, workers
            )  # type: ignore[misc]
            runs[f"OpenCV, {workers}"] = lambda workers=workers: bare(by_opencv, jpegs, workers)  # type: ignore[misc]
            runs[f"scan, {workers}"] = lambda workers=workers: scanning(shard, root, workers)  # type: ignore[misc]
        for run in runs.values():
            run()
        rounds: list[dict[str, float]] = [
            {name: run() for name, run in runs.items()} for _ in range(ROUNDS)
        ]
    print(
        "| threads | decoding only, images per second | scan, images per second | scan / decoding |"
    )
    print("| ---: | ---: | ---: | ---: |")
    for workers in (1, 2):
        decoding = [
            min(timings[f"simplejpeg, {workers}"], timings[f"OpenCV, {workers}"])
            for timings in rounds
        ]
        scans = [timings[f"scan, {workers}"] for timings in rounds]
        share = statistics.median(
            decode_seconds / scan_seconds
            for decode_seconds, scan_seconds in zip(decoding, scans, strict=True)
        )
        rates = [RECORDS / statistics.median(seconds) for seconds in (decoding, scans)]
        print(f"| {workers} | {rates[0]:,.0f} | {rates[1]:,.0f} | {100 * share:.0f} % |")
    share = statistics.median(
        min(timings["simplejpeg, 1"], timings["OpenCV, 1"]) / timings["scan, 2"]
        for timings in rounds
    )
    print(
        "\nWith two threads, the default on two cores, the scan processes"
        f" {100 * share:.0f} % as many images per second as the decoding loop in one thread."
    )


if __name__ == "__main__":
    sys.exit(main())
