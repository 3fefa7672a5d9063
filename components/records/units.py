"""The units of the conversion, one shard each: converted from images, or scanned where they are."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.parallel import WORKERS, Budget, in_order
from components.records import source
from components.records.images.decode import BadImage, Decoded, decoding
from components.records.images.deep import LARGEST
from components.records.images.describe import perceptual_hash, sums
from components.records.images.jpeg import encoded, is_plain_jpeg
from components.records.images.resize import fitted
from components.records.sources import tfrecords
from components.records.sources.columns import target_of
from components.records.types import Item, Reader, Rejected, Row, Subset
from components.storage import objects
from components.storage.folders import local_root
from trainer.artifacts import tables
from trainer.artifacts.records import open_shard
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.events import ProgressBar

# Threads that load images from a bucket: a download waits for the network, not for a core.
_REMOTE_WORKERS = 16


# Maps a row, and the name of its label column, to its target.
Target = Callable[..., int]


class Unit(NamedTuple):
    """A piece of the work.

    Attributes:
        name: the base name of its files.
        images: the number of its images, 0 if unknown.
        run: called with a folder and a progress bar; writes its shards below the folder, and
            returns the rows of its table and the rejects.
    """

    name: str
    images: int
    run: Callable[[Path, ProgressBar], tuple[list[dict[str, Any]], list[Rejected]]]


def units_of(data: Data, records: Records, classes: Sequence[str], task: str) -> list[Unit]:
    index_of = {name: index for index, name in enumerate(classes)}
    target = partial(
        target_of, index_of=index_of, separator=data.separator if task == "multilabel" else ""
    )
    if data.source == "tfrecords":
        return [
            Unit(
                f"scan{number:05d}",
                shard.records or 0,
                partial(_scan, data, shard, records, target),
            )
            for number, shard in enumerate(tfrecords.units(data, records))
        ]
    budget = Budget(records.max_pixels)
    return [
        Unit(
            f"{block.subset.split}{block.number:05d}",
            block.rows,
            partial(_convert, block, opened, records, target, budget),
        )
        for block, opened in source.blocks(data, records)
    ]


def _convert(
    block: source.Block,
    opened: Reader,
    records: Records,
    target: Target,
    budget: Budget,
    work: Path,
    ticker: ProgressBar,
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Write the shards of one block, one per size, and return its rows and rejects."""
    subset, labelled = block.subset, block.subset.split == "train"
    rows: list[dict[str, Any]] = []
    rejects: list[Rejected] = []
    folders = {size: tables.size_name(size) for size in records.sizes}
    for folder in folders.values():
        for stale in (work / folder).glob(f"{subset.split}{block.number:02d}-*.tfrec"):
            stale.unlink()
    workers = _REMOTE_WORKERS if objects.is_remote(subset.data.root) else WORKERS
    process = partial(_process, records, budget, subset.split)
    with ExitStack() as stack:
        shards = {
            size: stack.enter_context(open_shard(work / folders[size], subset.split, block.number))
            for size in folders
        }
        for row, processed in in_order(process, source.items(block, opened), workers):
            ticker.advance()
            if isinstance(processed, Rejected):
                rejects.append(processed)
                continue
            label = target(row, column=subset.data.target or "label") if labelled else -1
            rows.append({**_row_columns(row, subset, label), **processed.columns})
            for size, jpeg in processed.jpegs.items():
                shards[size](_features(row, subset.data, jpeg, label))
    for index, entry in enumerate(rows):
        for size, folder in folders.items():
            entry[f"shard_{size}"] = f"{folder}/{subset.split}{block.number:02d}-{len(rows)}.tfrec"
            entry[f"row_{size}"] = index
    return rows, rejects


class _Processed(NamedTuple):
    """An image ready to be stored.

    Attributes:
        jpegs: its JPEG in each size.
        columns: its columns of the examples table.
    """

    jpegs: dict[int, bytes]
    columns: dict[str, Any]


def _process(
    records: Records, budget: Budget, split: str, item: Item
) -> tuple[Row, _Processed | Rejected]:
    """Load, decode once, fit to every size, encode and describe one image."""
    loaded: bytes | np.ndarray = b""
    try:
        loaded = item.load()
        return item.row, _fitted(loaded, records, budget)
    except (BadImage, OSError) as error:
        size = len(loaded) if isinstance(loaded, bytes) else loaded.nbytes
        return item.row, Rejected(item.row.id, item.file, str(error), size, split)


