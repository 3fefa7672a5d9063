"""Final predictions -> submission.csv, in the form of the sample submission."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.storage.objects import local_path
from components.submission.sample import (
    TEST_IMAGES,
    Sample,
    check_form,
    check_ids,
    read,
    read_answers,
    without_file,
)
from components.submission.verify import check_file
from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, check_digest, read_manifest
from trainer.config.output import Submission
from trainer.errors import DataError, shown
from trainer.events import emit
from trainer.metrics.candidates import TopClasses, decisions, mean_row, repeated
from trainer.metrics.scores import decided, score


def file_name(submission: Submission) -> str:
    """Return the name under which the user finds the file."""
    return "submission.csv.gz" if submission.gzip else "submission.csv"


def write_submission(
    blended: str | Path,
    submission: Submission,
    *,
    classes: Sequence[str],
    sample_digest: str,
    out: str | Path,
) -> None:
    """Write the values that `submission.values` specifies for each test image, with the sample's
    header, ids and order. Then read the file again and check it as a leaderboard would.

    Args:
        blended: the folder that blending wrote, with predictions and thresholds.
        submission: the settings, with the path of the sample.
        classes: class names in order.
        sample_digest: the launcher's digest of the sample; "" skips the check.
        out: the file to write, gzip-compressed if `submission.gzip`.

    Raises:
        DataError: the sample has changed since the launch, its ids are not the test images', or its
            columns do not fit the values; or a prediction is not a probability. The message names
            the row.
    """
    about = read_manifest(blended)
    task, thresholds = about["task"], about.get("thresholds")
    predictions = pd.read_parquet(Path(blended) / tables.TEST)
    if submission.sample:
        check_digest([local_path(submission.sample)], sample_digest)
        sample = read(submission.sample)
        check_form(sample, submission, classes, task)
        lacking = check_ids(
            sample,
            submission.sample,
            predictions["id"],
            TEST_IMAGES,
            may_lack_images=about.get("on_bad_test_image") == "prior",
        )
        predictions = _with_mean(predictions, lacking, classes)
        like = f"as in {Path(submission.sample).name}"
    else:
        sample = without_file(predictions["id"], submission, classes)
        like = "in the order of the test images"
    predicted = tables.probabilities_of(predictions.set_index("id").loc[sample.ids], classes)
    if isinstance(predicted, TopClasses):
        # The first of them is the decision: thresholds are not fitted where classes are left out.
        names = submission.written_names(classes)
        cells = [[names[number]] for number in predicted.classes[:, 0].tolist()]
    else:
        check_probabilities(predicted, sample, classes, exclusive=task != "multilabel")
        cells = _cells(predicted, thresholds, sample, submission, classes, task)
    with atomic_write(out) as partial:
        _write(
            partial, [sample.id_column, *sample.columns], sample.ids, cells, packed=submission.gzip
        )
        check_file(partial, sample, submission, classes, task=task, name=file_name(submission))
    emit("note", "submission", f"{len(cells)} rows {like}")


def _cells(
    probabilities: np.ndarray,
    thresholds: Sequence[float] | None,
    sample: Sample,
    submission: Submission,
    classes: Sequence[str],
    task: str,
) -> list[list[str]]:
    """Return the cells of each row after its id.

    Args:
        probabilities: (n, classes) in 0 to 1, in the order of the sample's ids.
        thresholds: one per class, None to decide without.
        sample: for its columns.
        submission: the settings.
        classes: class names in order.
        task: the competition's task.
    """
    if submission.values in ("probability", "columns"):
        position = {name: index for index, name in enumerate(classes)}
        order = (
            [1]
            if submission.values == "probability"
            else [position[name] for name in sample.columns]
        )
        return [
            [f"{value:.{submission.digits}g}" for value in row]
            for row in probabilities[:, order].tolist()
        ]
    limits = None if thresholds is None else np.array(thresholds)
    several = task == "multilabel"
    return [
        [text] for text in _decisions(probabilities, limits, submission, classes, several=several)
    ]


def _with_mean(
    predictions: pd.DataFrame, ids: Sequence[str], classes: Sequence[str]
) -> pd.DataFrame:
    """Return the predictions with a row for each of `ids`, the mean of the others."""
    if not ids:
        return predictions
    emit(
        "note",
        "submission",
        f"warning: {len(ids)} ids of the sample have no image and get the mean prediction:"
        f" {shown(ids)}",
    )
    mean = repeated(mean_row(tables.probabilities_of(predictions, classes)), len(ids))
    added = pd.concat(
        [pd.DataFrame({"id": ids}), tables.probability_columns(mean, classes)], axis=1
    )
    return pd.concat([predictions, added], ignore_index=True)


def _decisions(
    probabilities: np.ndarray,
    thresholds: np.ndarray | None,
    submission: Submission,
    classes: Sequence[str],
    *,
    several: bool,
) -> list[str]:
    """Return the decided class of each row, or several classes with the separator between them, or
    "" for none: the same decisions as those that are scored.

    Args:
        probabilities: (n, classes) in 0 to 1.
        thresholds: (classes,), None to decide without.
        submission: specifies class names or numbers, and the separator.
        classes: class names in order.
        several: whether an image can have any number of classes, also none.
    """
    names = submission.written_names(classes)
    if not several:
        return [names[index] for index in decided(np.empty(0), probabilities, thresholds)]
    marked = decided(np.empty((0, 0)), probabilities, thresholds)
    return [
        submission.separator.join(name for name, is_one in zip(names, row, strict=True) if is_one)
        for row in marked
    ]


def _write(
    path: Path, header: list[str], ids: list[str], cells: list[list[str]], *, packed: bool
) -> None:
    with open(path, "wb") as binary:
        # Leave out file name and time, so that equal predictions give equal bytes.
        stream = (
            gzip.GzipFile(filename="", mode="wb", fileobj=binary, mtime=0) if packed else binary
        )
        with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(header)
            writer.writerows([id_, *row] for id_, row in zip(ids, cells, strict=True))


def check_probabilities(
    probabilities: np.ndarray, sample: Sample, classes: Sequence[str], *, exclusive: bool = True
) -> None:
    """Check that all values are finite and in 0 to 1, and that rows sum to 1 if `exclusive`.

    Args:
        probabilities: (n, classes), in the order of the sample's ids.
        sample: for the ids.
        classes: class names in order.
        exclusive: whether each image has exactly one class; sums may then differ from 1 by
            float32's rounding, less than 1e-4.

    Raises:
        DataError: a value is not a probability, or a sum is wrong; the message has a line for each
            of the first 20, with row, id and class.
    """
    valid = (probabilities >= 0) & (probabilities <= 1)
    wrong_sum = valid.all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) >= 1e-4) & exclusive
    problems = [
        f"row {row + 1}, id {sample.ids[row]!r}, class {classes[column]!r}:"
        f" {probabilities[row, column]:g} is not a probability"
        for row, column in zip(*np.nonzero(~valid), strict=True)
    ]
    problems += [
        f"row {row + 1}, id {sample.ids[row]!r}: the probabilities sum to"
        f" {probabilities[row].sum():.6g} instead of 1"
        for row in np.flatnonzero(wrong_sum)
    ]
    if problems:
        summary = f"{len(problems)} such values or rows: a model diverged; lower its learning_rate"
        raise DataError("\n".join([*(f"submission {line}" for line in problems[:20]), summary]))


def score_answers(
    path: str | Path,
    answers: str,
    submission: Submission,
    *,
    classes: Sequence[str],
    metric: str,
    task: str,
) -> float:
    """Score a submission file against a file with the true class of each id, as a leaderboard
    would.

    Args:
        path: the submission file.
        answers: path of the true classes, as for `read_answers`.
        submission: the settings that the submission file was written with.
        classes: class names in order.
        metric: the competition's metric.
        task: the competition's task.

    Raises:
        DataError: the files' ids differ, or an answer is not a class.
    """
    submitted, several, count = read(path), task == "multilabel", len(classes)
    truth = read_answers(answers, submission, classes, submitted.ids, path, several=several)
    index_of = {name: index for index, name in enumerate(submission.written_names(classes))}
    if submission.values in ("class", "index") and not several:
        named = np.array([index_of[value] for (value,) in submitted.values], dtype=np.int64)
        true = np.array([min(truth[id_]) for id_ in submitted.ids], dtype=np.int64)
        return score(metric, *decisions(named, true, count))
    is_one = np.zeros((len(submitted.ids), count), dtype=bool)
    for row, id_ in enumerate(submitted.ids):
        is_one[row, list(truth[id_])] = True
    if submission.values == "columns":
        column_of = {name: index for index, name in enumerate(submitted.columns)}
        order = [column_of[name] for name in classes]
        predicted = np.array([[float(row[k]) for k in order] for row in submitted.values])
    elif submission.values == "probability":
        positive = np.array([float(value) for (value,) in submitted.values])
        predicted = np.stack([1 - positive, positive], axis=1)
    else:
        predicted = np.zeros((len(submitted.ids), count))
        for row, (value,) in enumerate(submitted.values):
            predicted[
                row,
                [
                    index_of[part]
                    for part in (value.split(submission.separator) if several else [value])
                    if part
                ],
            ] = 1
    return score(metric, is_one if several else is_one.argmax(axis=1), predicted)
