"""Write converted data sets of any size, which the training benchmarks read."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg
from sklearn.datasets import load_sample_image

from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.artifacts.records import encode_example, frame

_DIFFERENT = 500
_SHARD = 2000


def write_set(folder: Path, images: int, size: int, folds: int = 5, classes: int = 10) -> None:
    """Write `records/`, `folds.csv` and `statistics.json` for crops of a photograph.

    Args:
        folder: the folder to write to.
        images: the number of images, more than 100; 500 different crops repeat.
        size: the side of the images in pixels, below 427.
        folds: the number of folds.
        classes: the number of classes.
    """
    generator = np.random.default_rng(0)
    photograph = np.asarray(load_sample_image("flower.jpg"))
    jpegs = []
    for _ in range(min(images, _DIFFERENT)):
        top, left = generator.integers(0, 427 - size), generator.integers(0, 640 - size)
        crop = np.ascontiguousarray(photograph[top : top + size, left : left + size])
        jpegs.append(bytes(simplejpeg.encode_jpeg(crop, quality=90, colorsubsampling="420")))
    records = folder / "records"
    (records / tables.size_name(size)).mkdir(parents=True)
    rows = []
    for number, first in enumerate(range(0, images, _SHARD)):
        length = min(_SHARD, images - first)
        name = f"{tables.size_name(size)}/train{number:02}-{length}.tfrec"
        with open(records / name, "wb") as stream:
            for row in range(length):
                jpeg = jpegs[(first + row) % len(jpegs)]
                features = {
                    "image": jpeg,
                    "image_name": str(first + row).encode(),
                    "target": (first + row) % classes,
                }
                stream.write(frame(encode_example(features)))
                rows.append((str(first + row), name, row, len(jpeg), (first + row) % classes))
    table = pd.DataFrame(
        rows, columns=["id", f"shard_{size}", f"row_{size}", f"bytes_{size}", "target"]
    )
    table = table.assign(
        split="train", external="", group="", width=size, height=size, bytes=table[f"bytes_{size}"]
    )
    table["phash"] = np.arange(images, dtype=np.uint64)
    table["sha256"] = [f"{number:064x}" for number in range(images)]
    # The last hundred are test images.
    table.loc[table.index[-100:], "split"] = "test"
    table[f"sum_c_{size}"] = [[size * size * 110] * 3] * images
    table[f"sumsq_c_{size}"] = [[size * size * 15_700] * 3] * images
    tables.write_parquet(records / tables.EXAMPLES, table)
    tables.write_csv(
        records / tables.REJECTS, pd.DataFrame(columns=["id", "file", "reason", "bytes"])
    )
    manifest = {
        "sizes": [size],
        "channels": 3,
        "image_feature": "image",
        "id_feature": "image_name",
        "root": "",
    }
    write_manifest(records, {**manifest, "numeric": [], "categorical": [], "task": "multiclass"})
    train = table[table["split"] == "train"]
    tables.write_csv(
        folder / "folds.csv",
        pd.DataFrame({"id": train["id"], "fold": np.arange(len(train)) % folds}),
    )
    pixels = {"mean": [110.0] * 3, "std": [60.0] * 3}
    size_statistics = {
        "splits": {"train": pixels},
        "folds": {str(fold): pixels for fold in range(folds)},
    }
    (folder / "statistics.json").write_text(json.dumps({"pixels": {str(size): size_statistics}}))
