"""A training job of a linear member: all folds in seconds, without TensorFlow and checkpoints."""

import dataclasses
import importlib.metadata
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write
from trainer.artifacts.objective import Artifacts, Objective
from trainer.backends.devices import host_threads
from trainer.config.member import Member
from trainer.config.network import Linear
from trainer.config.preparation import NO_FOLD
from trainer.events import emit
from trainer.input import tabular
from trainer.input.labels import Labels
from trainer.input.shards import Images
from trainer.input.workers import Workers
from trainer.metrics.candidates import top_classes
from trainer.metrics.scores import score
from trainer.models import linear
from trainer.models.linear import LinearModel
from trainer.training import data
from trainer.training.data import JobData
from trainer.training.results import FoldResult, write_results, write_seen

# Images that are decoded at once.
_CHUNK = 4096


def train_linear(
    member: Member,
    folds: Sequence[int],
    artifacts: Artifacts,
    objective: Objective,
    out: Path,
) -> None:
    """Fit one regression per fold; arguments, files and errors as for `fit.train_folds`.

    Tabular columns join the pixels as features. Models are `fold<k>.npz`
    (`trainer.models.linear.load`).
    """
    size = member.size or data.default_size(artifacts)
    member = dataclasses.replace(member, size=size)
    job = data.load(artifacts, objective, folds, size)
    threads = host_threads()
    workers = Workers(threads)
    try:
        pixels, test_pixels = (
            pixel_features(images, member.linear, workers)
            for images in (job.images, job.test_images)
        )
    finally:
        workers.close()
    device = f"CPU (scikit-learn, {threads} thread{'s' * (threads > 1)})"
    count = f"{len(job.train)} labelled and {len(job.test)} test images"
    text = ", ".join(map(str, folds)) if list(folds) != [NO_FOLD] else "none, all images train"
    emit("note", "train", f"{member.name}: folds {text} on {device}, {count}")
    results = []
    for fold in folds:
        started = time.monotonic()
        rows = job.training_rows[fold]
        of_fold = job.labels(fold, member, objective)
        features = np.concatenate([pixels, of_fold.tabular], axis=1)
        model = _fit(features, job, rows, of_fold, member, objective)
        held_out = job.held_out(fold)
        encoder = tabular.fit(job.train, rows, member.tabular.columns, job.numeric)
        columns = tabular.encode(encoder, job.test)
        probabilities = model.probabilities(features)
        on_test = model.probabilities(np.concatenate([test_pixels, columns], axis=1))
        path = out / tables.model_file(fold, tables.LINEAR_SUFFIX)
        with atomic_write(path) as partial, open(partial, "wb") as stream:
            model.save(stream)
        write_seen(path, tables.seen_images(job.train.iloc[rows]))
        row = _history(fold, probabilities, job, rows, objective)
        row["seconds"] = round(time.monotonic() - started, 3)
        state = {"history": [row], "epochs": 1}
        keep = objective.keep
        kept = [
            top_classes(values, keep) if keep else values
            for values in (probabilities[held_out], on_test)
        ]
        results.append(FoldResult(fold, kept[0], kept[1], state))
        if len(held_out):
            value = row[f"val_{objective.metric}"]
            emit("fold", "train", f"{member.name} fold {fold}: {objective.metric} {value:.4f}")
    about = {
        "parameters": int(model.weights.size + model.bias.size),
        "device": device,
        "libraries": {"scikit-learn": importlib.metadata.version("scikit-learn")},
        "models": [tables.model_file(fold, tables.LINEAR_SUFFIX) for fold in folds],
    }
    write_results(out, member, objective, job, results, about)


def pixel_features(images: Images, recipe: Linear, workers: Workers) -> np.ndarray:
    """The pixels of all images, in 0 to 1, reduced to `recipe.side` by area.

    Returns:
        (n, side · side · channels) float32.
    """
    side = min(recipe.side, images.size)
    features = np.empty((len(images), side * side * images.channels), np.float32)
    for first in range(0, len(images), _CHUNK):
        rows = np.arange(first, min(first + _CHUNK, len(images)))
        pixels = workers.decoded(images, rows)
        if side < images.size:
            size = (side, side)
            pixels = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pixels])
        features[rows] = pixels.reshape(len(rows), -1)
    features /= 255
    return features


def _fit(
    features: np.ndarray,
    job: JobData,
    rows: np.ndarray,
    of_fold: Labels,
    member: Member,
    objective: Objective,
) -> LinearModel:
    return linear.fit(
        features[rows],
        job.targets[rows],
        of_fold.weights[rows],
        member.linear,
        classes=len(objective.classes),
    )


def _history(
    fold: int, probabilities: np.ndarray, job: JobData, rows: np.ndarray, objective: Objective
) -> dict[str, Any]:
    """The row of a fold in the history: one epoch, with the log loss in place of a network's
    loss."""
    held_out, metric = job.held_out(fold), objective.metric
    row: dict[str, Any] = {"fold": fold, "epoch": 1, "loss": _log_loss(job, probabilities, rows)}
    if len(held_out):
        row["val_loss"] = _log_loss(job, probabilities, held_out)
        row[f"val_{metric}"] = score(metric, job.targets[held_out], probabilities[held_out])
    row["learning_rate"] = 0.0
    return row


def _log_loss(job: JobData, probabilities: np.ndarray, rows: np.ndarray) -> float:
    return score("log_loss", job.targets[rows], probabilities[rows])
