"""Check that a records folder is complete, down to the crc of every record."""

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
    """How much `verify` checked.

    Attributes:
        files: the number of files that the manifest lists.
        records: the number of records read, over all sizes.
    """

    files: int
    records: int


def verify(folder: str) -> Verified:
    """Check each shard record by record, then every file against the manifest, then the examples
    table against the shards.

    Shards come first because a crc locates the damage, which the digest of a file cannot. Ready
    TFRecords that were scanned are read in place.

    Args:
        folder: a records folder, or the `gs://` prefix it was published to, which is downloaded
            first.

    Returns:
        the number of files and of records checked.

    Raises:
        IntegrityError: the first damage found, with its file, and with the record and byte offset
            if the file is a shard.
    """
    if objects.is_remote(folder):
        with tempfile.TemporaryDirectory(prefix="foldline-") as local_copy:
            fetch_folder(folder.rstrip("/"), Path(local_copy))
            return _verify(Path(local_copy))
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
    unlisted = sorted(set(ids) - set(files))
    if unlisted:
        raise IntegrityError(f"{folder / unlisted[0]}: not listed in {MANIFEST}")
    for name, records in ids.items():
        listed_count = files[name].get("count")
        if listed_count != len(records):
            raise IntegrityError(
                f"{folder / name}: holds {len(records)} records, but {MANIFEST} lists"
                f" {listed_count}"
            )
    if tables.EXAMPLES not in files:
        raise IntegrityError(
            f"{folder}: a complete folder, but not a records folder: {MANIFEST} does not list"
            f" {tables.EXAMPLES}"
        )
    examples = pd.read_parquet(folder / tables.EXAMPLES)
    total = 0
    for size in about["sizes"]:
        shard_names = sorted(set(examples[f"shard_{size}"]))
        if about["root"]:
            with local_root(about["root"], shard_names) as root:
                shard_ids = {name: _ids(root / name, about["id_feature"]) for name in shard_names}
                _check_images(examples, root, about, size)
        else:
            shard_ids = {
                name: records
                for name, records in ids.items()
                if name.startswith(f"{tables.size_name(size)}/")
            }
            record_count = sum(map(len, shard_ids.values()))
            if len(examples) != record_count:
                raise IntegrityError(
                    f"{folder / tables.EXAMPLES}: has {len(examples)} rows, but the shards hold"
                    f" {record_count} records"
                )
        _check_table(folder, examples, shard_ids, size, ready=bool(about["root"]))
        total += sum(map(len, shard_ids.values()))
    return Verified(len(files), total)


def _ids(path: Path, feature: str) -> list[str]:
    values = (decode_example(payload).get(feature, b"") for payload in read_shard(path))
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        for value in values
    ]


def _check_images(examples: pd.DataFrame, root: Path, about: Mapping[str, Any], size: int) -> None:
    """Check that the images in ready shards are those that were scanned: no manifest has their
    digests.
    """
    is_first_size = size == about["sizes"][0]
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
            image_bytes = image if isinstance(image, bytes) else b""
            if len(image_bytes) != length or (
                is_first_size and hashlib.sha256(image_bytes).hexdigest() != digest
            ):
                raise IntegrityError(
                    f"{root / str(name)}: record {number} is not the image that was scanned:"
                    " run again"
                )


def _check_table(
    folder: Path,
    examples: pd.DataFrame,
    shard_ids: Mapping[str, Sequence[str]],
    size: int,
    *,
    ready: bool,
) -> None:
    """Check that every row of the examples table points to the record with its id."""
    for id_, shard, row in zip(
        examples["id"], examples[f"shard_{size}"], examples[f"row_{size}"], strict=True
    ):
        records = shard_ids.get(shard, [])
        record_id = records[row] if row < len(records) else None
        # A record in a ready external set has its id without the name of the set.
        if record_id != id_ and not (ready and record_id == id_.partition("/")[2]):
            position = f"record {row} of {shard}"
            raise IntegrityError(
                f"{folder / tables.EXAMPLES}: id {id_!r} should be {position}, but that"
                f" is {record_id!r}"
            )
