"""Final predictions -> submission.csv, as the sample wants it."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.storage import near
from components.submission.sample import Sample, check_ids, read, read_answers
from trainer import tables
from trainer.csv_rows import read_two_columns
from trainer.errors import DataError
from trainer.manifest import check_digest, read_manifest, whole_file
from trainer.metrics import score
from trainer.outcome import Submission
from trainer.progress import tell


def write_submission(
    blended: str | Path, submission: Submission, *, classes: Sequence[str], sample_digest: str, out: str | Path
) -> None:
    """Write the most probable class of each test image, or the probability of the second of two, with the header, the ids and
    the order of the sample.

    Args:
        blended: the folder that blending wrote.
        submission: names the sample.
        classes: the class names in order.
        sample_digest: what the launcher found the sample's bytes to be ("": nothing).
        out: the file to write.

    Raises:
        DataError: the sample's ids are not the test images', or a prediction is no probability; the text names the row.
    """
    task = read_manifest(blended)["task"]
    check_digest([near(submission.sample)], sample_digest)
    predictions = pd.read_parquet(Path(blended) / tables.TEST)
    sample = read(submission.sample)
    check_ids(sample, submission.sample, predictions["id"], "the test images")
    ordered = predictions.set_index("id").loc[sample.ids]
    probabilities = ordered[list(classes)].to_numpy()
    check_probabilities(probabilities, sample, exclusive=task != "multilabel")
    if submission.values == "probability":
        # Nine significant digits carry a float32 exactly.
        chosen = [f"{value:.9g}" for value in probabilities[:, 1]]
    elif task == "multilabel":
        # The most probable one, where none is at 0.5.
        marked = (probabilities >= 0.5) | (probabilities == probabilities.max(axis=1, keepdims=True)) & (
            probabilities.max(axis=1, keepdims=True) < 0.5
        )
        chosen = [
            submission.separator.join(name for name, is_one in zip(classes, row, strict=True) if is_one) for row in marked
        ]
    else:
        chosen = [classes[index] for index in probabilities.argmax(axis=1)]
    with whole_file(out) as partial, open(partial, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([sample.id_column, sample.target_column])
        writer.writerows(zip(sample.ids, chosen, strict=True))
    tell("note", "submission", f"{len(chosen)} rows as in {Path(submission.sample).name}")


def check_probabilities(probabilities: np.ndarray, sample: Sample, *, exclusive: bool = True) -> None:
    """(n, classes) values, row for row the sample's ids: finite, in 0 to 1, and where `exclusive` summing to 1 within float32.

    Raises:
        DataError: names the row and id of the first that is not.
    """
    sums = probabilities.sum(axis=1)
    legal = np.isfinite(probabilities).all(axis=1) & (probabilities >= 0).all(axis=1) & (probabilities <= 1).all(axis=1)
    if exclusive:
        legal &= np.abs(sums - 1) < 1e-4
    if not legal.all():
        row = int(np.flatnonzero(~legal)[0])
        raise DataError(
            f"submission row {row + 1}, id {sample.ids[row]!r}: the predictions {probabilities[row].tolist()} are no "
            "probabilities: a model diverged, lower its learning_rate"
        )


def score_answers(submission: str | Path, answers: str, *, classes: Sequence[str], metric: str, values: str) -> float:
    """The score of a submission file against a file with the true class of each id, as a leaderboard would take it.

    Args:
        values: what the submission holds, `class` or `probability`.

    Raises:
        DataError: the files' ids differ, or an answer is no class.
    """
    _, given = read_two_columns(submission)
    answer_of = dict(given)
    truth = read_answers(answers, classes, answer_of, submission)
    index_of = {name: index for index, name in enumerate(classes)}
    targets = np.array([index_of[label] for label in truth.values()])
    if values == "probability":
        positive = np.array([float(answer_of[id_]) for id_ in truth])
        return score(metric, targets, np.stack([1 - positive, positive], axis=1))
    predicted = np.array([index_of[answer_of[id_]] for id_ in truth])
    return score(metric, targets, np.eye(len(classes))[predicted])
