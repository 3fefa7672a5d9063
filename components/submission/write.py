"""Final predictions -> submission.csv, as the sample wants it."""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.storage.objects import local_path
from components.submission.sample import Sample, check_form, check_ids, read, read_answers
from components.submission.verify import check_file
from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, check_digest, read_manifest
from trainer.config.output import Submission
from trainer.errors import DataError
from trainer.events import emit
from trainer.metrics import decided, score


def file_name(submission: Submission) -> str:
    """What the file is called where a person finds it."""
    return "submission.csv.gz" if submission.gzip else "submission.csv"


def write_submission(
    blended: str | Path,
    submission: Submission,
    *,
    classes: Sequence[str],
    sample_digest: str,
    out: str | Path,
) -> None:
    """Write what `submission.values` says of each test image, with the header, the ids and the
    order of the sample; then read it again and check it as a leaderboard would.

    Args:
        blended: the folder that blending wrote; it says which thresholds decide.
        submission: names the sample.
        classes: the class names in order.
        sample_digest: what the launcher found the sample's bytes to be ("": nothing).
        out: the file to write; it is packed where the submission says so.

    Raises:
        DataError: the sample's ids are not the test images', its columns not what is written, or a
            prediction is no probability; the text names the row.
    """
    about = read_manifest(blended)
    task, thresholds = about["task"], about.get("thresholds")
    check_digest([local_path(submission.sample)], sample_digest)
    predictions = pd.read_parquet(Path(blended) / tables.TEST)
    sample = read(submission.sample)
    check_form(sample, submission, classes, task)
    check_ids(sample, submission.sample, predictions["id"], "the test images")
    probabilities = predictions.set_index("id").loc[sample.ids][list(classes)].to_numpy()
    check_probabilities(probabilities, sample, classes, exclusive=task != "multilabel")
    if submission.values in ("probability", "columns"):
        order = (
            [1]
            if submission.values == "probability"
            else [list(classes).index(name) for name in sample.columns]
        )
        cells = [
            [f"{value:.{submission.digits}g}" for value in row]
            for row in probabilities[:, order].tolist()
        ]
    else:
        limits = None if thresholds is None else np.array(thresholds)
        cells = [
            [text]
            for text in _decisions(
                probabilities, limits, submission, classes, several=task == "multilabel"
            )
        ]
    with atomic_write(out) as partial:
        _write(
            partial, [sample.id_column, *sample.columns], sample.ids, cells, packed=submission.gzip
        )
        check_file(partial, sample, submission, classes, task=task, name=file_name(submission))
    emit("note", "submission", f"{len(cells)} rows as in {Path(submission.sample).name}")


def _decisions(
    probabilities: np.ndarray,
    thresholds: np.ndarray | None,
    submission: Submission,
    classes: Sequence[str],
    *,
    several: bool,
) -> list[str]:
    names = (
        [str(index) for index in range(len(classes))]
        if submission.values == "index"
        else list(classes)
    )
    if not several:
        return [names[index] for index in decided(np.empty(0), probabilities, thresholds)]
    marked = decided(np.empty((0, 0)), probabilities, thresholds)
    # The most probable one, where none is decided.
    relative = probabilities if thresholds is None else probabilities / thresholds
    marked[np.arange(len(marked)), relative.argmax(axis=1)] |= ~marked.any(axis=1)
    return [
        submission.separator.join(name for name, is_one in zip(names, row, strict=True) if is_one)
        for row in marked
    ]


def _write(
    path: Path, header: list[str], ids: list[str], cells: list[list[str]], *, packed: bool
) -> None:
    with open(path, "wb") as binary:
        # No name and no time in it: equal predictions give equal bytes.
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
    """(n, classes) values, row for row the sample's ids: finite, in 0 to 1, and where `exclusive`
    summing to 1 within float32.

    Raises:
        DataError: a line for each of the first 20 that are not, with row, id and class.
    """
    legal = (probabilities >= 0) & (probabilities <= 1)
    off = legal.all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) >= 1e-4) & exclusive
    found = [
        f"row {row + 1}, id {sample.ids[row]!r}, class {classes[column]!r}:"
        f" {probabilities[row, column]:g} is no probability"
        for row, column in zip(*np.nonzero(~legal), strict=True)
    ]
    found += [
        f"row {row + 1}, id {sample.ids[row]!r}: the probabilities sum to"
        f" {probabilities[row].sum():.6g}, where 1 is meant"
        for row in np.flatnonzero(off)
    ]
    if found:
        last = f"{len(found)} such: a model diverged, lower its learning_rate"
        raise DataError("\n".join([*(f"submission {line}" for line in found[:20]), last]))


def score_answers(
    path: str | Path,
    answers: str,
    submission: Submission,
    *,
    classes: Sequence[str],
    metric: str,
    task: str,
) -> float:
    """The score of a submission file against a file with the true class of each id, as a
    leaderboard would take it.

    Args:
        path: the submission file. answers: as `read_answers` takes it.

    Raises:
        DataError: the files' ids differ, or an answer is no class.
    """
    given, several, count = read(path), task == "multilabel", len(classes)
    truth = read_answers(answers, submission, classes, given.ids, path, several=several)
    there = np.zeros((len(given.ids), count), dtype=bool)
    for row, id_ in enumerate(given.ids):
        there[row, list(truth[id_])] = True
    if submission.values == "columns":
        order = [given.columns.index(name) for name in classes]
        told = np.array([[float(row[place]) for place in order] for row in given.values])
    elif submission.values == "probability":
        positive = np.array([float(value) for (value,) in given.values])
        told = np.stack([1 - positive, positive], axis=1)
    else:
        names = (
            [str(index) for index in range(count)]
            if submission.values == "index"
            else list(classes)
        )
        index_of = {name: index for index, name in enumerate(names)}
        told = np.zeros((len(given.ids), count))
        for row, (value,) in enumerate(given.values):
            told[
                row,
                [
                    index_of[part]
                    for part in (value.split(submission.separator) if several else [value])
                ],
            ] = 1
    return score(metric, there if several else there.argmax(axis=1), told)
