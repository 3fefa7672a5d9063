"""Write the images of a competition as TFRecord shards, with the examples table and the manifest."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from components.records import source
from components.records.image import Image, Rejected
from trainer import tables
from trainer.competition import Data, Records
from trainer.errors import DataError
from trainer.manifest import MANIFEST, write_manifest
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
        out: shards, examples.parquet, rejects.csv and, last, manifest.json are written here.

    Raises:
        DataError: a file is missing, has changed since the launcher saw it, or is not what `data` says; a label is no class;
            a class has no image at all; more images cannot be used than `records` allows, or a test image.
    """
    out = Path(out)
    if source_digest and source.digest(data) != source_digest:
        raise DataError(f"{data.root}: the images or tables changed while the run was under way: run again")
    source.look(data, records)
    # A task that is tried again finds what the try before left: without its manifest it is nothing whole.
    for stale in (out / MANIFEST, *out.glob("*.tfrec")):
        stale.unlink(missing_ok=True)
    index_of = {name: index for index, name in enumerate(classes)}

    def target_of(image: Image) -> int:
        if image.label not in index_of:
            where = f"{data.train}: {'id' if data.id else 'row'} {image.id}, column {data.target!r}"
            raise DataError(f"{where}: {image.label!r} is no class; classes are {', '.join(classes)}")
        return index_of[image.label]

    rows: list[dict[str, object]] = []
    rejects: list[Rejected] = []
    tests: list[Rejected] = []
    rows += _write_split(out, "train", _usable(source.images(data, records, "train"), rejects), target_of, records)
    labelled = len(rows)
    rows += _write_split(out, "test", _usable(source.images(data, records, "test"), tests), lambda image: -1, records)
    _check_rejects(rejects, tests, labelled, records)
    examples = pd.DataFrame(rows)
    seen = set(examples["target"][examples["split"] == "train"])
    for index, name in enumerate(classes):
        if index not in seen:
            raise DataError(f"{data.train}: no image of class {name!r}: take it out of `classes`, or add images of it")
    tables.write_parquet(out / tables.EXAMPLES, examples)
    tables.write_csv(out / tables.REJECTS, pd.DataFrame(rejects, columns=Rejected._fields))
    counts = Counter(examples["split"])
    about = {"size": records.size, "channels": CHANNELS[data.source], "source_digest": source_digest, "images": dict(counts)}
    write_manifest(out, about, {tables.EXAMPLES: len(examples), **Counter(examples["shard"])})
    skipped = f", {len(rejects)} left out (rejects.csv)" if rejects else ""
    sizes = f"{records.size} × {records.size}"
    tell("note", "records", f"{counts['train']} train and {counts['test']} test images of {sizes}{skipped}")


def _usable(images: Iterable[Image | Rejected], rejects: list[Rejected]) -> Iterator[Image]:
    """The images; what is none is put aside."""
    for image in images:
        if isinstance(image, Image):
            yield image
        else:
            rejects.append(image)


def _write_split(
    out: Path, split: str, images: Iterable[Image], target_of: Callable[[Image], int], records: Records
) -> list[dict[str, object]]:
    """Write the shards of one split; a row of the examples table an image. One shard's JPEGs are in memory at once."""
    rows: list[dict[str, object]] = []
    shard: list[dict[str, bytes | int | float]] = []
    number = 0

    def flush() -> None:
        name = str(ShardName(split, number, len(shard)))
        write_shard(out / name, shard)
        for row in rows[len(rows) - len(shard) :]:
            row["shard"] = name
        shard.clear()

    for image in images:
        jpeg, target = _encoded(image.pixels, records.quality), target_of(image)
        rows.append({"split": split, "target": target, "shard": "", "row": len(shard), **_described(image, jpeg)})
        shard.append(_features(image, jpeg, target))
        if len(shard) == records.shard_images:
            flush()
            number += 1
    if shard:
        flush()
    return rows


def _check_rejects(rejects: Sequence[Rejected], tests: Sequence[Rejected], labelled: int, records: Records) -> None:
    """Stop where images that cannot be used are more than the competition file allows."""

    def told(rejected: Rejected) -> str:
        return f"{rejected.file or 'id ' + repr(rejected.id)}: {rejected.reason}"

    if tests:
        raise DataError(f"{told(tests[0])} ({len(tests)} such test images, and a submission needs them all)")
    if rejects and records.on_bad_image == "fail":
        raise DataError(f"{told(rejects[0])} ({len(rejects)} such images; records.on_bad_image = 'skip' would leave them out)")
    if len(rejects) > records.max_bad_fraction * (labelled + len(rejects)):
        raise DataError(
            f"{told(rejects[0])} ({len(rejects)} such images of {labelled + len(rejects)}, "
            f"more than records.max_bad_fraction = {records.max_bad_fraction:g} allows)"
        )


def _encoded(image: np.ndarray, quality: int) -> bytes:
    """(size, size, 1) grey or (size, size, 3) RGB uint8 -> JPEG."""
    if image.shape[2] == 1:
        return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="GRAY", colorsubsampling="Gray"))
    return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False))


def _features(image: Image, jpeg: bytes, target: int) -> dict[str, bytes | int | float]:
    """What a record holds; `target` only where there is a label."""
    features: dict[str, bytes | int | float] = {"image": jpeg, "image_name": image.id.encode()}
    return features if target < 0 else {**features, "target": target}


def _described(image: Image, jpeg: bytes) -> dict[str, object]:
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
