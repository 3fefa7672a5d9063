"""Statistics of a converted set of 30,000 images, against the notebooks' way: open every image with
Pillow.

    python benchmarks/pooled.py

The table of 30,000 images is that of 300 converted ones, a hundred times over, each time with other
sums; the notebooks' way is timed on 300 of the stored images and multiplied by a hundred."""

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
from trainer.config.data import Data, Records

IMAGES = 300
TIMES = 100
SIZE = 384
ROUNDS = 5


def converted(folder: Path) -> Path:
    """The records of cuts of two photographs."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    for split, count in (("train", IMAGES * 4 // 5), ("test", IMAGES // 5)):
        (folder / split).mkdir(parents=True)
        for number in range(count):
            top, left = generator.integers(0, 27), generator.integers(0, 240)
            cut = photographs[number % 2][top : top + 400, left : left + 400, ::-1]
            cv2.imwrite(str(folder / split / f"{number}.jpg"), cut)
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
    """The table a hundred times over."""
    table = tables.read_examples(records)
    generator = np.random.default_rng(1)
    whole = pd.concat(
        [table.assign(id=table["id"] + f"-{turn}") for turn in range(TIMES)], ignore_index=True
    )
    for name in (f"sum_c_{SIZE}", f"sumsq_c_{SIZE}"):
        scattered = np.array(whole[name].tolist()) * generator.uniform(0.9, 1, (len(whole), 1))
        whole[name] = list(scattered.astype(np.int64))
    about = read_manifest(records)
    tables.write_parquet(records / tables.EXAMPLES, whole)
    write_manifest(records, about)


def notebooks(jpegs: list[bytes]) -> float:
    """Seconds for the mean and the mean of the deviations of each image, as notebooks do it."""
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
        theirs = statistics.median(notebooks(jpegs) for _ in range(3)) * TIMES  # type: ignore[arg-type]
        enlarge(records)
        train = tables.read_examples(records).query("split == 'train'")
        tables.write_csv(
            folder / "folds.csv",
            pd.DataFrame({"id": train["id"], "fold": np.arange(len(train)) % 5}),
        )
        found = dict.fromkeys(
            (
                "duplicate_sets",
                "near_duplicate_sets",
                "largest_near_duplicate_set",
                "identical_in_test",
                "near_in_test",
            ),
            0,
        )
        (folder / "audit.json").write_text(json.dumps({**found, "label_conflicts": []}))
        ours = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            write_statistics(
                records,
                folder / "folds.csv",
                folder / "audit.json",
                classes=["0", "1"],
                out=folder / "s.json",
            )
            ours.append(time.perf_counter() - started)
    here = statistics.median(ours)
    print(f"\n## Statistics of {IMAGES * TIMES:,} converted images of {SIZE} × {SIZE}\n")
    print(
        f"{here:.2f} s for pooled pixels a split and a fold, class balance, distributions and"
        f" drift; opening every image with Pillow for mean and deviation alone takes {theirs:.0f}"
        f" s, {theirs / here:.0f} times as long."
    )


if __name__ == "__main__":
    main()
