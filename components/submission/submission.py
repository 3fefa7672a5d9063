"""Final predictions -> submission.csv, as the sample wants it."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.submission.sample import Sample, check_ids, read, read_two_columns
from trainer import tables
from trainer.competition import Submission
from trainer.errors import DataError
from trainer.manifest import read_manifest, whole_file
from trainer.metrics import score
from trainer.progress import tell


def write_submission(blended: str | Path, submission: Submission, *, classes: Sequence[str], out: str | Path) -> None:
    """Write the most probable class of each test image, with the header, the ids and the order of the sample.

    Args:
        blended: the folder that blending wrote.
        submission: names the sample.
        classes: the class names in order.
        out: the file to write.

    Raises:
        DataError: the sample's ids are not the test images', or a prediction is no probability; the text names the row.
    """
    read_manifest(blended)
    predictions = pd.read_parquet(Path(blended) / tables.TEST)
    sample = read(submission.sample)
    check_ids(sample, submission.sample, predictions["id"], "the test images")
    ordered = predictions.set_index("id").loc[sample.ids]
    probabilities = ordered[list(classes)].to_numpy()
    check_probabilities(probabilities, sample)
    chosen = [classes[index] for index in probabilities.argmax(axis=1)]
    with whole_file(out) as partial, open(partial, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([sample.id_column, sample.target_column])
        writer.writerows(zip(sample.ids, chosen, strict=True))
    tell("note", "submission", f"{len(chosen)} rows as in {Path(submission.sample).name}")


def check_probabilities(probabilities: np.ndarray, sample: Sample) -> None:
    """(n, classes) values, row for row the sample's ids: finite, in 0 to 1, summing to 1 within float32.

    Raises:
        DataError: names the row and id of the first that is not.
    """
    sums = probabilities.sum(axis=1)
    legal = np.isfinite(probabilities).all(axis=1) & (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) < 1e-4)
    if not legal.all():
        row = int(np.flatnonzero(~legal)[0])
        raise DataError(
            f"submission row {row + 1}, id {sample.ids[row]!r}: the predictions {probabilities[row].tolist()} are no "
            "probabilities: a model diverged, lower its learning_rate"
        )


def score_answers(submission: str | Path, answers: str | Path, *, classes: Sequence[str], metric: str) -> float | None:
    """The score of a submission file against a file of the same form with the truth in it, as a leaderboard would take it.

    Returns:
        the score, or None for a metric of probabilities, which class names do not carry.

    Raises:
        DataError: the files' ids differ, or an answer is no class.
    """
    if metric == "log_loss":
        return None
    index_of = {name: index for index, name in enumerate(classes)}
    header, truth = read_two_columns(answers)
    _, given = read_two_columns(submission)
    for row, (id_, label) in enumerate(truth, start=1):
        if label not in index_of:
            raise DataError(f"{answers}: row {row}, column {header[1]!r}: {label!r} (id {id_!r}) is no class")
    check_ids(Sample(*header, [id_ for id_, _ in truth]), answers, (id_ for id_, _ in given), submission)
    answer_of = dict(given)
    targets = np.array([index_of[label] for _, label in truth])
    predicted = np.array([index_of[answer_of[id_]] for id_, _ in truth])
    return score(metric, targets, np.eye(len(classes))[predicted])
