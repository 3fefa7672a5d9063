"""Whether a records folder is whole, down to the crc of every record."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from components.storage import objects
from components.storage.folders import fetch_folder, local_root
from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, read_manifest
from trainer.artifacts.records import decode_example, read_shard
from trainer.errors import IntegrityError


class Verified(NamedTuple):
    """What was looked at."""

    files: int
    records: int


def verify(folder: str) -> Verified:
    """Check each shard record by record, then every file against the manifest, then the examples
    table against the shards.

    Shards come first, because a crc says where the damage is, which a file's digest cannot. Ready
    TFRecords that were scanned are read where they lie.

    Args:
        folder: a records folder, or the `gs://` prefix that one was published to, which is fetched.

    Raises:
        IntegrityError: the first damage found, with its file, and the record and byte offset in a
            shard.
    """
    if objects.is_remote(folder):
        with tempfile.TemporaryDirectory(prefix="foldline-") as near:
            fetch_folder(folder.rstrip("/"), Path(near))
            return _verify(Path(near))
    return _verify(Path(folder))


def _verify(folder: Path) -> Verified:
    if not folder.is_dir():
        raise IntegrityError(f"{folder}: no such folder")
    ids = {
        path.relative_to(folder).as_posix(): _ids(path, "image_name")
        for path in sorted(folder.glob("*/*.tfrec"))
    }
    about = read_manifest(folder)
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    unnamed = sorted(set(ids) - set(files))
    if unnamed:
        raise IntegrityError(f"{folder / unnamed[0]}: {MANIFEST} does not name it")
    for name, records in ids.items():
        counted = files[name].get("count")
        if counted != len(records):
            raise IntegrityError(
                f"{folder / name}: holds {len(records)} records, {MANIFEST} says {counted}"
            )
    if tables.EXAMPLES not in files:
        raise IntegrityError(
            f"{folder}: a whole folder, but not one of records: {MANIFEST} names no"
            f" {tables.EXAMPLES}"
        )
    examples = pd.read_parquet(folder / tables.EXAMPLES)
    total = 0
    for size in about["sizes"]:
        named = sorted(set(examples[f"shard_{size}"]))
        if about["root"]:
            with local_root(about["root"], named) as root:
                held = {name: _ids(root / name, about["id_feature"]) for name in named}
                _check_images(examples, root, about, size)
        else:
            held = {
                name: records
                for name, records in ids.items()
                if name.startswith(f"{tables.size_name(size)}/")
            }
            rows = sum(map(len, held.values()))
            if len(examples) != rows:
                raise IntegrityError(
                    f"{folder / tables.EXAMPLES}: has {len(examples)} rows, the shards hold {rows}"
                    " records"
                )
        _check_table(folder, examples, held, size, ready=bool(about["root"]))
        total += sum(map(len, held.values()))
    return Verified(len(files), total)


def _ids(path: Path, feature: str) -> list[str]:
    values = (decode_example(payload).get(feature, b"") for payload in read_shard(path))
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in values
    ]


def _check_images(examples: pd.DataFrame, root: Path, about: Mapping[str, Any], size: int) -> None:
    """The images of ready shards are those that were scanned: no manifest has their digests."""
    first = size == about["sizes"][0]
    for name, rows in examples.groupby(f"shard_{size}"):
        expected = dict(
            zip(
                rows[f"row_{size}"],
                zip(rows[f"bytes_{size}"], rows["sha256"], strict=True),
                strict=True,
            )
        )
        for number, payload in enumerate(read_shard(root / str(name))):
            if number not in expected:
                continue
            image = decode_example(payload).get(about["image_feature"], b"")
            length, digest = expected[number]
            held = image if isinstance(image, bytes) else b""
            if len(held) != length or (first and hashlib.sha256(held).hexdigest() != digest):
                raise IntegrityError(
                    f"{root / str(name)}: record {number} is not the image that was scanned: run"
                    " again"
                )


def _check_table(
    folder: Path,
    examples: pd.DataFrame,
    held: Mapping[str, Sequence[str]],
    size: int,
    *,
    ready: bool,
) -> None:
    """Every row of the examples table is a record of its id."""
    for id_, shard, row in zip(
        examples["id"], examples[f"shard_{size}"], examples[f"row_{size}"], strict=True
    ):
        records = held.get(shard, [])
        found = records[row] if row < len(records) else None
        # A ready record of an external set lacks the set's name before it.
        if found != id_ and not (ready and found == id_.partition("/")[2]):
            place = f"record {row} of {shard}"
            raise IntegrityError(
                f"{folder / tables.EXAMPLES}: id {id_!r} should be {place}, which is {found!r}"
            )
