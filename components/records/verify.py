"""Whether a records folder is whole, down to the crc of every record."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trainer import tables
from trainer.errors import IntegrityError
from trainer.manifest import MANIFEST, read_manifest
from trainer.records import decode_example, read_shard


class Verified(NamedTuple):
    """What was looked at."""

    files: int
    records: int


def verify(folder: str | Path) -> Verified:
    """Check each shard record by record, then every file against the manifest, then the examples table against the shards.

    Shards come first, because a crc says where the damage is, which a file's digest cannot.

    Raises:
        IntegrityError: the first damage found, with its file, and the record and byte offset in a shard.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise IntegrityError(f"{folder}: no such folder")
    ids = {
        path.name: [decode_example(payload).get("image_name", b"") for payload in read_shard(path)]
        for path in sorted(folder.glob("*.tfrec"))
    }
    read_manifest(folder)
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    unnamed = sorted(set(ids) - set(files))
    if unnamed:
        raise IntegrityError(f"{folder / unnamed[0]}: {MANIFEST} does not name it")
    for name, records in ids.items():
        counted = files[name].get("count")
        if counted != len(records):
            raise IntegrityError(f"{folder / name}: holds {len(records)} records, {MANIFEST} says {counted}")
    _check_table(folder, pd.read_parquet(folder / tables.EXAMPLES, columns=["id", "shard", "row"]), ids)
    return Verified(len(files), sum(map(len, ids.values())))


def _check_table(folder: Path, examples: pd.DataFrame, ids: Mapping[str, Sequence[object]]) -> None:
    """Every row of the examples table is a record of its id, and every record has a row."""
    rows = sum(map(len, ids.values()))
    if len(examples) != rows:
        raise IntegrityError(f"{folder / tables.EXAMPLES}: has {len(examples)} rows, the shards hold {rows} records")
    for id_, shard, row in zip(examples["id"], examples["shard"], examples["row"], strict=True):
        held = ids.get(shard, [])
        found = held[row] if row < len(held) else None
        if found != id_.encode():
            place = f"record {row} of {shard}"
            raise IntegrityError(f"{folder / tables.EXAMPLES}: id {id_!r} should be {place}, which is {found!r}")
