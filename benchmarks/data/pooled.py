"""Benchmark the statistics of 30,000 converted images against opening every image with Pillow.

    python benchmarks/data/pooled.py

The table of 30,000 images repeats that of 300 converted ones a hundred times, each time with other
sums of pixels. The notebooks' way, with Pillow, is timed on the 300 stored images and multiplied by
a hundred.
"""

import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_image

from components.records.convert import convert
from components.records.merge import join
from components.statistics.summary import statistics as write_statistics
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest, write_manifest
from trainer.artifacts.records import decode_example, read_shard
from trainer.config.data import Data
from trainer.config.preparation import Records

IMAGES = 300
TIMES = 100
SIZE = 384
ROUNDS = 5


def converted(folder: Path) -> Path:
    """Convert crops of two photographs; return the records folder."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    for split, count in (("train", IMAGES * 4 // 5), ("test", IMAGES // 5)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            top, left = generator.integers(0, 27), generator.integers(0, 240)
            crop = photographs[number % 2][top : top + 400, left : left + 400, ::-1]
            cv2.imwrite(str(folder / split / f"{number}.jpg"), crop)
    lines = "".join(f"{number},{number % 2}\n" for number in range(IMAGES * 4 // 5))
    (folder / "train.csv").write_text("id,label\n" + lines)
    data = Data(
        source="files",
        root=str(folder),
        train=str(folder / "train.csv"),
        id="id",
        target="label",
        images="train/{id}.jpg",
        test_images="test/{id}.jpg",
    )
    records = Records(sizes=[SIZE])
    convert(data, records, classes=["0", "1"], out=folder / "part")
    join([folder / "part"], data, records, classes=["0", "1"], out=folder / "records")
    return folder / "records"


def enlarge(records: Path) -> None:
    """Repeat the examples table a hundred times, with other ids and sums of pixels."""
    table = tables.read_examples(records)
    generator = np.random.default_rng(1)
    repeated = pd.concat(
        [table.assign(id=table["id"] + f"-{turn}") for turn in range(TIMES)], ignore_index=True
    )
    for name in (f"sum_c_{SIZE}", f"sumsq_c_{SIZE}"):
        scattered = np.array(repeated[name].tolist()) * generator.uniform(
            0.9, 1, (len(repeated), 1)
        )
        repeated[name] = list(scattered.astype(np.int64))
    manifest = read_manifest(records)
    tables.write_parquet(records / tables.EXAMPLES, repeated)
    write_manifest(records, manifest)


def notebooks(jpegs: list[bytes]) -> float:
    """Return the seconds for pixel statistics as notebooks compute them.

    These are the mean of the images' means, and the mean of their standard deviations.
    """
    started = time.perf_counter()
    means, deviations = [], []
    for jpeg in jpegs:
        pixels = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB")) / 255
        means.append(pixels.mean(axis=(0, 1)))
        deviations.append(pixels.std(axis=(0, 1)))
    np.mean(means, axis=0), np.mean(deviations, axis=0)
    return time.perf_counter() - started


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = converted(folder)
        jpegs = [
            decode_example(payload)["image"]
            for shard in records.glob("*/*.tfrec")
            for payload in read_shard(shard)
        ]
        pillow = statistics.median(notebooks(jpegs) for _ in range(3)) * TIMES  # type: ignore[arg-type]
        enlarge(records)
        train = tables.read_examples(records).query("split == 'train'")
        tables.write_csv(
            folder / "folds.csv",
            pd.DataFrame({"id": train["id"], "fold": np.arange(len(train)) % 5}),
        )
        counts = dict.fromkeys(
            (
                "duplicate_sets",
                "near_duplicate_sets",
                "largest_near_duplicate_set",
                "identical_in_test",
                "near_in_test",
            ),
            0,
        )
        (folder / "audit.json").write_text(json.dumps({**counts, "label_conflicts": []}))
        rounds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            write_statistics(
                records,
                folder / "folds.csv",
                folder / "audit.json",
                classes=["0", "1"],
                out=folder / "s.json",
            )
            rounds.append(time.perf_counter() - started)
    seconds = statistics.median(rounds)
    print(f"\n## Statistics of {IMAGES * TIMES:,} converted images of {SIZE} × {SIZE}\n")
    print(
        f"{seconds:.2f} s for pixel statistics of each split and fold, class balance, distributions"
        " and drift. Opening every image with Pillow for mean and standard deviation alone takes"
        f" {pillow:.0f} s, {pillow / seconds:.0f} times as long."
    )


if __name__ == "__main__":
    main()
