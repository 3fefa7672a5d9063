"""Join the parts of the records into one folder: one examples table, every shard, the manifest."""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from components.records.images.deep import LARGEST
from components.records.remarks import remarks
from components.records.sources import files
from components.storage.folders import publish
from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, read_manifest, write_manifest
from trainer.config.data import Data
from trainer.config.preparation import Records
from trainer.errors import DataError, IntegrityError, shown
from trainer.events import emit

_PLACES = ("shard", "row", "bytes", "sum_c", "sumsq_c")
# Columns in which the records of two sizes must agree.
_LABELS = ("target", "group")


def join_and_publish(
    parts: Sequence[str | Path],
    data: Data,
    records: Records,
    *,
    classes: Sequence[str],
    task: str = "multiclass",
    out: str | Path,
) -> None:
    """Join the parts as `join` does, then copy the folder to `records.publish` if that is set.

    Raises:
        StorageError: other finished records are there, or the records cannot be written.
    """
    join(parts, data, records, classes=classes, task=task, out=out)
    if records.publish:
        uploaded = publish(out, records.publish)
        emit("note", "join", f"{records.publish}: uploaded {uploaded} files, the manifest last")


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

    Shards are hard-linked if the file system can, and copied otherwise. Ready TFRecords stay where
    they are: `root` in the manifest says where.

    Args:
        parts: the folders that `convert` wrote, in any order.
        data: as passed to `convert`.
        records: as passed to `convert`.
        classes: as passed to `convert`.
        task: as passed to `convert`.
        out: the folder to write: shards, examples.parquet, rejects.csv and, last, manifest.json.

    Raises:
        IntegrityError: a part is missing or incomplete.
        DataError: the parts read different sources; an id occurs twice; an image is missing in one
            of the sizes; a class has no image; or more images are unusable than `records` allows.
    """
    out = Path(out)
    manifests = sorted(
        (
            read_manifest(part, only=(tables.EXAMPLES, tables.REJECTS)) | {"folder": str(part)}
            for part in parts
        ),
        key=_part,
    )
    if [_part(manifest) for manifest in manifests] != list(range(records.parts)):
        raise IntegrityError(
            f"expected {records.parts} parts, numbered from 0, found"
            f" {', '.join(str(_part(manifest)) for manifest in manifests)}"
        )
    if len({manifest["source_digest"] for manifest in manifests}) > 1:
        raise DataError(
            f"{data.root}: the images or tables changed while the run was under way: run again"
        )
    for stale in (out / MANIFEST, *out.glob("*/*.tfrec")):
        stale.unlink(missing_ok=True)
    folders = [Path(manifest["folder"]) for manifest in manifests]
    rejects = pd.concat(
        [tables.read_rejects(folder / tables.REJECTS) for folder in folders], ignore_index=True
    )
    # In ready shards, an image may be damaged in one size and intact in another.
    rejects = rejects.drop_duplicates(["split", "id"], ignore_index=True)
    examples = _one_table(
        [tables.read_examples(folder) for folder in folders],
        set(zip(rejects["split"], rejects["id"], strict=True)),
        data,
        records,
    )
    _check(examples, rejects, data, records, classes, task)
    for folder in folders:
        for shard in sorted(folder.glob("*/*.tfrec")):
            _link(shard, out / shard.relative_to(folder))
    tables.write_parquet(out / tables.EXAMPLES, examples)
    tables.write_csv(out / tables.REJECTS, rejects)
    unused = files.unused(data, records) if data.source == "files" else []
    about = {
        "task": task,
        "on_bad_test_image": records.on_bad_test_image,
        "separator": data.separator,
        "unused_files": len(unused),
        "source_digest": manifests[0]["source_digest"],
    }
    _write_manifest(out, examples, data, records, about)
    for text in remarks(examples, rejects, records):
        emit("note", "join", text)
    _print_summary(examples, rejects, unused, records)


def _write_manifest(
    out: Path, examples: pd.DataFrame, data: Data, records: Records, about: Mapping[str, object]
) -> None:
    """Write the manifest: `about`, and what a reader needs to know to read the shards."""
    ready = data.source == "tfrecords"
    shards: Counter[str] = Counter()
    if not ready:
        for size in records.sizes:
            shards.update(examples[f"shard_{size}"])
    write_manifest(
        out,
        {
            **about,
            "sizes": records.sizes,
            "channels": _channels(examples, records, data),
            "white_level": records.white_level or LARGEST,
            "root": data.root if ready else "",
            "id_feature": data.id if ready else "image_name",
            "image_feature": (data.image or "image") if ready else "image",
            "numeric": data.numeric,
            "categorical": data.categorical,
            "images": dict(Counter(examples["split"])),
            "external": int((examples["external"] != "").sum()),
        },
        {tables.EXAMPLES: len(examples), **shards},
    )


def _channels(examples: pd.DataFrame, records: Records, data: Data) -> int:
    """Return the channels of the stored images: those of the pixels in a CSV, otherwise 3.

    Raises:
        DataError: two files have images of different channels.
    """
    channels = {len(sums) for sums in examples[f"sum_c_{min(records.sizes)}"]}
    if len(channels) > 1:
        raise DataError(f"{data.train} and {data.test}: one has grey images, the other colours")
    return channels.pop()


def _print_summary(
    examples: pd.DataFrame, rejects: pd.DataFrame, unused: Sequence[str], records: Records
) -> None:
    images = Counter(examples["split"])
    if unused:
        names = shown([Path(path).name for path in unused])
        emit(
            "note",
            "join",
            f"warning: {len(unused)} image files have no row in a table, and are not used: {names}",
        )
    bad = int((rejects["split"] == "train").sum())
    skipped = f", {bad} left out (rejects.csv)" if bad else ""
    sizes = ", ".join(f"{size} × {size}" for size in records.sizes)
    emit(
        "note",
        "join",
        f"{images['train']} train and {images['test']} test images of {sizes}{skipped}",
    )


def _part(about: dict[str, object]) -> int:
    return int(about["part"])  # type: ignore[call-overload]  # as `convert` wrote it


def _one_table(
    parts: Sequence[pd.DataFrame], rejected: set[tuple[str, str]], data: Data, records: Records
) -> pd.DataFrame:
    """Return the examples of all parts as one table.

    For ready shards, it has the columns of every size side by side.
    """
    table = (
        pd.concat([part for part in parts if len(part)], ignore_index=True)
        if any(map(len, parts))
        else pd.DataFrame()
    )
    if not len(table):
        raise DataError(f"{data.root}: no usable image")
    if data.source != "tfrecords":
        _no_id_twice(table, data)
        return table
    pairs = zip(table["split"], table["id"], strict=True)
    table = table[[pair not in rejected for pair in pairs]]
    _named_features_are_there(table[table["split"] == "train"], data)
    joined = None
    for size in records.sizes:
        size_columns = [f"{name}_{size}" for name in _PLACES]
        rows_of_size = table[table[f"shard_{size}"].notna()]
        _no_id_twice(rows_of_size, data)
        if joined is None:
            joined = rows_of_size.drop(
                columns=[
                    f"{name}_{other}"
                    for other in records.sizes
                    if other != size
                    for name in _PLACES
                ]
            )
            continue
        # Join by id: the shards of two sizes need not hold the same images.
        keys = ["split", "id"]
        pairs = joined[keys].merge(
            rows_of_size[keys + size_columns], on=keys, how="outer", indicator=True
        )
        unpaired = pairs[pairs["_merge"] != "both"]
        if len(unpaired):
            missing = size if unpaired["_merge"].iloc[0] == "left_only" else records.sizes[0]
            id_ = unpaired["id"].iloc[0]
            raise DataError(
                f"{data.root}: id {id_!r} has no record of size {missing} ({len(unpaired)} ids lack"
                " one of the sizes)"
            )
        pairs = joined[[*keys, *_LABELS]].merge(
            rows_of_size[[*keys, *_LABELS]], on=keys, suffixes=("", "_other")
        )
        for column in _LABELS:
            differing = pairs[pairs[column] != pairs[f"{column}_other"]]
            if len(differing):
                raise DataError(
                    f"{data.root}: id {differing['id'].iloc[0]!r} has a different {column} in size"
                    f" {size} ({len(differing)} such ids)"
                )
        joined = joined.merge(rows_of_size[keys + size_columns], on=keys, how="left")
    assert joined is not None
    return joined.astype(
        {f"row_{size}": int for size in records.sizes}
        | {f"bytes_{size}": int for size in records.sizes}
    )


def _named_features_are_there(train: pd.DataFrame, data: Data) -> None:
    """Check that each feature that the competition file names is in some training record.

    A feature that no record has is a misspelt name, not a missing value.
    """
    features = [("group", data.group, "group")] if data.group else []
    features += [("numeric", name, tables.tabular(name)) for name in data.numeric]
    features += [("categorical", name, tables.tabular(name)) for name in data.categorical]
    for key, name, column in features:
        if (train[column].isna() | (train[column] == "")).all():
            raise DataError(
                f"{data.root}: no training record has the feature {name!r} (data.{key})"
            )


def _no_id_twice(table: pd.DataFrame, data: Data) -> None:
    duplicated = table.duplicated(["split", "id"])
    if duplicated.any():
        id_ = table["id"][duplicated].iloc[0]
        raise DataError(
            f"{data.root}: id {id_!r} occurs more than once ({int(duplicated.sum())} such images)"
        )


def _check(
    examples: pd.DataFrame,
    rejects: pd.DataFrame,
    data: Data,
    records: Records,
    classes: Sequence[str],
    task: str,
) -> None:
    """Check that every class has an image, and that no more images are unusable than `records`
    allows.
    """
    labelled = int((examples["split"] == "train").sum())
    rejects = rejects[rejects["split"] == "train"]
    if len(rejects) > records.max_bad_fraction * (labelled + len(rejects)):
        first = rejects.iloc[0]
        raise DataError(
            f"{first['file'] or 'id ' + repr(first['id'])}: {first['reason']} ({len(rejects)} such"
            f" images of {labelled + len(rejects)}, more than records.max_bad_fraction ="
            f" {records.max_bad_fraction:g} allows)"
        )
    targets = examples["target"][
        (examples["split"] == "train") & (examples["external"] != "train")
    ].to_numpy()
    present = set(tables.pairs(targets, len(classes), task)[1].tolist())
    for index, name in enumerate(classes):
        if index not in present:
            raise DataError(
                f"{data.train or data.root}: no image of class {name!r}: remove it from `classes`,"
                " or add images of it"
            )
    if data.tests()[1] and not (examples["split"] == "test").any():
        raise DataError(f"{data.root}: no test image")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without hard links.
        shutil.copyfile(source, target)
