"""Convert the images of a competition to TFRecord shards and a table that describes them, or scan
ready shards.

The work is split into units that depend only on the source: one shard each. The files of a unit
appear only when they are complete, its table last. A run that was killed resumes after the last
complete unit, and steps that share the work (`records.parts`) write the same bytes as one step.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from components.records import source
from components.records.images import deep
from components.records.types import Rejected
from components.records.units import Unit, units_of
from components.records.white_level import resolved
from trainer import runtime
from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import SHOWN, DataError
from trainer.events import ProgressBar, emit


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
            describes; a label is not a class; or images cannot be used, and `records` does not
            allow that.
    """
    # Our own threads share the images; threads of OpenCV would compete with them for cores.
    cv2.setNumThreads(1)
    out = Path(out)
    records = resolved(data, records)
    digest = source.digest(data)
    if source_digest and digest != source_digest:
        raise DataError(
            f"{data.root}: the images or tables changed while the run was under way: run again"
        )
    all_units = units_of(data, records, classes, task)
    units = all_units[
        len(all_units) * part // records.parts : len(all_units) * (part + 1) // records.parts
    ]
    # What happens with bad images is decided at the end: a run that allows them resumes.
    lenient = dataclasses.replace(
        records, on_bad_image="fail", on_bad_test_image="fail", max_bad_fraction=0.0
    )
    work = _work_folder(
        out,
        [
            asdict(data),
            asdict(lenient),
            list(classes),
            task,
            digest,
            part,
            os.environ.get(runtime.CODE, ""),
        ],
    )
    ticker = ProgressBar("records", "images", sum(unit.images for unit in units))
    ready = data.source == "tfrecords"
    done = [_done(unit, work, ticker, ready=ready) for unit in units]
    ticker.close()
    table, rejects = [part for part, _ in done], [bad for _, bad in done]
    bad_rows = (
        pd.concat(rejects, ignore_index=True)
        if rejects
        else pd.DataFrame(columns=list(Rejected._fields))
    )
    if problem := _problem([Rejected(*row) for row in bad_rows.itertuples(index=False)], records):
        # Try these images again, whatever the dates of their files.
        for unit, bad in zip(units, rejects, strict=True):
            if len(bad):
                (work / f"{unit.name}.parquet").unlink()
        raise DataError(problem)
    for shard in sorted(work.glob("*/*.tfrec")):
        target = out / shard.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(shard, target)
    examples = pd.concat(table, ignore_index=True) if table else pd.DataFrame()
    tables.write_parquet(out / tables.EXAMPLES, examples)
    tables.write_csv(out / tables.REJECTS, bad_rows)
    shutil.rmtree(work)
    write_manifest(out, {"part": part, "source_digest": digest})
    emit(
        "note",
        "records",
        f"part {part + 1} of {records.parts}: {len(examples)} images, {len(bad_rows)} cannot be"
        " used",
    )


def _done(
    unit: Unit, work: Path, ticker: ProgressBar, *, ready: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table and the rejects of a unit: of an earlier run if it completed the unit.

    Args:
        unit: the unit.
        work: the folder for unfinished work.
        ticker: counts images.
        ready: whether the shards are where they are, and none is written.
    """
    rows_path, rejects_path = work / f"{unit.name}.parquet", work / f"{unit.name}.rejects.csv"
    table = pd.read_parquet(rows_path) if rows_path.exists() else None
    if table is not None and (ready or _shards_exist(work, table)):
        ticker.skip(unit.images)
        return table, tables.read_rejects(rejects_path)
    rows, rejected = unit.run(work, ticker)
    tables.write_csv(rejects_path, pd.DataFrame(rejected, columns=list(Rejected._fields)))
    tables.write_parquet(rows_path, _frame(rows))
    # Read the tables back, so that a run that was interrupted gives the same result.
    return pd.read_parquet(rows_path), tables.read_rejects(rejects_path)


def _problem(rejects: Sequence[Rejected], records: Records) -> str:
    """Return a message with the images that cannot be used and may not be left out, one a line, and
    what to do; "" if there are none."""
    policies = {
        "train": (records.on_bad_image, "records.on_bad_image = 'skip' leaves labelled ones out"),
        "test": (
            records.on_bad_test_image,
            "records.on_bad_test_image = 'prior' gives test images the mean prediction",
        ),
    }
    # A white level that is too low for an image is wrong for all; the image is not bad.
    forbidden = [
        reject
        for reject in rejects
        if policies[reject.split][0] == "fail" or deep.ABOVE in reject.reason
    ]
    if not forbidden:
        return ""
    lines = [reject.message() for reject in forbidden[:SHOWN]]
    advice = [
        policies[split][1]
        for split in policies
        if any(r.split == split and deep.ABOVE not in r.reason for r in forbidden)
    ] or ["set records.white_level"]
    return "\n".join([*lines, f"{len(forbidden)} images cannot be used: " + "; ".join(advice)])


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


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    # A hash may have its highest bit set, which int64 cannot hold.
    return frame.astype({"phash": np.uint64}) if rows else frame