def _fitted(loaded: bytes | np.ndarray, records: Records, budget: Budget) -> _Processed:
    jpegs: dict[int, bytes] = {}
    columns: dict[str, Any] = {}
    data = loaded if isinstance(loaded, bytes) else loaded.tobytes()
    with _decoding(loaded, records, budget) as decoded:
        pixels, (width, height), extent, bits, fault = decoded
        images = {size: fitted(pixels, size, records.fit, extent) for size in records.sizes}
        unchanged = (
            isinstance(loaded, bytes)
            and width == height
            and width in images
            and not fault
            and is_plain_jpeg(loaded)
        )
        # Free the pixels here, or they would outlive their claim on memory.
        del pixels, decoded
    for size, image in images.items():
        jpegs[size] = data if unchanged and size == width else encoded(image, records.quality)
        columns[f"bytes_{size}"] = len(jpegs[size])
        columns[f"sum_c_{size}"], columns[f"sumsq_c_{size}"] = sums(image)
    columns |= {
        "width": width,
        "height": height,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "phash": perceptual_hash(images[min(images)]),
        "bits": bits,
        "fault": fault,
    }
    return _Processed(jpegs, columns)


def _decoding(
    loaded: bytes | np.ndarray, records: Records, budget: Budget
) -> AbstractContextManager[Decoded]:
    """Yield what `decoding` yields."""
    if isinstance(loaded, bytes):
        exact = records.fit != "stretch"
        return decoding(
            loaded,
            side=max(records.sizes),
            max_pixels=records.max_pixels,
            white_level=records.white_level or LARGEST,
            exact=exact,
            claim=budget.claim,
        )
    size = (loaded.shape[1], loaded.shape[0])
    return nullcontext(Decoded(loaded, size, size))


def _scan(
    data: Data,
    shard: tfrecords.Shard,
    records: Records,
    target: Target,
    work: Path,
    ticker: ProgressBar,
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Return the rows and the rejects of one ready shard."""
    rows: list[dict[str, Any]] = []
    rejects: list[Rejected] = []
    size, labelled = shard.size, shard.subset.split == "train"
    with local_root(data.root, [shard.path]) as root:
        for scanned in tfrecords.scan(shard, root):
            ticker.advance()
            image = scanned.image
            if isinstance(image, Rejected):
                rejects.append(image)
                continue
            label = target(scanned.row, column=data.target) if labelled else -1
            rows.append(
                {
                    **_row_columns(scanned.row, shard.subset, label),
                    "width": scanned.width,
                    "height": scanned.height,
                    "bytes": image.bytes,
                    "sha256": image.sha256,
                    "phash": image.phash,
                    "bits": 8,
                    "fault": image.fault,
                    f"bytes_{size}": image.bytes,
                    f"sum_c_{size}": image.sum_c,
                    f"sumsq_c_{size}": image.sumsq_c,
                    f"shard_{size}": shard.path,
                    f"row_{size}": scanned.place,
                }
            )
    return rows, rejects


def _row_columns(row: Row, subset: Subset, target: int) -> dict[str, Any]:
    """Return the columns of the examples table that come from an image's row."""
    numeric = {
        tables.tabular(name): value
        for name, value in zip(subset.data.numeric, row.numeric, strict=True)
    }
    categorical = {
        tables.tabular(name): value
        for name, value in zip(subset.data.categorical, row.categorical, strict=True)
    }
    group = subset.group_prefix + row.group if row.group else ""
    columns = {
        "id": row.id,
        "split": subset.split,
        "external": subset.external,
        "target": target,
        "group": group,
    }
    return {**columns, **numeric, **categorical}


def _features(row: Row, data: Data, jpeg: bytes, target: int) -> dict[str, bytes | int | float]:
    """Return the features of a record.

    `target` is there only if there is a label, a tabular column only if its value is not missing.
    """
    features: dict[str, bytes | int | float] = {"image": jpeg, "image_name": row.id.encode()}
    features |= {
        name: value for name, value in zip(data.numeric, row.numeric, strict=True) if value == value
    }
    features |= {
        name: value.encode()
        for name, value in zip(data.categorical, row.categorical, strict=True)
        if value
    }
    return features if target < 0 else {**features, "target": target}
