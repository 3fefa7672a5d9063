"""The training of a GAN: the loop, from wherever it was left, and what it leaves."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simplejpeg

from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, read_manifest, write_json, write_manifest
from trainer.artifacts.records import open_shard
from trainer.backends.devices import Device
from trainer.config.gan import (
    COPIES,
    EVALUATION,
    FRAMES,
    GENERATOR,
    GIF,
    GRID,
    HELD_OUT_FOLD,
    SAMPLES,
    STRIP,
    GanRecipe,
)
from trainer.config.member import Augment
from trainer.config.objective import fold_seed
from trainer.errors import Preempted, TrainingError
from trainer.events import clock, emit
from trainer.gan import fidelity, pictures, state
from trainer.gan.evaluation import Evaluation
from trainer.gan.feature_extractor import named, of_model
from trainer.input import batches as dataset
from trainer.input.batches import Labels, Workers
from trainer.training.checkpoint import Checkpoints
from trainer.training.fold import memory_named

# The step that this is, for what it tells.
STEP = "train-gan"
_ROWS, _STRIPS, _STEPS_BETWEEN = 8, 5, 10
_JPEG_QUALITY = 95
_SECONDS_BETWEEN_LINES = 1.0


@dataclass
class GanTrainingState:
    """Where a training is: with the arrays of the pair, all that a checkpoint holds.

    step: the next one. told: of the steps since the last evaluation, (n, 4) as pair.TOLD. history:
    a row an evaluation.
    compilations: of the step, so far.
    """

    step: int = 0
    told: list[list[float]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    compilations: int = 0
    made_by: str = ""


class GanTraining:
    """The images, the pair, the judges, and the loop over the steps."""

    def __init__(
        self,
        gan: GanRecipe,
        *,
        records: str | Path,
        root: str | Path,
        folds_table: str | Path,
        judge: str | Path,
        classes: Sequence[str],
        seed: int,
        device: Device,
        checkpoints: Checkpoints,
        checkpoint_seconds: float,
        stopping: Callable[[], bool],
        near: Callable[[str], str],
        out: Path,
    ) -> None:
        """Arguments as `trainer.training.fit.train_gan` takes them."""
        if device.processes > 1:
            raise TrainingError(
                "a GAN is trained by one process, on any number of devices: start one only"
            )
        if gan.batch_size % device.devices:
            raise TrainingError(
                f"gan.batch_size = {gan.batch_size}: must be a multiple of the {device.devices}"
                " devices"
            )
        self.gan, self.classes, self.device, self.out = gan, list(classes), device, out
        self.checkpoints, self.checkpoint_seconds, self.stopping = (
            checkpoints,
            checkpoint_seconds,
            stopping,
        )
        about = read_manifest(records, only=(tables.EXAMPLES,))
        (size,) = about["sizes"]
        examples = tables.read_examples(records)
        examples = examples[examples["split"] == "train"].reset_index(drop=True)
        fold = tables.fold_of(examples, tables.read_folds(folds_table))
        self.rows, held = (
            np.flatnonzero(tables.training_rows(fold, HELD_OUT_FOLD)),
            np.flatnonzero(fold == HELD_OUT_FOLD),
        )
        self.images = dataset.load(root, examples, about, size=size)
        self.targets = examples["target"].to_numpy(dtype=np.int32)
        self.seed = fold_seed(seed, "gan", HELD_OUT_FOLD)
        self.workers = Workers(device.threads)
        knows = of_model(Path(judge) / tables.model_file(HELD_OUT_FOLD), classes=len(classes))
        features = named(
            gan.features, side=size, channels=self.images.channels, judge=knows, near=near
        )
        # Its latent vectors are others than those of any step.
        self.evaluation = Evaluation(
            gan, classes, knows, features, seed=fold_seed(seed, "gan evaluation", HELD_OUT_FOLD)
        )
        self.evaluation.look_at(self.images, self.targets, self.rows, held, self.workers)
        networks = state.GanState(
            gan, side=size, channels=self.images.channels, classes=len(classes), seed=self.seed
        )
        self.pair = state.make(device, networks)
        self.per_epoch = dataset.steps_per_epoch(len(self.rows), gan.batch_size)

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one, and write the results.

        Raises:
            TrainingError: a loss is not finite, or memory ran out. Preempted: asked to end; a
                checkpoint is written.
        """
        kept = self.checkpoints.latest()
        place = GanTrainingState(made_by=str(self.device))
        if kept is not None and kept[1]["made_by"] == place.made_by:
            state.restore(self.pair, kept[0])
            place = GanTrainingState(**kept[1])
            emit("note", STEP, f"going on from step {place.step} of {self.gan.steps}")
        elif kept is not None:
            emit(
                "note",
                STEP,
                f"the checkpoint found was made by other devices ({kept[1]['made_by']}): beginning"
                " anew",
            )
        real = self.evaluation.baseline()
        known = (
            f"the judge knows {self.evaluation.real.right:.1%} of {real['images']} held-out images"
        )
        emit("note", STEP, f"{known}; {self.evaluation.told(real)} of real ones")
        self._train(place)
        self._leave(place, real)
        self.checkpoints.remove()

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def _train(self, place: GanTrainingState) -> None:
        gan = self.gan
        together = gan.steps_per_execution
        pending: list[Any] = []
        saved = resumed = told = time.monotonic()
        warm: tuple[float, int] | None = None
        before = place.seconds

        def settle() -> None:
            """Wait for the steps so far, and stop where a loss is no number."""
            with self._memory_named():
                # JAX says it only here, where it is waited for.
                place.told += [
                    [float(value) for value in row]
                    for block in pending
                    for row in np.asarray(block)
                ]
            pending.clear()
            place.seconds = before + time.monotonic() - resumed
            # From a checkpoint of the last step none is compiled again.
            place.compilations = max(place.compilations, self.pair.compilations)
            bad = [row for row in place.told if not all(map(math.isfinite, row))]
            if bad:
                raise TrainingError(
                    f"divergence: by step {place.step} a loss is no number (discriminator"
                    f" {bad[0][0]}, generator {bad[0][1]}): lower gan.discriminator_rate and"
                    " gan.generator_rate, or set gan.spectral_norm"
                )

        def save() -> None:
            settle()
            self.checkpoints.save(state.state(self.pair), dataclasses.asdict(place))

        batches = dataset.prefetch(self._blocks(place.step))
        try:
            for arrays in batches:
                with self._memory_named():
                    pending.append(self.pair.steps(arrays))
                place.step += together
                if place.step % gan.evaluate_every == 0 or place.step == gan.steps:
                    settle()
                    self._evaluate(place)
                if len(pending) * together >= 200:
                    settle()  # so that no device runs ahead for long
                now = time.monotonic()
                if warm is None:
                    # The first call compiles, which says nothing of the others.
                    settle()
                    warm = time.monotonic(), place.step
                elif now - told > _SECONDS_BETWEEN_LINES:
                    told = now
                    left = clock(
                        (now - warm[0]) / (place.step - warm[1]) * (gan.steps - place.step)
                    )
                    emit("epoch", STEP, f"step {place.step}/{gan.steps}  {left} left", log=False)
                asked = self.stopping()
                if asked or place.step == gan.steps or now - saved >= self.checkpoint_seconds:
                    save()
                    saved = now
                if asked:
                    raise _preempted(place)
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator

    def _memory_named(self) -> AbstractContextManager[None]:
        return memory_named(
            f"out of memory with {self.gan.batch_size} images of {self.images.size} pixels a step:"
            " lower gan.batch_size or gan.width"
        )

    def _blocks(self, start: int) -> Iterator[dict[str, np.ndarray]]:
        """What each call of the pair takes, from a step on."""
        gan = self.gan
        labels = Labels(
            targets=self.targets.astype(np.float32)[:, None],
            weights=np.ones(len(self.targets), np.float32),
            tabular=np.zeros((len(self.targets), 0), np.float32),
        )
        batches = dataset.training_batches(
            self.images,
            labels,
            self.rows,
            augment=Augment(flip_horizontal=0.5 if gan.flip else 0.0),
            batch_size=gan.batch_size,
            seed=self.seed,
            workers=self.workers,
            start=divmod(start, self.per_epoch),
            epochs=-(-gan.steps // self.per_epoch),
        )
        block: list[dict[str, np.ndarray]] = []
        for step, (_, _, batch) in zip(range(start, gan.steps), batches, strict=False):
            drawn = state.draw(
                gan, seed=self.seed, step=step, side=self.images.size, classes=len(self.classes)
            )
            block.append(
                {"pixels": batch.pixels, "labels": batch.targets[:, 0].astype(np.int32), **drawn}
            )
            if len(block) == gan.steps_per_execution:
                yield state.stacked(block)
                block = []

    def _generated(self, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Samples, some at a time, always as many: compiled once."""
        size = self.gan.batch_size
        parts = []
        for first in range(0, len(latent), size):
            places = np.minimum(np.arange(first, first + size), len(latent) - 1)
            parts.append(self.pair.sample(latent[places], labels[places])[: len(latent) - first])
        return np.concatenate(parts)

    def _evaluate(self, place: GanTrainingState) -> None:
        judged = self.evaluation.judged(self._generated, stream=0)
        means = np.mean(place.told, axis=0)
        place.told = []
        row: dict[str, Any] = {
            "step": place.step,
            **{name: float(value) for name, value in zip(state.TOLD, means, strict=True)},
        }
        row |= {**judged.figures, "seconds": round(place.seconds, 3)}
        place.history.append(row)
        row["verdicts"] = fidelity.verdicts(
            place.history, self.classes, judged.of_classes, judged.there
        )
        # By rows of all classes, so that a column shows what one of them has become.
        shown = judged.images[: _ROWS * len(self.classes)]
        path = self.checkpoints.folder / FRAMES / f"step{place.step:08d}.png"
        pictures.write_png(
            path, pictures.grid(shown, columns=len(self.classes)), side=self.images.size
        )
        self.checkpoints.mirror(path)
        emit(
            "epoch",
            STEP,
            f"step {place.step}/{self.gan.steps}: {self.evaluation.told(judged.figures)}",
        )
        for verdict in row["verdicts"]:
            # Once, not at each evaluation that it lasts for.
            if len(place.history) < 2 or not any(
                _kind(verdict) == _kind(said) for said in place.history[-2]["verdicts"]
            ):
                emit("note", STEP, f"warning: {verdict}")

    def _leave(self, place: GanTrainingState, real: dict[str, float]) -> None:
        """Write all results; the samples are of latent vectors that no evaluation has seen."""
        out, classes = self.out, len(self.classes)
        judged = self.evaluation.judged(self._generated, stream=1)
        self.pair.pull()
        with atomic_write(out / GENERATOR) as partial:
            self.pair.networks.averaged.save(partial)
        frames = []
        for row in place.history:
            name = f"step{row['step']:08d}.png"
            with atomic_write(out / FRAMES / name) as partial:
                partial.write_bytes((self.checkpoints.folder / FRAMES / name).read_bytes())
            frames.append(out / FRAMES / name)
        pictures.write_gif(out / GIF, frames)
        side = self.images.size
        pictures.write_png(
            out / GRID, pictures.grid(judged.images[: _ROWS * classes], columns=classes), side=side
        )
        pictures.write_png(
            out / STRIP, pictures.grid(self._interpolated(), columns=_STEPS_BETWEEN), side=side
        )
        emit("note", STEP, f"looking for the nearest of {len(self.rows)} real images", log=False)

        def waiting() -> None:
            if self.stopping():
                raise _preempted(place)

        samples, nearest = self.evaluation.nearest(
            judged, self.images, self.rows, self.workers, waiting=waiting
        )
        pictures.write_png(
            out / COPIES,
            pictures.grid(np.concatenate([samples, nearest]), columns=len(samples)),
            side=side,
        )
        self._write_samples(judged.images, judged.labels)
        history = pd.DataFrame(
            [
                {key: value for key, value in row.items() if key != "verdicts"}
                for row in place.history
            ]
        )
        tables.write_csv(out / tables.HISTORY, history)
        write_json(
            out / EVALUATION,
            {
                "steps": self.gan.steps,
                "measure": self.gan.features.measure(),
                "features": self.gan.features.name(),
                "samples": {key: _none_if_nan(value) for key, value in judged.figures.items()},
                "real": {key: _none_if_nan(value) for key, value in real.items()},
                "judged": self.gan.samples,
                "judge_accuracy": self.evaluation.real.right,
                "class_accuracy": judged.there if self.gan.conditional else None,
                "classes": self.classes,
                "class_diversity": [_none_if_nan(float(value)) for value in judged.of_classes],
                "verdicts": {
                    str(row["step"]): row["verdicts"] for row in place.history if row["verdicts"]
                },
                "compilations": place.compilations,
                "trained_on": len(self.rows),
                "device": (
                    f"{self.device.name} ({self.device.backend}, {self.device.threads} threads)"
                ),
            },
        )
        write_manifest(out, {"gan": dataclasses.asdict(self.gan), "classes": self.classes})

    def _interpolated(self) -> np.ndarray:
        """From one sample to another, a row for each of some classes."""
        random = np.random.default_rng([self.evaluation.seed, 3])
        rows = []
        for index in range(min(_STRIPS, len(self.classes))):
            ends = random.standard_normal((2, self.gan.latent), np.float32)
            labels = np.full(
                _STEPS_BETWEEN,
                index * len(self.classes) // min(_STRIPS, len(self.classes)),
                np.int32,
            )
            rows.append(
                self._generated(pictures.between(ends[0], ends[1], steps=_STEPS_BETWEEN), labels)
            )
        return np.concatenate(rows)

    def _write_samples(self, images: np.ndarray, labels: np.ndarray) -> None:
        """As records of the form that the records step writes; without a target where no class was
        asked for."""
        with open_shard(self.out / SAMPLES, "samples", 0) as add:
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                space = "GRAY" if image.shape[2] == 1 else "RGB"
                jpeg = simplejpeg.encode_jpeg(
                    np.ascontiguousarray(image), _JPEG_QUALITY, space, "444"
                )
                target = {"target": int(label)} if self.gan.conditional else {}
                add({"image": jpeg, "image_name": f"sample{number:06d}".encode(), **target})


def _preempted(place: GanTrainingState) -> Preempted:
    return Preempted(f"step {place.step}: asked to end; a checkpoint is written: start it again")


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _kind(verdict: str) -> str:
    return verdict.partition(":")[0]
