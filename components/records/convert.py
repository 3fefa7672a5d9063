"""Write the images of a competition as TFRecord shards, with the examples table and the manifest."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from components.records import pixels, source
from trainer import tables
from trainer.competition import Data, Records
from trainer.errors import DataError
from trainer.manifest import write_manifest
from trainer.progress import tell
from trainer.records import ShardName, write_shard

# Of the stored images: pixel CSVs are grey, image files become RGB.
CHANNELS = {"pixels": 1, "files": 3}


def convert(data: Data, records: Records, *, classes: Sequence[str], source_digest: str, out: str | Path) -> None:
    """Convert the train and the test file of `data` into the folder `out`.

    Args:
        data: where the images are.
        records: the size and quality to store them in.
        classes: the class names; a label's index in them is its target.
        source_digest: what the launcher found the files' bytes to be ("": nothing); kept in the manifest.
        out: shards, examples.parquet and, last, manifest.json are written here.

    Raises:
        DataError: a file is missing, has changed since the launcher saw it, or is not what `data` says; a label is no class;
            a class has no image at all.
    """
    out = Path(out)
    if source_digest and source.digest(data) != source_digest:
        raise DataError(f"{data.root}: the images or tables changed while the run was under way: run again")
    source.look(data, records)
    index_of = {name: index for index, name in enumerate(classes)}

    def target_of(image: pixels.Image) -> int:
        if image.label not in index_of:
            where = f"{data.train}: {'id' if data.id else 'row'} {image.id}, column {data.target!r}"
            raise DataError(f"{where}: {image.label!r} is no class; classes are {', '.join(classes)}")
        return index_of[image.label]

    rows: list[dict[str, object]] = []
    rows += _write_split(out, "train", source.images(data, records, "train"), target_of, records)
    rows += _write_split(out, "test", source.images(data, records, "test"), lambda image: -1, records)
    examples = pd.DataFrame(rows)
    seen = set(examples["target"][examples["split"] == "train"])
    for index, name in enumerate(classes):
        if index not in seen:
            raise DataError(f"{data.train}: no image of class {name!r}: take it out of `classes`, or add images of it")
    tables.write_parquet(out / tables.EXAMPLES, examples)
    counts = Counter(examples["split"])
    about = {"size": records.size, "channels": CHANNELS[data.source], "source_digest": source_digest, "images": dict(counts)}
    write_manifest(out, about, {tables.EXAMPLES: len(examples), **Counter(examples["shard"])})
    tell("note", "records", f"{counts['train']} train and {counts['test']} test images of {records.size} × {records.size}")


def _write_split(
    out: Path, split: str, images: Iterable[pixels.Image], target_of: Callable[[pixels.Image], int], records: Records
) -> list[dict[str, object]]:
    """Write the shards of one split; a row of the examples table an image. One shard is in memory at once."""
    rows: list[dict[str, object]] = []
    images = iter(images)
    number = 0
    while shard := list(itertools.islice(images, records.shard_images)):
        name = ShardName(split, number, len(shard))
        targets = [target_of(image) for image in shard]
        jpegs = [_encoded(image.pixels, records.quality) for image in shard]
        write_shard(out / str(name), map(_features, shard, jpegs, targets))
        for row, (image, jpeg, target) in enumerate(zip(shard, jpegs, targets, strict=True)):
            rows.append({"split": split, "target": target, "shard": str(name), "row": row, **_described(image, jpeg)})
        number += 1
    return rows


def _encoded(image: np.ndarray, quality: int) -> bytes:
    """(size, size, 1) grey or (size, size, 3) RGB uint8 -> JPEG."""
    if image.shape[2] == 1:
        return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="GRAY", colorsubsampling="Gray"))
    return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False))


def _features(image: pixels.Image, jpeg: bytes, target: int) -> dict[str, bytes | int | float]:
    """What a record holds; `target` only where there is a label."""
    features: dict[str, bytes | int | float] = {"image": jpeg, "image_name": image.id.encode()}
    return features if target < 0 else {**features, "target": target}


def _described(image: pixels.Image, jpeg: bytes) -> dict[str, object]:
    """What the examples table says of an image by itself."""
    # Sums are of the pixels that a model will see: those of the JPEG, not those that went into it.
    colorspace = "GRAY" if image.pixels.shape[2] == 1 else "RGB"
    stored = simplejpeg.decode_jpeg(jpeg, colorspace=colorspace, fastdct=False, fastupsample=False).astype(np.int64)
    return {
        "id": image.id,
        "group": image.group,
        "width": image.pixels.shape[1],
        "height": image.pixels.shape[0],
        "bytes": len(jpeg),
        "sha256": hashlib.sha256(image.pixels.tobytes()).hexdigest(),
        "sum_c": stored.sum(axis=(0, 1)).tolist(),
        "sumsq_c": (stored * stored).sum(axis=(0, 1)).tolist(),
    }
