"""Convert the images of a competition to TFRecord shards and a table that describes them, or scan
ready shards.

The work is split into units that depend only on the source: one shard each. The files of a unit
appear only when they are complete, its table last. A run that was killed resumes after the last
complete unit, and steps that share the work (`records.parts`) write the same bytes as one step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd

from components.parallel import WORKERS, Budget, in_order
from components.records import source
from components.records.images.decode import BadImage, decoding
from components.records.images.describe import perceptual_hash, sums
from components.records.images.jpeg import encoded, is_plain_jpeg
from components.records.images.resize import fitted
from components.records.sources import tfrecords
from components.records.sources.columns import target_of
from components.records.types import Item, Reader, Rejected, Row, Subset
from components.storage import objects
from components.storage.folders import local_root
from trainer import runtime
from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.artifacts.records import open_shard
from trainer.config.data import Data, Records
from trainer.errors import DataError
from trainer.events import ProgressBar, emit

# Channels of the stored images: pixel CSVs are grey, everything else becomes RGB.
CHANNELS = {"pixels": 1, "files": 3, "tfrecords": 3, "cifar10": 3}
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


def convert(
    data: Data,
    records: Records,
    *,
    classes: Sequence[str],
    task: str = "multiclass",
    source_digest: str = "",
    part: int = 0,
    out: str | Path,
) -> None:
    """Convert, or scan, one part of `data` into the folder `out`.

    At most 4 images per core (64 in all if they come from a bucket) are in progress, and at most
    `records.max_pixels` pixels are decoded at once, at up to 11 bytes each. A record is written as
    soon as its image is ready.

    Args:
        data: where the images are.
        records: how to store them.
        classes: the class names; the index of a label in them is its target.
        task: `multiclass`, `binary` or `multilabel`.
        source_digest: the digest of the source that the launcher computed; "" skips the check. The
            manifest keeps the digest.
        part: the part to convert, 0 to `records.parts` - 1.
        out: the folder to write: shards, examples.parquet, rejects.csv and, last, manifest.json.

    Raises:
        DataError: a file is missing, has changed since the launcher read it, or is not what `data`
            describes; a label is not a class; or an image cannot be used, and either is a test
            image or `records.on_bad_image` does not allow skipping it.
    """
    # Our own threads share the images; threads of OpenCV would compete with them for cores.
    cv2.setNumThreads(1)
    out = Path(out)
    digest = source.digest(data)
    if source_digest and digest != source_digest:
        raise DataError(
            f"{data.root}: the images or tables changed while the run was under way: run again"
        )
    all_units = _units(data, records, classes, task)
    units = all_units[
        len(all_units) * part // records.parts : len(all_units) * (part + 1) // records.parts
    ]
    work = _work_folder(
        out,
        [
            asdict(data),
            asdict(records),
            list(classes),
            task,
            digest,
            part,
            os.environ.get("FOLDLINE_CODE", ""),
        ],
    )
    ticker = ProgressBar("records", "images", sum(unit.images for unit in units))
    table: list[pd.DataFrame] = []
    rejects: list[pd.DataFrame] = []
    for unit in units:
        rows_path, rejects_path = work / f"{unit.name}.parquet", work / f"{unit.name}.rejects.csv"
        unit_table = pd.read_parquet(rows_path) if rows_path.exists() else None
        if unit_table is not None and (
            data.source == "tfrecords" or _shards_exist(work, unit_table)
        ):
            ticker.skip(unit.images)
        else:
            new_rows, rejected = unit.run(work, ticker)
            tables.write_csv(rejects_path, pd.DataFrame(rejected, columns=list(Rejected._fields)))
            tables.write_parquet(rows_path, _frame(new_rows))
            # Read the table back, so that a run that was interrupted gives the same result.
            unit_table = pd.read_parquet(rows_path)
        table.append(unit_table)
        rejects.append(tables.read_rejects(rejects_path))
    ticker.close()
    for shard in sorted(work.glob("*/*.tfrec")):
        target = out / shard.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(shard, target)
    examples = pd.concat(table, ignore_index=True) if table else pd.DataFrame()
    tables.write_parquet(out / tables.EXAMPLES, examples)
    bad_rows = (
        pd.concat(rejects, ignore_index=True)
        if rejects
        else pd.DataFrame(columns=list(Rejected._fields))
    )
    tables.write_csv(out / tables.REJECTS, bad_rows)
    shutil.rmtree(work)
    write_manifest(out, {"part": part, "source_digest": digest})
    emit(
        "note",
        "records",
        f"part {part + 1} of {records.parts}: {len(examples)} images, {len(bad_rows)} left out",
    )


def _shards_exist(work: Path, table: pd.DataFrame) -> bool:
    """Return whether the shards that a table names exist.

    A step that was killed at its end may have started to move them away.
    """
    names = {
        name for column in table.columns if column.startswith("shard_") for name in table[column]
    }
    return all((work / name).exists() for name in names)


def _work_folder(out: Path, key: list[Any]) -> Path:
    """Return the folder for unfinished work; work that started with the same key is resumed.

    It is below the folder that the launcher of a local run sets, which outlives a killed step, or
    else below `out`.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    parent = os.environ.get(runtime.WORK)
    if parent:
        work = Path(parent, name)
    else:
        work = out / f".work-{name}"
        for other in out.glob(".work-*"):
            if other != work:
                shutil.rmtree(other)
    work.mkdir(parents=True, exist_ok=True)
    return work


