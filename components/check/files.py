"""What can be said about a competition before anything runs: cheap, and without TensorFlow or
kfp."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.blending import external
from components.folds.user_ids import excluded, own_folds
from components.records import source
from components.records.source import SourceSummary
from components.storage import objects
from components.submission import sample
from trainer.config import known_backbones
from trainer.config.competition import Competition
from trainer.config.data import NO_FOLD
from trainer.config.member import Member
from trainer.errors import CompetitionError


def check_files(competition: Competition, file: str | Path) -> SourceSummary:
    """Look at the files that a competition names: are they there, have they the columns, do the ids
    agree?

    Cells are not read: a bad pixel or label is found by the records step, which names it.

    Args:
        competition: as loaded.
        file: the competition file, for the error.

    Raises:
        CompetitionError: a key names a file that is not there, of data or of weights, a size that
            is not the images', or more folds or a larger batch than there are images for.
        DataError: a file lacks a column, also one of predictions made elsewhere; the ids of the
            sample submission or of the answers are not the test images', or an answer is no class;
            the user's own folds or list of images to leave out name images that are not there.
    """
    # CIFAR's batches are named by a pattern.
    tables = (
        {}
        if competition.data.source == "cifar10"
        else {"data.train": competition.data.train, "data.test": competition.data.test}
    )
    named = {
        **tables,
        "submission.sample": competition.submission.sample,
        "folds.file": competition.folds.file,
        "folds.exclude_file": competition.folds.exclude_file,
        "leaderboard.answers": competition.leaderboard.answers,
        **{f"blend.external {one.name!r} oof": one.oof for one in competition.blend.external},
        **{f"blend.external {one.name!r} test": one.test for one in competition.blend.external},
    }
    stop_at_missing(named, file)
    found = source.look(competition.data, competition.records)
    wanted = sample.read(competition.submission.sample)
    sample.check_form(wanted, competition.submission, competition.classes, competition.task)
    if found.test_ids is not None:
        sample.check_ids(
            wanted,
            competition.submission.sample,
            found.test_ids,
            competition.data.test or "the test images",
        )
    if competition.leaderboard.answers:
        # Read here so that a run does not fail over it after hours; the pipeline does not get it.
        sample.read_answers(
            competition.leaderboard.answers,
            competition.submission,
            competition.classes,
            wanted.ids,
            competition.submission.sample,
            several=competition.task == "multilabel",
        )
    if found.train_ids is not None:
        excluded(competition.folds, set(found.train_ids))
        if competition.folds.file:
            own_folds(competition.folds.file, found.train_ids, (), count=competition.folds.count)
    for one in competition.blend.external:
        ids = {"oof": found.train_ids or (), "test": found.test_ids or ()}
        # Which labelled images are held out is not known yet where some are left out, or always
        # train.
        if (
            competition.folds.exclude_file
            or competition.folds.file
            or competition.folds.duplicates == "drop"
        ):
            ids["oof"] = ()
        external.check(
            one, competition.classes, ids, complete=competition.blend.on_missing == "error"
        )
    check_weights(competition.members, competition.folds.count, f"{file}: members")
    if found.train is not None:
        _check_amounts(competition, file, found.train)
    return found


def stop_at_missing(named: Mapping[str, str], file: str | Path) -> None:
    """Are the files there that keys name?

    Args:
        named: path by key, "" for none.

    Raises:
        CompetitionError: a line for each that is not.
    """
    gone = [
        f"{file}: {key} = {path!r}:"
        f" {'a folder, not a file' if os.path.isdir(path) else 'no such file'}"
        for key, path in named.items()
        if path and not _is_file(path)
    ]
    if gone:
        raise CompetitionError("\n".join(gone))


def check_weights(members: Sequence[Member], folds: int, where: str) -> None:
    """Are the files of weights there that members begin with?

    Args:
        where: file and section, for the error.

    Raises:
        CompetitionError: one is not.
    """
    for path in weights_files(members, folds):
        if not _is_file(path):
            raise CompetitionError(f"{where}: weights: no such file: {path}")


def backbone_files(members: Sequence[Member]) -> list[str]:
    """The files of the user's own code that backbones name, as far as they are found here."""
    found = []
    for member in members:
        if known_backbones.is_function(member.backbone):
            try:
                spec = importlib.util.find_spec(member.backbone.partition(":")[0])
            except ImportError:
                spec = None  # it is where training runs, or that task says that it is not
            if spec is not None and spec.origin is not None and os.path.isfile(spec.origin):
                found.append(spec.origin)
    return sorted(set(found))


def weights_files(members: Sequence[Member], folds: int) -> list[str]:
    """The files of weights that members begin with, one for each of `folds` where their name says
    so."""
    return sorted(
        {
            member.weights.replace("{fold}", str(fold))
            for member in members
            if not known_backbones.is_published(member.weights)
            for fold in ([NO_FOLD] if member.validation == "none" else range(folds))
        }
    )


def _is_file(path: str) -> bool:
    # os.path and not pathlib: a name that no file can have is no file to it.
    return objects.exists(path) if objects.is_remote(path) else os.path.isfile(path)


def _check_amounts(competition: Competition, file: str | Path, images: int) -> None:
    """Are there images enough for the folds and the batches? Groups can make it worse, which the
    steps then say."""
    count = competition.folds.count
    if images < count:
        raise CompetitionError(
            f"{file}: folds.count = {count}: there are only {images} labelled images"
        )
    training = images - -(-images // count)
    for index, member in enumerate(competition.members):
        left = images if member.validation == "none" else training
        if member.batch_size > left:
            raise CompetitionError(
                f"{file}: members[{index}].batch_size = {member.batch_size}: only {left} images are"
                " left to train on"
            )
