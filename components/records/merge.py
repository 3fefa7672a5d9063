"""The parts of the records -> one folder: one examples table, every shard, the manifest."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.records.convert import CHANNELS
from components.records.sources import files
from components.storage.folders import publish
from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, read_manifest, write_manifest
from trainer.config.data import Data, Records
from trainer.errors import DataError, IntegrityError
from trainer.events import emit

_PLACES = ("shard", "row", "bytes", "sum_c", "sumsq_c")
# What the records of two sizes must agree in.
_LABELS = ("target", "group")
_UNUSED_SHOWN = 20


def join_and_publish(
    parts: Sequence[str | Path],
    data: Data,
    records: Records,
    *,
    classes: Sequence[str],
    task: str = "multiclass",
    out: str | Path,
) -> None:
    """As `join`; then the folder is copied to `records.publish`, if that names a place.

    Raises:
        StorageError: other finished records are there, or they cannot be written.
    """
    join(parts, data, records, classes=classes, task=task, out=out)
    if records.publish:
        sent = publish(out, records.publish)
        emit("note", "join", f"{records.publish}: {sent} files sent, the manifest last")


def join(
    parts: Sequence[str | Path],
    data: Data,
    records: Records,
    *,
    classes: Sequence[str],
    task: str = "multiclass",
    out: str | Path,
) -> None:
    """Join the folders of all parts.

    Shards are linked where the file system can, and copied otherwise. Ready TFRecords stay where
    they are: the manifest's `root` says where.

    Args:
        parts: the folders that `convert` wrote, in any order.
        data, records, classes, task: as `convert` had them.
        out: shards, examples.parquet, rejects.csv and, last, manifest.json are written here.

    Raises:
        IntegrityError: a part is missing or not whole. DataError: parts saw different sources; an
            id stands twice; an image is missing in one of the sizes; a class has no image; more
            images cannot be used than `records` allows.
    """
    out = Path(out)
    about = sorted(
        (
            read_manifest(part, only=(tables.EXAMPLES, tables.REJECTS)) | {"folder": str(part)}
            for part in parts
        ),
        key=_part,
    )
    if [_part(one) for one in about] != list(range(records.parts)):
        raise IntegrityError(
            f"parts {', '.join(str(_part(one)) for one in about)} of {records.parts} are there"
        )
    if len({one["source_digest"] for one in about}) > 1:
        raise DataError(
            f"{data.root}: the images or tables changed while the run was under way: run again"
        )
    for stale in (out / MANIFEST, *out.glob("*/*.tfrec")):
        stale.unlink(missing_ok=True)
    folders = [Path(one["folder"]) for one in about]
    rejects = pd.concat(
        [tables.read_rejects(folder / tables.REJECTS) for folder in folders], ignore_index=True
    )
    # Of ready shards, an image may be damaged in one size and in another not.
    rejects = rejects.drop_duplicates("id", ignore_index=True)
    examples = _one_table(
        [tables.read_examples(folder) for folder in folders], set(rejects["id"]), data, records
    )
    _check(examples, rejects, data, records, classes, task)
    for folder in folders:
        for shard in sorted(folder.glob("*/*.tfrec")):
            _link(shard, out / shard.relative_to(folder))
    tables.write_parquet(out / tables.EXAMPLES, examples)
    tables.write_csv(out / tables.REJECTS, rejects)
    images = Counter(examples["split"])
    unused = files.unused(data, records) if data.source == "files" else []
    ready = data.source == "tfrecords"
    shards: Counter[str] = Counter()
    if not ready:
        for size in records.sizes:
            shards.update(examples[f"shard_{size}"])
    write_manifest(
        out,
        {
            "task": task,
            "sizes": records.sizes,
            "channels": CHANNELS[data.source],
            "root": data.root if ready else "",
            "id_feature": data.id if ready else "image_name",
            "image_feature": (data.image or "image") if ready else "image",
            "numeric": data.numeric,
            "categorical": data.categorical,
            "images": dict(images),
            "external": int((examples["external"] != "").sum()),
            "unused_files": len(unused),
            "source_digest": about[0]["source_digest"],
        },
        {tables.EXAMPLES: len(examples), **shards},
    )
    if unused:
        some = ", ".join(repr(Path(path).name) for path in unused[:_UNUSED_SHOWN])
        emit(
            "note",
            "join",
            f"warning: {len(unused)} image files have no row in a table, and are not used: {some}",
        )
    skipped = f", {len(rejects)} left out (rejects.csv)" if len(rejects) else ""
    sizes = ", ".join(f"{size} × {size}" for size in records.sizes)
    emit(
        "note",
        "join",
        f"{images['train']} train and {images['test']} test images of {sizes}{skipped}",
    )


def _part(about: dict[str, object]) -> int:
    return int(about["part"])  # type: ignore[call-overload]  # as `convert` wrote it


def _one_table(
    parts: Sequence[pd.DataFrame], rejected: set[str], data: Data, records: Records
) -> pd.DataFrame:
    """The examples of all parts; of ready shards, those of each size side by side."""
    table = (
        pd.concat([part for part in parts if len(part)], ignore_index=True)
        if any(map(len, parts))
        else pd.DataFrame()
    )
    if not len(table):
        raise DataError(f"{data.root}: no image can be used")
    if data.source != "tfrecords":
        _no_id_twice(table, data)
        return table
    table = table[(table["split"] != "train") | ~table["id"].isin(rejected)]
    _named_features_are_there(table[table["split"] == "train"], data)
    whole = None
    for size in records.sizes:
        own = [f"{name}_{size}" for name in _PLACES]
        here = table[table[f"shard_{size}"].notna()]
        _no_id_twice(here, data)
        if whole is None:
            whole = here.drop(
                columns=[
                    f"{name}_{other}"
                    for other in records.sizes
                    if other != size
                    for name in _PLACES
                ]
            )
            continue
        # By id, for the shards of two sizes need not be cut alike.
        keys = ["split", "id"]
        both = whole[keys].merge(here[keys + own], on=keys, how="outer", indicator=True)
        lone = both[both["_merge"] != "both"]
        if len(lone):
            missing = size if lone["_merge"].iloc[0] == "left_only" else records.sizes[0]
            id_ = lone["id"].iloc[0]
            raise DataError(
                f"{data.root}: id {id_!r} has no record of size {missing} ({len(lone)} ids lack one"
                " of the sizes)"
            )
        both = whole[[*keys, *_LABELS]].merge(
            here[[*keys, *_LABELS]], on=keys, suffixes=("", "_other")
        )
        for column in _LABELS:
            other = both[both[column] != both[f"{column}_other"]]
            if len(other):
                raise DataError(
                    f"{data.root}: id {other['id'].iloc[0]!r} has another {column} in size {size}"
                    f" ({len(other)} such ids)"
                )
        whole = whole.merge(here[keys + own], on=keys, how="left")
    assert whole is not None
    return whole.astype(
        {f"row_{size}": int for size in records.sizes}
        | {f"bytes_{size}": int for size in records.sizes}
    )


def _named_features_are_there(train: pd.DataFrame, data: Data) -> None:
    """A feature that no record has is a name that is written wrongly, and not a missing value."""
    named = [("group", data.group, "group")] if data.group else []
    named += [("numeric", name, tables.tabular(name)) for name in data.numeric]
    named += [("categorical", name, tables.tabular(name)) for name in data.categorical]
    for key, name, column in named:
        if (train[column].isna() | (train[column] == "")).all():
            raise DataError(
                f"{data.root}: no training record has the feature {name!r} (data.{key})"
            )


def _no_id_twice(table: pd.DataFrame, data: Data) -> None:
    twice = table.duplicated(["split", "id"])
    if twice.any():
        id_ = table["id"][twice].iloc[0]
        raise DataError(
            f"{data.root}: id {id_!r} stands there more than once ({int(twice.sum())} such images)"
        )


def _check(
    examples: pd.DataFrame,
    rejects: pd.DataFrame,
    data: Data,
    records: Records,
    classes: Sequence[str],
    task: str,
) -> None:
    """Classes have images, and those that cannot be used are no more than the competition file
    allows."""
    labelled = int((examples["split"] == "train").sum())
    if len(rejects) > records.max_bad_fraction * (labelled + len(rejects)):
        first = rejects.iloc[0]
        raise DataError(
            f"{first['file'] or 'id ' + repr(first['id'])}: {first['reason']} ({len(rejects)} such"
            f" images of {labelled + len(rejects)}, more than records.max_bad_fraction ="
            f" {records.max_bad_fraction:g} allows)"
        )
    own = examples["target"][
        (examples["split"] == "train") & (examples["external"] != "train")
    ].to_numpy()
    seen = set(np.flatnonzero(tables.memberships(own, len(classes), task).any(axis=0)).tolist())
    for index, name in enumerate(classes):
        if index not in seen:
            raise DataError(
                f"{data.train or data.root}: no image of class {name!r}: take it out of `classes`,"
                " or add images of it"
            )
    if data.tests()[1] and not (examples["split"] == "test").any():
        raise DataError(f"{data.root}: no test image")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)
