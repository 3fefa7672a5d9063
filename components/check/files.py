"""Checks of a competition or a GAN before anything runs: fast, and without TensorFlow or kfp."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.blending.members import external
from components.check.images import check_images
from components.check.labels import check_labels
from components.folds.user_ids import excluded, own_folds
from components.records import source, white_level
from components.records.source import SourceSummary
from components.storage import objects
from components.submission import sample
from trainer import runtime
from trainer.config import known_backbones
from trainer.config.competition import Competition
from trainer.config.gan import MIN_CLASS_SAMPLES, Gan
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import CompetitionError, shown


def check_files(file: Competition | Gan, origin: str | Path) -> SourceSummary:
    """Check that the files which a file names exist, have the right columns and agree on the ids;
    that labels are classes; and that an image of each kind can be read.

    Other images and pixels are not read: the records step reports bad ones.

    Args:
        file: a competition or a GAN, as loaded.
        origin: the path of the file, for error messages.

    Returns:
        how many images there are, and their ids.

    Raises:
        CompetitionError: a key names a data or weights file that does not exist, a size that is not
            that of the images, or more folds or a larger batch than there are images for; or labels
            are no classes, or classes have no images.
        DataError: a file lacks a column, files of external predictions included; the ids of the
            sample submission or of the answers are not those of the test images; an answer is not a
            class; the user's own folds or list of excluded images name unknown images; or an image
            cannot be used.
    """
    stop_at_missing(_paths(file), origin)
    summary = source.look(file.data, file.records)
    if summary.train is not None:
        _check_folds(file, origin, summary.train)
    if summary.labels is not None:
        check_labels(file, str(origin), summary.labels)
    if summary.train is not None:
        _check_batches(file, origin, summary.train)
    check_images(file.data, white_level.resolved(file.data, file.records))
    if isinstance(file, Competition):
        summary = summary._replace(remarks=tuple(_check_submission(file, summary)))
    if summary.train_ids is not None:
        excluded(file.folds, set(summary.train_ids))
        if file.folds.file:
            own_folds(file.folds.file, summary.train_ids, (), count=file.folds.count)
    if isinstance(file, Gan):
        # If the judge has weights per fold, it uses those of the first fold.
        check_weights([file.judge], 1, f"{origin}: judge")
    else:
        _check_external(file, summary)
        check_weights(file.members, file.folds.count, f"{origin}: members")
    return summary


def _paths(file: Competition | Gan) -> dict[str, str]:
    """The files by the keys that name them; "" if a key is not set."""
    paths = {"folds.file": file.folds.file, "folds.exclude_file": file.folds.exclude_file}
    # For CIFAR, these keys hold a pattern, not a file name.
    if file.data.source != "cifar10":
        paths = {"data.train": file.data.train, "data.test": file.data.test, **paths}
    if isinstance(file, Gan):
        return {**paths, "gan.features.weights": "".join(feature_files(file))}
    external = file.blend.external
    return {
        **paths,
        "submission.sample": file.submission.sample,
        "leaderboard.answers": file.leaderboard.answers,
        **{f"blend.external {entry.name!r} oof": entry.oof for entry in external},
        **{f"blend.external {entry.name!r} test": entry.test for entry in external},
    }


def _check_submission(file: Competition, summary: SourceSummary) -> list[str]:
    """Check the sample submission, and the answers if there are any; return remarks."""
    remarks: list[str] = []
    path, name = file.submission.sample, file.data.test or sample.TEST_IMAGES
    if path:
        expected = sample.read(path)
        sample.check_form(expected, file.submission, file.classes, file.task)
        remarks += sample.remarks(expected, file.submission, file.classes, file.task)
        if summary.test_ids is not None:
            prior = file.records.on_bad_test_image == "prior"
            lacking = sample.check_ids(
                expected, path, summary.test_ids, name, may_lack_images=prior
            )
            if lacking:
                remarks.append(
                    f"{len(lacking)} ids of {path} have no image and get the mean prediction:"
                    f" {shown(lacking)}"
                )
    elif summary.test_ids is None:
        return remarks  # their ids are only known when they have been read
    else:
        expected = sample.without_file(summary.test_ids, file.submission, file.classes)
    if file.leaderboard.answers:
        # Checked here so that a run does not fail after hours; the pipeline itself never reads it.
        sample.read_answers(
            file.leaderboard.answers,
            file.submission,
            file.classes,
            expected.ids,
            path or name,
            several=file.task == "multilabel",
        )
    return remarks


def _check_external(file: Competition, summary: SourceSummary) -> None:
    """Check the predictions of other tools."""
    folds = file.folds
    ids = {"oof": summary.train_ids or (), "test": summary.test_ids or ()}
    # If some images are excluded or always in the training set, it is not known yet which images
    # are held out.
    if folds.exclude_file or folds.file or folds.duplicates == "drop":
        ids["oof"] = ()
    for entry in file.blend.external:
        external.check(entry, file.classes, ids, complete=file.blend.on_missing == "error")


def feature_files(file: Gan) -> list[str]:
    """The files of weights that a GAN's feature extractor needs."""
    weights = file.gan.features.weights
    return [] if known_backbones.is_published(weights) else [weights]


