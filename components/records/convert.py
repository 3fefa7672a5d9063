"""Write the images of a competition as TFRecord shards, with a table of what is in them; or scan
ready ones.

The work is cut into units that depend on nothing but the source: a shard each. A unit's files
appear whole, its table last; a run that was killed goes on after the last whole unit, and tasks
that share the work (`records.parts`) write the bytes that one would write."""

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

# Of the stored images: pixel CSVs are grey, everything else becomes RGB.
CHANNELS = {"pixels": 1, "files": 3, "tfrecords": 3, "cifar10": 3}
# A folder that outlives a killed task; the launcher of a local run names it.
# A download waits for the network, and not for a core.
_REMOTE_WORKERS = 16


# From a row and the name of its column to its target.
Target = Callable[..., int]


class Unit(NamedTuple):
    """A piece of the work: `run` writes its shards below a folder; it returns the rows of its
    table, and the rejects."""

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

    At most 4 images a core are under way (64 where they come from a bucket), and no more than
    `records.max_pixels` pixels are decoded at once, at 11 bytes each at the worst; a shard is
    written as it comes.

    Args:
        data: where the images are.
        records: how they are stored.
        classes: the class names; a label's index in them is its target. task: of the competition.
        source_digest: what the launcher found the files to be ("": nothing); kept in the manifest.
        part: of `records.parts`, from 0.
        out: shards, examples.parquet, rejects.csv and, last, manifest.json are written here.

    Raises:
        DataError: a file is missing, has changed since the launcher saw it, or is not what `data`
            says; a label is no class; an image cannot be used, and the competition file does not
            let it be skipped, or it is a test image.
    """
    # Images are shared out among threads of our own; OpenCV's would take cores from each other.
    cv2.setNumThreads(1)
    out = Path(out)
    digest = source.digest(data)
    if source_digest and digest != source_digest:
        raise DataError(
            f"{data.root}: the images or tables changed while the run was under way: run again"
        )
    everything = _units(data, records, classes, task)
    mine = everything[
        len(everything) * part // records.parts : len(everything) * (part + 1) // records.parts
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
    ticker = ProgressBar("records", "images", sum(unit.images for unit in mine))
    table: list[pd.DataFrame] = []
    rejects: list[pd.DataFrame] = []
    for unit in mine:
        rows, bad = work / f"{unit.name}.parquet", work / f"{unit.name}.rejects.csv"
        done = pd.read_parquet(rows) if rows.exists() else None
        if done is not None and (data.source == "tfrecords" or _shards_there(work, done)):
            ticker.skip(unit.images)
        else:
            found, rejected = unit.run(work, ticker)
            tables.write_csv(bad, pd.DataFrame(rejected, columns=list(Rejected._fields)))
            tables.write_parquet(rows, _frame(found))
            # As it comes back, so that a run that was stopped in between gives the same.
            done = pd.read_parquet(rows)
        table.append(done)
        rejects.append(tables.read_rejects(bad))
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


def _shards_there(work: Path, table: pd.DataFrame) -> bool:
    """Whether the shards that a table names are there: a task that was killed at its end had begun
    to move them away."""
    names = {
        name for column in table.columns if column.startswith("shard_") for name in table[column]
    }
    return all((work / name).exists() for name in names)


def _work_folder(out: Path, key: list[Any]) -> Path:
    """Where unfinished work is kept: what was begun with the same key is gone on with."""
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    beside = os.environ.get(runtime.WORK)
    if beside:
        work = Path(beside, name)
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
    """Write the shards of one block, one a size."""
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
        for row, made in in_order(
            partial(_made, records, budget), source.items(block, opened), workers
        ):
            ticker.advance()
            if isinstance(made, Rejected):
                _reject(made, subset, records, rejects)
                continue
            label = target(row, column=subset.data.target or "label")
            rows.append({**_of_row(row, subset, label), **made.columns})
            for size, jpeg in made.jpegs.items():
                shards[size](_features(row, subset.data, jpeg, label))
    for place, entry in enumerate(rows):
        for size, folder in folders.items():
            entry[f"shard_{size}"] = f"{folder}/{subset.split}{block.number:02d}-{len(rows)}.tfrec"
            entry[f"row_{size}"] = place
    return rows, rejects


class _Made(NamedTuple):
    """An image ready to be stored: its JPEG in each size, and its columns of the examples table."""

    jpegs: dict[int, bytes]
    columns: dict[str, Any]


def _made(records: Records, budget: Budget, item: Item) -> tuple[Row, _Made | Rejected]:
    """Load, decode once, fit to every size, encode and describe one image."""
    loaded: bytes | np.ndarray = b""
    try:
        loaded = item.load()
        return item.row, _fitted(loaded, records, budget)
    except (BadImage, OSError) as error:
        size = len(loaded) if isinstance(loaded, bytes) else loaded.nbytes
        return item.row, Rejected(item.row.id, item.file, str(error), size)


def _fitted(loaded: bytes | np.ndarray, records: Records, budget: Budget) -> _Made:
    jpegs: dict[int, bytes] = {}
    columns: dict[str, Any] = {}
    data = loaded if isinstance(loaded, bytes) else loaded.tobytes()
    with _pixels_of(loaded, records, budget) as (pixels, (width, height), extent):
        images = {size: fitted(pixels, size, records.fit, extent) for size in records.sizes}
        as_it_is = (
            isinstance(loaded, bytes)
            and width == height
            and width in images
            and is_plain_jpeg(loaded)
        )
        # Or it would live on after its claim on memory.
        del pixels
    for size, image in images.items():
        jpegs[size] = data if as_it_is and size == width else encoded(image, records.quality)
        columns[f"bytes_{size}"] = len(jpegs[size])
        columns[f"sum_c_{size}"], columns[f"sumsq_c_{size}"] = sums(image)
    columns |= {
        "width": width,
        "height": height,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "phash": perceptual_hash(images[min(images)]),
    }
    return _Made(jpegs, columns)


def _pixels_of(
    loaded: bytes | np.ndarray, records: Records, budget: Budget
) -> AbstractContextManager[tuple[np.ndarray, tuple[int, int], tuple[float, float]]]:
    """As `decoding`: the pixels, as large as they need be, the size of the whole image, and how
    much of it the pixels show."""
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
    """The rows of one ready shard."""
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
                    **_of_row(scanned.row, shard.subset, target(scanned.row, column=data.target)),
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
    """Put aside what cannot be used, or stop over it."""
    told = f"{rejected.file or 'id ' + repr(rejected.id)}: {rejected.reason}"
    if subset.split == "test":
        raise DataError(f"{told} (a test image, and a submission needs them all)")
    if records.on_bad_image == "fail":
        raise DataError(f"{told} (records.on_bad_image = 'skip' would leave it out)")
    rejects.append(rejected)


def _of_row(row: Row, subset: Subset, target: int) -> dict[str, Any]:
    """What the examples table says of an image by its row."""
    numeric = {
        tables.tabular(name): value
        for name, value in zip(subset.data.numeric, row.numeric, strict=True)
    }
    categorical = {
        tables.tabular(name): value
        for name, value in zip(subset.data.categorical, row.categorical, strict=True)
    }
    group = subset.group_prefix + row.group if row.group else ""
    about = {
        "id": row.id,
        "split": subset.split,
        "external": subset.external,
        "target": target,
        "group": group,
    }
    return {**about, **numeric, **categorical}


def _features(row: Row, data: Data, jpeg: bytes, target: int) -> dict[str, bytes | int | float]:
    """What a record holds; `target` only where there is a label, and of the tabular columns only
    what is not missing."""
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
    # A hash may have its highest bit set.
    return frame.astype({"phash": np.uint64}) if rows else frame
