"""Turns a pipeline's parameters into a checked competition or GAN, and digests its files.

A run may be started from a console's form, so the parameters may not have been checked before. The
step is never reused: its digests are part of the cache keys of the steps that read the files.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from components import class_list
from components.check.files import backbone_files, check_files, feature_files, weights_files
from components.records import source, white_level
from components.records.images.deep import LARGEST
from components.storage.objects import local_path
from components.training.plan import plan
from trainer.artifacts.manifest import files_digest
from trainer.config.competition import Competition
from trainer.config.gan import HELD_OUT_FOLD, Gan
from trainer.config.load import resolve_paths
from trainer.config.schema import parse
from trainer.errors import CompetitionError
from trainer.events import emit

ORIGIN = "parameters"
File = TypeVar("File", Competition, Gan)


class ResolvedCompetition(NamedTuple):
    """The checked sections of a competition, with defaults and absolute paths, and digests.

    `keep` is how many classes predictions keep, 0 for all. A digest is "" if there are no such
    files.
    """

    data: dict[str, Any]
    records: dict[str, Any]
    folds: dict[str, Any]
    train: dict[str, Any]
    members: list[dict[str, Any]]
    keep: int
    blend: dict[str, Any]
    submission: dict[str, Any]
    source_digest: str
    classes_digest: str
    sample_digest: str
    folds_digest: str
    weights_digest: str
    blend_digest: str


class ResolvedGan(NamedTuple):
    """The checked sections of a GAN, with defaults and absolute paths, and digests.

    `judging` is the training job of the judge, as `components.training.plan` makes it.
    """

    data: dict[str, Any]
    records: dict[str, Any]
    folds: dict[str, Any]
    gan: dict[str, Any]
    train: dict[str, Any]
    judging: dict[str, Any]
    source_digest: str
    classes_digest: str
    folds_digest: str
    weights_digest: str


def resolve_competition(table: Mapping[str, Any], root: str) -> ResolvedCompetition:
    """Check the parameters of the k-fold pipeline and the files that they name.

    Args:
        table: the keys of a competition file.
        root: where the data is, `gs://bucket/prefix` or a folder; "" for `data.root`. Other
            relative paths are below it.

    Raises:
        CompetitionError: a parameter is wrong or names a missing file, or the location of the data
            is not given.
        DataError: the data is not what the parameters say.
    """
    file, images = _checked(Competition, table, root)
    emit("note", "check", f"{images} labelled images, {len(file.members)} members")
    values = dataclasses.asdict(file)
    members, count = file.members, file.folds.count
    external = [path for entry in file.blend.external for path in (entry.oof, entry.test)]
    return ResolvedCompetition(
        data=values["data"],
        records=values["records"],
        folds=values["folds"],
        train=values["train"],
        members=values["members"],
        keep=file.kept_classes(),
        blend=values["blend"],
        submission=values["submission"],
        source_digest=source.digest(file.data),
        classes_digest=digest_of([class_list.location(table["classes"])]),
        sample_digest=digest_of([file.submission.sample]),
        folds_digest=_folds_digest(file),
        weights_digest=digest_of([*weights_files(members, count), *backbone_files(members)]),
        blend_digest=digest_of(external),
    )


def resolve_gan(table: Mapping[str, Any], root: str) -> ResolvedGan:
    """As `resolve_competition`, for the parameters of the GAN's pipeline."""
    file, images = _checked(Gan, table, root)
    emit("note", "check", f"{images} labelled images, {file.gan.steps} training steps")
    # Neither the price of an hour nor the split of folds into jobs changes a model: training must
    # be reused when only these change.
    settings = dataclasses.replace(file.train, hourly_price=0.0, folds_per_task=1)
    values = dataclasses.asdict(dataclasses.replace(file, train=settings))
    judge_digest = digest_of([*weights_files([file.judge], 1), *backbone_files([file.judge])])
    jobs = plan([file.judge], file.folds, settings, file.records, weights_digest=judge_digest)
    return ResolvedGan(
        data=values["data"],
        records=values["records"],
        folds=values["folds"],
        gan=values["gan"],
        train=values["train"],
        judging=jobs[HELD_OUT_FOLD],
        source_digest=source.digest(file.data),
        classes_digest=digest_of([class_list.location(table["classes"])]),
        folds_digest=_folds_digest(file),
        weights_digest=digest_of(feature_files(file)),
    )


def _checked(kind: type[File], table: Mapping[str, Any], root: str) -> tuple[File, str]:
    """The file with absolute paths, and how many labelled images it has, as text."""
    parsed = rooted(kind, table, root)
    file = resolve_paths(parsed, parsed.data.root)
    records = white_level.resolved(file.data, file.records)
    if records != file.records:
        file = dataclasses.replace(file, records=records)
        if records.white_level != LARGEST:
            emit("note", "check", f"white level {records.white_level}, from a sample of the images")
    summary = check_files(file, ORIGIN)
    for remark in summary.remarks:
        emit("note", "check", remark)
    return file, "some" if summary.train is None else str(summary.train)


def rooted(kind: type[File], table: Mapping[str, Any], root: str) -> File:
    """Parse the parameters, with `root` in place of `data.root`.

    Args:
        kind: Competition or Gan.
        table: the keys of such a file.
        root: where the data is; "" for `data.root`.

    Raises:
        CompetitionError: a parameter is wrong, or the location of the data is not given.
        DataError: the file of the classes cannot be read.
    """
    if isinstance(table["classes"], list):
        table = {**table, "classes": class_list.names(table["classes"])}
    if root and isinstance(table["data"], Mapping):
        table = {**table, "data": {**table["data"], "root": root}}
    parsed = parse(kind, table, ORIGIN)
    if not parsed.data.root.startswith(("gs://", "/")):
        raise CompetitionError(
            f"{ORIGIN}: root = {root!r}: must be the data's location, such as gs://bucket/prefix"
        )
    return parsed


def _folds_digest(file: Competition | Gan) -> str:
    return digest_of([file.folds.file, file.folds.exclude_file])


def digest_of(paths: list[str]) -> str:
    """One digest of the contents of local or remote files.

    Args:
        paths: paths and URIs; "" for a file that is not set.

    Returns:
        "" if there are no files.
    """
    copies = [local_path(path) for path in paths if path]
    return files_digest(copies) if copies else ""
