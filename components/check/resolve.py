"""The pipeline's parameters as one competition, and digests of its files for the caches of the
steps behind.

A run may begin from a console's form, so nobody may have looked at the parameters before. No cache
keeps this step: it is what tells the others that a file has changed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from components.check.files import backbone_files, check_files, weights_files
from components.records import source
from components.storage.objects import local_path
from trainer.artifacts.manifest import files_digest
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.load import resolve_paths
from trainer.config.schema import parse
from trainer.errors import CompetitionError
from trainer.events import emit

ORIGIN = "parameters"
Settled = TypeVar("Settled", Competition, Gan)
_SECTIONS = ("data", "records", "folds", "train", "members", "blend", "submission")


def settle(table: Mapping[str, Any], root: str) -> tuple[Any, ...]:
    """Check the parameters and the files they name.

    Args:
        table: the keys of a competition file.
        root: where the data is, `gs://bucket/prefix` or a folder; "" for what `data.root` says.
            Other relative paths are below it.

    Returns:
        the sections data, records, folds, train, members, blend and submission, defaults filled in
        and paths whole; and the digests of the source, the sample, the files of folds, weights and
        the tables of other predictions ("" for none).

    Raises:
        CompetitionError, DataError: as `check_files`, or no place is given where the data is.
    """
    competition = rooted(Competition, table, root)
    competition = resolve_paths(competition, competition.data.root)
    found = check_files(competition, ORIGIN)
    emit(
        "note",
        "check",
        f"{'some' if found.train is None else found.train} labelled images,"
        f" {len(competition.members)} members",
    )
    values = dataclasses.asdict(competition)
    return tuple(values[section] for section in _SECTIONS) + digests(competition)


def rooted(kind: type[Settled], table: Mapping[str, Any], root: str) -> Settled:
    """The parameters as a file of a kind, with `root` in it.

    Raises:
        CompetitionError: what is wrong with them, or no place is given where the data is.
    """
    if root and isinstance(table["data"], Mapping):
        table = {**table, "data": {**table["data"], "root": root}}
    parsed = parse(kind, table, ORIGIN)
    if not parsed.data.root.startswith(("gs://", "/")):
        raise CompetitionError(
            f"{ORIGIN}: root = {root!r}: must say where the data is, as gs://bucket/prefix"
        )
    return parsed


def digests(competition: Competition) -> tuple[str, str, str, str, str]:
    """Of the source, the sample, the files of folds, the weights and backbones, and the tables of
    other predictions."""
    external = [path for one in competition.blend.external for path in (one.oof, one.test)]
    return (
        source.digest(competition.data),
        digest_of([competition.submission.sample]),
        digest_of([competition.folds.file, competition.folds.exclude_file]),
        digest_of(
            [
                *weights_files(competition.members, competition.folds.count),
                *backbone_files(competition.members),
            ]
        ),
        digest_of(external),
    )


def digest_of(paths: list[str]) -> str:
    """One digest of some files' bytes, wherever they lie; "" of none."""
    named = [local_path(path) for path in paths if path]
    return files_digest(named) if named else ""