def stop_at_missing(paths: Mapping[str, str], file: str | Path) -> None:
    """Check that the files which keys name exist.

    Args:
        paths: path by key; "" if the key is not set.
        file: the competition file, for error messages.

    Raises:
        CompetitionError: some do not exist; one line per file.
    """
    problems = [
        f"{file}: {key} = {path!r}:"
        f" {'is a directory; expected a file' if os.path.isdir(path) else 'no such file'}"
        for key, path in paths.items()
        if path and not _is_file(path)
    ]
    if problems:
        raise CompetitionError("\n".join(problems))


def check_weights(members: Sequence[Member], folds: int, where: str) -> None:
    """Check that the files of the members' initial weights exist.

    Args:
        members: the recipes.
        folds: how many folds there are.
        where: file and section, for error messages.

    Raises:
        CompetitionError: a file does not exist.
    """
    for path in weights_files(members, folds):
        if not _is_file(path):
            raise CompetitionError(f"{where}: weights: no such file: {path}")


def backbone_files(members: Sequence[Member]) -> list[str]:
    """The files of the user's own code that backbones name, as far as this machine has them."""
    files = []
    runtime.search_working_folder()
    for member in members:
        if known_backbones.is_function(member.backbone):
            try:
                spec = importlib.util.find_spec(member.backbone.partition(":")[0])
            except ImportError:
                spec = None  # the training step has the module, or reports that it is missing
            if spec is not None and spec.origin is not None and os.path.isfile(spec.origin):
                files.append(spec.origin)
    return sorted(set(files))


def weights_files(members: Sequence[Member], folds: int) -> list[str]:
    """The files of the members' initial weights; one per fold if the name contains {fold}.

    Args:
        members: the recipes.
        folds: how many folds there are.
    """
    return sorted(
        {
            member.weights.replace("{fold}", str(fold))
            for member in members
            if not known_backbones.is_published(member.weights)
            for fold in ([NO_FOLD] if member.validation == "none" else range(folds))
        }
    )


def _is_file(path: str) -> bool:
    # os.path, not pathlib: it returns False for a name that no file can have.
    return objects.exists(path) if objects.is_remote(path) else os.path.isfile(path)


def _check_folds(file: Competition | Gan, origin: str | Path, images: int) -> None:
    """Check that there are at least as many images as folds."""
    if images < file.folds.count:
        raise CompetitionError(
            f"{origin}: folds.count = {file.folds.count}: there are only {images} labelled images"
        )


def _check_batches(file: Competition | Gan, origin: str | Path, images: int) -> None:
    """Check that there are enough images for the batches.

    Groups can leave fewer images to train on, which the steps then report.
    """
    count = file.folds.count
    training = images - -(-images // count)
    sizes: list[tuple[str, int, int]] = []
    if isinstance(file, Gan):
        sizes.append(("gan.batch_size", file.gan.batch_size, training))
        sizes.append(("judge.batch_size", file.judge.batch_size, training))
    else:
        for index, member in enumerate(file.members):
            available = images if member.validation == "none" else training
            if member.backbone != known_backbones.LINEAR:
                sizes.append((f"members[{index}].batch_size", member.batch_size, available))
    for key, size, available in sizes:
        if size > available:
            raise CompetitionError(
                f"{origin}: {key} = {size}: only {available} images are left to train on"
            )
    held_out = images // count
    if isinstance(file, Gan) and held_out < MIN_CLASS_SAMPLES * len(file.classes):
        raise CompetitionError(
            f"{origin}: folds.count = {count}: holds out only {held_out} of {images} images, too"
            f" few to judge {len(file.classes)} classes: lower it"
        )
