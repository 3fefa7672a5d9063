"""The training loop of a GAN, from wherever it was left."""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer.artifacts import gan_files, tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.objective import GanArtifacts, fold_seed
from trainer.backends.program import compile_program, get_state, set_state
from trainer.config.augment import Augment
from trainer.config.gan import HELD_OUT_FOLD, GanRecipe
from trainer.errors import TrainingError
from trainer.events import clock, emit
from trainer.gan import pictures, step
from trainer.gan.quality import fidelity
from trainer.gan.quality.evaluation import Evaluation
from trainer.gan.quality.feature_extractor import named, of_model
from trainer.gan.results import STEP, GanResults, preempted, write_results
from trainer.gan.state import GanState
from trainer.input import shards
from trainer.input.batches import BatchPlan, steps_per_epoch, training_batches
from trainer.input.labels import Labels
from trainer.input.workers import Workers, prefetch
from trainer.training.jobs.context import ActiveRun
from trainer.training.jobs.memory import explain_out_of_memory

_SECONDS_BETWEEN_LINES = 1.0
# Steps that a device may be ahead of what was checked.
_MAX_PENDING_STEPS = 200


@dataclass
class GanTrainingState:
    """Where a GAN's training is. A checkpoint holds it with the arrays of the program.

    Attributes:
        step: the next step, from 0.
        reported: of the steps since the last evaluation, values as `step.REPORTED` names them.
        history: a row for each evaluation.
        seconds: spent training.
        compilations: how often the step was compiled.
        device: the devices; they decide the last bits.
    """

    step: int = 0
    reported: list[list[float]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    compilations: int = 0
    device: str = ""


class GanTraining:
    """The images, the program, the judge, and the loop over the steps."""

    def __init__(
        self,
        recipe: GanRecipe,
        artifacts: GanArtifacts,
        classes: Sequence[str],
        seed: int,
        active: ActiveRun,
    ) -> None:
        """Arguments as for `trainer.gan.fit.train_gan`."""
        _check_devices(recipe, active)
        self.recipe, self.classes, self.active = recipe, list(classes), active
        self.checkpoints = active.checkpoints
        about = read_manifest(artifacts.records, only=(tables.EXAMPLES,))
        (size,) = about["sizes"]
        examples = tables.read_examples(artifacts.records)
        examples = examples[examples["split"] == "train"].reset_index(drop=True)
        fold = tables.fold_of(examples, tables.read_folds(artifacts.folds_table))
        self.rows = np.flatnonzero(tables.training_rows(fold, HELD_OUT_FOLD))
        held_out = np.flatnonzero(fold == HELD_OUT_FOLD)
        self.images = shards.load(artifacts.root, examples, about, size=size)
        self.targets = examples["target"].to_numpy(dtype=np.int32)
        self.seed = fold_seed(seed, "gan", HELD_OUT_FOLD)
        self.workers = Workers(active.device.threads)
        channels, count = self.images.channels, len(classes)
        judge = of_model(Path(artifacts.judge) / tables.model_file(HELD_OUT_FOLD), classes=count)
        features = named(
            recipe.features,
            side=size,
            channels=channels,
            judge=judge,
            local_path=active.context.local_path,
        )
        # Another seed: no step has these latent vectors.
        evaluation_seed = fold_seed(seed, "gan evaluation", HELD_OUT_FOLD)
        self.evaluation = Evaluation(recipe, classes, judge, features, seed=evaluation_seed)
        self.evaluation.look_at(self.images, self.targets, self.rows, held_out, self.workers)
        self.state = GanState(recipe, side=size, channels=channels, classes=count, seed=self.seed)
        self.program = compile_program(step.define(self.state), active.device.backend)
        self.steps_per_epoch = steps_per_epoch(len(self.rows), recipe.batch_size)

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one, and write the results.

        Raises:
            TrainingError: a loss is not finite, or memory ran out.
            Preempted: the process received SIGTERM; a checkpoint is written.
        """
        state = self._restored()
        baseline = self.evaluation.baseline()
        accuracy = self.evaluation.real.right
        emit(
            "note",
            STEP,
            f"the judge recognises {accuracy:.1%} of {baseline['images']} held-out images; "
            f"{self.evaluation.told(baseline)} for real images",
        )
        self._train(state)
        self.program.pull()
        write_results(
            GanResults(
                recipe=self.recipe,
                classes=self.classes,
                evaluation=self.evaluation,
                generator=self.state.averaged,
                generate=self._generate,
                images=self.images,
                rows=self.rows,
                workers=self.workers,
            ),
            state,
            baseline,
            self.active,
        )

    def _restored(self) -> GanTrainingState:
        device = str(self.active.device)
        latest = self.checkpoints.latest()
        if latest is None:
            return GanTrainingState(device=device)
        if latest.state["device"] != device:
            emit(
                "note",
                STEP,
                "ignoring a checkpoint from another device "
                f"({latest.state['device']}); training restarts",
            )
            return GanTrainingState(device=device)
        set_state(self.program, latest.arrays)
        state = GanTrainingState(**latest.state)
        emit("note", STEP, f"resuming from step {state.step} of {self.recipe.steps}")
        return state

    def _train(self, state: GanTrainingState) -> None:
        recipe, stopping = self.recipe, self.active.stopping
        interval = self.active.context.settings.checkpoint_seconds
        loop = _Loop(self, state)
        saved = reported = time.monotonic()
        batches = prefetch(self._blocks(state.step))
        try:
            for arrays in batches:
                loop.step(arrays)
                if state.step % recipe.evaluate_every == 0 or state.step == recipe.steps:
                    loop.settle()
                    self._evaluate(state)
                now = time.monotonic()
                if loop.warm is None:
                    # The first call compiles; it says nothing about the speed of the others.
                    loop.settle()
                    loop.warm = time.monotonic(), state.step
                elif now - reported > _SECONDS_BETWEEN_LINES:
                    reported = now
                    started, first = loop.warm
                    left = (now - started) / (state.step - first) * (recipe.steps - state.step)
                    text = f"step {state.step}/{recipe.steps}  {clock(left)} left"
                    emit("epoch", STEP, text, log=False)
                asked = stopping()
                if asked or state.step == recipe.steps or now - saved >= interval:
                    loop.save()
                    saved = now
                if asked:
                    raise preempted(state.step)
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator

    def explained_memory(self) -> AbstractContextManager[None]:
        """Say what to change if the block runs out of memory."""
        return explain_out_of_memory(
            f"out of memory with {self.recipe.batch_size} images of {self.images.size} pixels a "
            "step: lower gan.batch_size or gan.width"
        )

    def _blocks(self, start: int) -> Iterator[dict[str, np.ndarray]]:
        """The arrays for each call of the program, from a step on."""
        recipe, count = self.recipe, len(self.targets)
        labels = Labels(
            targets=self.targets.astype(np.float32)[:, None],
            weights=np.ones(count, np.float32),
            tabular=np.zeros((count, 0), np.float32),
        )
        plan = BatchPlan(
            augment=Augment(flip_horizontal=0.5 if recipe.flip else 0.0),
            batch_size=recipe.batch_size,
            seed=self.seed,
            epochs=-(-recipe.steps // self.steps_per_epoch),
            start=divmod(start, self.steps_per_epoch),
        )
        batches = training_batches(self.images, labels, self.rows, plan, self.workers)
        block: list[dict[str, np.ndarray]] = []
        for number, (_, _, batch) in zip(range(start, recipe.steps), batches, strict=False):
            drawn = step.draw(
                recipe,
                seed=self.seed,
                step=number,
                side=self.images.size,
                classes=len(self.classes),
            )
            classes = batch.targets[:, 0].astype(np.int32)
            block.append({"pixels": batch.pixels, "labels": classes, **drawn})
            if len(block) == recipe.steps_per_execution:
                yield step.stacked(block)
                block = []

    def _generate(self, latent: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n, side, side, channels) uint8 samples; batches of one size are compiled once."""
        size = self.recipe.batch_size
        parts = []
        for first in range(0, len(latent), size):
            places = np.minimum(np.arange(first, first + size), len(latent) - 1)
            images = step.sample(self.program, latent[places], labels[places])
            parts.append(images[: len(latent) - first])
        return np.concatenate(parts)

    def _evaluate(self, state: GanTrainingState) -> None:
        judged = self.evaluation.judged(self._generate, stream=0)
        means = dict(zip(step.REPORTED, np.mean(state.reported, axis=0).tolist(), strict=True))
        state.reported = []
        names = ("discriminator_loss", "generator_loss", "real_right", "generated_right")
        row: dict[str, Any] = {"step": state.step, **{name: means[name] for name in names}}
        row |= {**judged.figures, "seconds": round(state.seconds, 3)}
        state.history.append(row)
        row["verdicts"] = fidelity.verdicts(
            state.history, self.classes, judged.of_classes, judged.there
        )
        # Row by row over the classes, so that a column shows one class.
        count = len(self.classes)
        samples = judged.images[: pictures.GRID_ROWS * count]
        path = self.checkpoints.folder / gan_files.FRAMES / pictures.frame_name(state.step)
        grid = pictures.grid(samples, columns=count)
        pictures.write_png(path, grid, side=self.images.size)
        self.checkpoints.on_write(path)
        text = f"step {state.step}/{self.recipe.steps}: {self.evaluation.told(judged.figures)}"
        emit("epoch", STEP, text)
        before = state.history[-2]["verdicts"] if len(state.history) > 1 else []
        for verdict in row["verdicts"]:
            # Once, and not at each evaluation that it lasts for.
            if not any(_kind(verdict) == _kind(other) for other in before):
                emit("note", STEP, f"warning: {verdict}")


class _Loop:
    """The steps under way: started, not checked yet."""

    def __init__(self, training: GanTraining, state: GanTrainingState) -> None:
        self.training, self.state = training, state
        self.pending: list[Any] = []
        self.warm: tuple[float, int] | None = None
        self.resumed, self.seconds_before = time.monotonic(), state.seconds

    def step(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Start the steps of one call."""
        steps = self.training.recipe.steps_per_execution
        with self.training.explained_memory():
            self.pending.append(self.training.program.step(arrays))
        self.state.step += steps
        if len(self.pending) * steps >= _MAX_PENDING_STEPS:
            self.settle()

    def settle(self) -> None:
        """Wait for the steps under way, and stop if a loss is not finite."""
        state, program = self.state, self.training.program
        with self.training.explained_memory():
            # JAX raises here, where the values are waited for.
            blocks = [np.asarray(block) for block in self.pending]
        state.reported += [row.tolist() for block in blocks for row in block]
        self.pending.clear()
        state.seconds = self.seconds_before + time.monotonic() - self.resumed
        # Resumed at the last step, nothing is compiled again.
        state.compilations = max(state.compilations, program.compilations)
        bad = [row for row in state.reported if not all(map(math.isfinite, row))]
        if bad:
            values = dict(zip(step.REPORTED, bad[0], strict=True))
            raise TrainingError(
                f"divergence: by step {state.step} a loss is not finite (discriminator "
                f"{values['discriminator_loss']}, generator {values['generator_loss']}): lower "
                "gan.discriminator_rate and gan.generator_rate, or set gan.spectral_norm"
            )

    def save(self) -> None:
        """Write a checkpoint."""
        self.settle()
        arrays = get_state(self.training.program)
        self.training.checkpoints.save(arrays, dataclasses.asdict(self.state))


def _check_devices(recipe: GanRecipe, active: ActiveRun) -> None:
    device = active.device
    if device.processes > 1:
        raise TrainingError(
            "a GAN trains in one process, on any number of devices: start one process only"
        )
    if recipe.batch_size % device.devices:
        raise TrainingError(
            f"gan.batch_size = {recipe.batch_size}: must be a multiple of the {device.devices}"
            " devices"
        )


def _kind(verdict: str) -> str:
    return verdict.partition(":")[0]
