"""Write the images of a competition as TFRecord shards, with the examples table and the manifest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from components.records import pixels
from trainer import tables
from trainer.competition import Data, Records
from trainer.errors import DataError
from trainer.manifest import write_manifest
from trainer.progress import tell
from trainer.records import ShardName, write_shard


def convert(data: Data, records: Records, *, classes: Sequence[str], source_digest: str, out: str | Path) -> None:
    """Convert the train and the test file of `data` into the folder `out`.

    Args:
        data: where the images are.
        records: the size and quality to store them in.
        classes: the class names; a label's index in them is its target.
        source_digest: what the launcher found the files' bytes to be; kept in the manifest.
        out: shards, examples.parquet and, last, manifest.json are written here.

    Raises:
        DataError: a file is missing or not what `data` says; a label is no class; a class has no image at all.
    """
    out = Path(out)
    rows: list[dict[str, object]] = []
    channels = 1
    for split, path, target in (("train", data.train, data.target), ("test", data.test, None)):
        length = pixels.side(path, target=target)
        if length != records.size:
            raise DataError(f"{path}: images of {length} × {length}, but records.size = {records.size}: set it to {length}")
        rows += _write_split(out, split, pixels.images(path, target=target), path, data, records, classes)
    examples = pd.DataFrame(rows)
    seen = set(examples["target"][examples["split"] == "train"])
    for index, name in enumerate(classes):
        if index not in seen:
            raise DataError(f"{data.train}: no image of class {name!r}: take it out of `classes`, or add images of it")
    tables.write_parquet(out / tables.EXAMPLES, examples)
    counts = Counter(examples["split"])
    about = {"size": records.size, "channels": channels, "source_digest": source_digest, "images": dict(counts)}
    write_manifest(out, about)
    tell("note", "records", f"{counts['train']} train and {counts['test']} test images of {records.size} × {records.size}")


def _write_split(
    out: Path,
    split: str,
    images: Iterable[pixels.Image],
    path: str,
    data: Data,
    records: Records,
    classes: Sequence[str],
) -> list[dict[str, object]]:
    """Write the shards of one split; a row of the examples table an image."""
    index_of = {name: index for index, name in enumerate(classes)}
    rows: list[dict[str, object]] = []
    pending: list[dict[str, bytes | int | float]] = []

    def flush() -> None:
        name = str(ShardName(split, shard_index, len(pending)))
        write_shard(out / name, pending)
        for row in rows[len(rows) - len(pending) :]:
            row["shard"] = name
        pending.clear()

    shard_index = 0
    for image in images:
        target = -1
        if split == "train":
            if image.label not in index_of:
                raise DataError(
                    f"{path}: row {image.id}, column {data.target!r}: {image.label!r} is no class; classes are {', '.join(classes)}"
                )
            target = index_of[image.label]
        jpeg = simplejpeg.encode_jpeg(image.pixels, quality=records.quality, colorspace="GRAY", colorsubsampling="Gray")
        features: dict[str, bytes | int | float] = {"image": jpeg, "image_name": image.id.encode()}
        if target >= 0:
            features["target"] = target
        wide = image.pixels.astype(np.int64)
        rows.append(
            {
                "id": image.id,
                "split": split,
                "target": target,
                "shard": "",
                "row": len(pending),
                "width": image.pixels.shape[1],
                "height": image.pixels.shape[0],
                "bytes": len(jpeg),
                "sha256": hashlib.sha256(image.pixels.tobytes()).hexdigest(),
                "sum_c": wide.sum(axis=(0, 1)).tolist(),
                "sumsq_c": (wide * wide).sum(axis=(0, 1)).tolist(),
            }
        )
        pending.append(features)
        if len(pending) == records.shard_images:
            flush()
            shard_index += 1
    if pending:
        flush()
    return rows