def _units(data: Data, records: Records, classes: Sequence[str], task: str) -> list[Unit]:
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
    subset = block.subset
    rows: list[dict[str, Any]] = []
    rejects: list[Rejected] = []
    folders = {size: tables.size_name(size) for size in records.sizes}
    for folder in folders.values():
        for stale in (work / folder).glob(f"{subset.split}{block.number:02d}-*.tfrec"):
            stale.unlink()
    workers = _REMOTE_WORKERS if objects.is_remote(subset.data.root) else WORKERS
    with ExitStack() as stack:
        shards = {
            size: stack.enter_context(open_shard(work / folders[size], subset.split, block.number))
            for size in folders
        }
        for row, processed in in_order(
            partial(_process, records, budget), source.items(block, opened), workers
        ):
            ticker.advance()
            if isinstance(processed, Rejected):
                _reject(processed, subset, records, rejects)
                continue
            label = target(row, column=subset.data.target or "label")
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


def _process(records: Records, budget: Budget, item: Item) -> tuple[Row, _Processed | Rejected]:
    """Load, decode once, fit to every size, encode and describe one image."""
    loaded: bytes | np.ndarray = b""
    try:
        loaded = item.load()
        return item.row, _fitted(loaded, records, budget)
    except (BadImage, OSError) as error:
        size = len(loaded) if isinstance(loaded, bytes) else loaded.nbytes
        return item.row, Rejected(item.row.id, item.file, str(error), size)


def _fitted(loaded: bytes | np.ndarray, records: Records, budget: Budget) -> _Processed:
    jpegs: dict[int, bytes] = {}
    columns: dict[str, Any] = {}
    data = loaded if isinstance(loaded, bytes) else loaded.tobytes()
    with _pixels_of(loaded, records, budget) as (pixels, (width, height), extent):
        images = {size: fitted(pixels, size, records.fit, extent) for size in records.sizes}
        unchanged = (
            isinstance(loaded, bytes)
            and width == height
            and width in images
            and is_plain_jpeg(loaded)
        )
        # Free the pixels here, or they would outlive their claim on memory.
        del pixels
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
    }
    return _Processed(jpegs, columns)


def _pixels_of(
    loaded: bytes | np.ndarray, records: Records, budget: Budget
) -> AbstractContextManager[tuple[np.ndarray, tuple[int, int], tuple[float, float]]]:
    """Yield what `decoding` yields.

    These are the pixels, no larger than they need to be; the (width, height) of the original image;
    and the (width, height) that the pixels show.
    """
    if isinstance(loaded, bytes):
        exact = records.fit != "stretch"
        return decoding(
            loaded,
            side=max(records.sizes),
            max_pixels=records.max_pixels,
            exact=exact,
            claim=budget.claim,
        )
    size = (loaded.shape[1], loaded.shape[0])
    return nullcontext((loaded, size, size))


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
    size = shard.size
    with local_root(data.root, [shard.path]) as root:
        for scanned in tfrecords.scan(shard, root):
            ticker.advance()
            image = scanned.image
            if isinstance(image, Rejected):
                _reject(image, shard.subset, records, rejects)
                continue
            rows.append(
                {
                    **_row_columns(
                        scanned.row, shard.subset, target(scanned.row, column=data.target)
                    ),
                    "width": scanned.width,
                    "height": scanned.height,
                    "bytes": image.bytes,
                    "sha256": image.sha256,
                    "phash": image.phash,
                    f"bytes_{size}": image.bytes,
                    f"sum_c_{size}": image.sum_c,
                    f"sumsq_c_{size}": image.sumsq_c,
                    f"shard_{size}": shard.path,
                    f"row_{size}": scanned.place,
                }
            )
    return rows, rejects


def _reject(rejected: Rejected, subset: Subset, records: Records, rejects: list[Rejected]) -> None:
    """Add an image that cannot be used to `rejects`, or stop if it may not be skipped."""
    message = f"{rejected.file or 'id ' + repr(rejected.id)}: {rejected.reason}"
    if subset.split == "test":
        raise DataError(f"{message} (a test image, and a submission needs them all)")
    if records.on_bad_image == "fail":
        raise DataError(f"{message} (records.on_bad_image = 'skip' would leave it out)")
    rejects.append(rejected)


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


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # A hash may have its highest bit set, which int64 cannot hold.
    return frame.astype({"phash": np.uint64}) if rows else frame
