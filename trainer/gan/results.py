"""What a GAN's training leaves: the generator, pictures, sample records and figures."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import simplejpeg

from trainer.artifacts import gan_files, tables
from trainer.artifacts.manifest import atomic_write, write_json, write_manifest
from trainer.artifacts.records import open_shard
from trainer.config.gan import GanRecipe
from trainer.errors import Preempted
from trainer.events import emit
from trainer.gan import pictures
from trainer.gan.quality.evaluation import Evaluation, Judged
from trainer.input.shards import Images
from trainer.input.workers import Workers
from trainer.training.jobs.context import ActiveRun

# The name of the pipeline's step, for messages.
STEP = "train-gan"
# Classes with an interpolation, and samples in each.
_STRIPS, _STRIP_SAMPLES = 5, 10
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class GanResults:
    """What the results are made from.

    Attributes:
        recipe: the section `[gan]`.
        classes: class names, in order.
        evaluation: judges samples.
        generator: of averaged weights.
        generate: from (n, latent) float32 and (n,) int32 classes to (n, side, side, channels)
            uint8.
        images: all labelled images.
        rows: the rows of `images` that the GAN was trained on.
        workers: threads that decode.
    """

    recipe: GanRecipe
    classes: list[str]
    evaluation: Evaluation
    generator: keras.Model
    generate: Callable[[np.ndarray, np.ndarray], np.ndarray]
    images: Images
    rows: np.ndarray
    workers: Workers


def write_results(
    results: GanResults, state: Any, baseline: Mapping[str, float], active: ActiveRun
) -> None:
    """Write all files that `trainer/artifacts/gan_files.py` names, and the manifest last.

    Args:
        results: what they are made from.
        state: the `GanTrainingState` at the end.
        baseline: figures of real images.
        active: the folder, the checkpoints, and whether to stop.
    """
    out, count, side = active.context.out, len(results.classes), results.images.size
    # These latent vectors were not in any evaluation.
    judged = results.evaluation.judged(results.generate, stream=1)
    with atomic_write(out / gan_files.GENERATOR) as partial:
        results.generator.save(partial)
    _write_frames(out, active.checkpoints.folder, state.history)
    samples = judged.images[: pictures.GRID_ROWS * count]
    grid = pictures.grid(samples, columns=count)
    pictures.write_png(out / gan_files.GRID, grid, side=side)
    strip = pictures.grid(_interpolated(results), columns=_STRIP_SAMPLES)
    pictures.write_png(out / gan_files.STRIP, strip, side=side)
    emit("note", STEP, f"looking for the nearest of {len(results.rows)} real images", log=False)

    def stop_if_asked() -> None:
        if active.stopping():
            raise preempted(state.step)

    shown, nearest = results.evaluation.nearest(
        judged, results.images, results.rows, results.workers, waiting=stop_if_asked
    )
    copies = pictures.grid(np.concatenate([shown, nearest]), columns=len(shown))
    pictures.write_png(out / gan_files.COPIES, copies, side=side)
    _write_samples(out, judged, conditional=results.recipe.conditional)
    rows = [{key: row[key] for key in row if key != "verdicts"} for row in state.history]
    tables.write_csv(out / tables.HISTORY, pd.DataFrame(rows))
    device = active.device
    figures = _figures(results, judged, state, baseline)
    figures["device"] = f"{device.name} ({device.backend}, {device.threads} threads)"
    write_json(out / gan_files.EVALUATION, figures)
    about = {"gan": dataclasses.asdict(results.recipe), "classes": results.classes}
    write_manifest(out, about)


def preempted(step: int) -> Preempted:
    """The error of a training that was asked to stop."""
    return Preempted(
        f"step {step}: received SIGTERM; a checkpoint is written: start it again to resume"
    )


def _write_frames(out: Path, work: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Copy the grid of each evaluation, and join them as a GIF."""
    frames = []
    for row in history:
        name = pictures.frame_name(row["step"])
        with atomic_write(out / gan_files.FRAMES / name) as partial:
            partial.write_bytes((work / gan_files.FRAMES / name).read_bytes())
        frames.append(out / gan_files.FRAMES / name)
    pictures.write_gif(out / gan_files.GIF, frames)


def _figures(
    results: GanResults, judged: Judged, state: Any, baseline: Mapping[str, float]
) -> dict[str, Any]:
    recipe = results.recipe
    return {
        "steps": recipe.steps,
        "measure": recipe.features.measure(),
        "features": recipe.features.name(),
        "samples": {key: _none_if_nan(value) for key, value in judged.figures.items()},
        "real": {key: _none_if_nan(value) for key, value in baseline.items()},
        "judged": recipe.samples,
        "judge_accuracy": results.evaluation.real.right,
        "class_accuracy": judged.there if recipe.conditional else None,
        "classes": results.classes,
        "class_diversity": [_none_if_nan(float(value)) for value in judged.of_classes],
        "verdicts": {str(row["step"]): row["verdicts"] for row in state.history if row["verdicts"]},
        "compilations": state.compilations,
        "trained_on": len(results.rows),
    }


def _interpolated(results: GanResults) -> np.ndarray:
    """From one sample to another, a row for each of some classes."""
    random = np.random.default_rng([results.evaluation.seed, 3])
    count = len(results.classes)
    strips = min(_STRIPS, count)
    rows = []
    for index in range(strips):
        ends = random.standard_normal((2, results.recipe.latent), np.float32)
        labels = np.full(_STRIP_SAMPLES, index * count // strips, np.int32)
        latent = pictures.between(ends[0], ends[1], steps=_STRIP_SAMPLES)
        rows.append(results.generate(latent, labels))
    return np.concatenate(rows)


def _write_samples(out: Path, judged: Judged, *, conditional: bool) -> None:
    """Samples as records like those of the records step; without a target if unconditional."""
    with open_shard(out / gan_files.SAMPLES, "samples", 0) as add:
        for number, (image, label) in enumerate(zip(judged.images, judged.labels, strict=True)):
            colours = "GRAY" if image.shape[2] == 1 else "RGB"
            pixels = np.ascontiguousarray(image)
            jpeg = simplejpeg.encode_jpeg(pixels, _JPEG_QUALITY, colours, "444")
            target = {"target": int(label)} if conditional else {}
            add({"image": jpeg, "image_name": f"sample{number:06d}".encode(), **target})


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
