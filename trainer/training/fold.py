"""The training loop of one fold, from wherever it was left."""

import dataclasses
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.artifacts.objective import Objective, fold_seed
from trainer.backends.program import Program, get_state, set_state
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import Preempted, TrainingError
from trainer.input.batches import Batch, BatchPlan, steps_per_epoch, training_batches
from trainer.input.labels import Labels
from trainer.input.workers import prefetch
from trainer.metrics.candidates import concatenated, scorable
from trainer.metrics.names import HIGHER_IS_BETTER, better
from trainer.metrics.scores import available
from trainer.models import losses
from trainer.models.schedules import Plateau, rate
from trainer.training.classifier_program import NETWORK, averaged_weights, training_arrays
from trainer.training.data import JobData
from trainer.training.jobs.context import ActiveRun
from trainer.training.jobs.memory import explain_out_of_memory
from trainer.training.model_pool import ModelPool
from trainer.training.predict import Predictor
from trainer.training.progress_log import ProgressLog


@dataclass
class FoldState:
    """Where the training of a fold is. A checkpoint holds it with the arrays of the network.

    Attributes:
        fold: the fold that is held out, or NO_FOLD.
        epoch: of the next step, from 0, epochs of the head included.
        step: the next step in its epoch, from 0.
        losses: of the steps of this epoch so far.
        plateau: what the schedule "plateau" has done.
        best: the best monitored score so far, or None.
        best_epoch: its epoch, from 1.
        waited: epochs since the best one.
        stopped: whether training stopped early.
        history: a row for each epoch.
        seconds: spent training.
        device: the devices; they decide the last bits and how many steps an epoch has.
    """

    fold: int
    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    plateau: Plateau = field(default_factory=Plateau)
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    device: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "FoldState":
        """The state that a checkpoint holds as JSON values."""
        return cls(**{**values, "plateau": Plateau(**values["plateau"])})


@dataclass(frozen=True)
class FoldContext:
    """What the folds of a training job share.

    Attributes:
        member: the recipe.
        objective: the ML task, classes, metric and seed.
        data: the images and their labels.
        run: the devices, checkpoints and settings.
        pool: the network and its compiled programs.
        predictor: predicts images with the network.
        log: reports progress.
    """

    member: Member
    objective: Objective
    data: JobData
    run: ActiveRun
    pool: ModelPool
    predictor: Predictor
    log: ProgressLog


class FoldTrainer:
    """Trains one fold. Processes that train together call the same methods at the same places."""

    def __init__(
        self,
        context: FoldContext,
        state: FoldState,
        arrays: Mapping[str, list[np.ndarray]],
        labels: Labels,
    ) -> None:
        """
        Args:
            context: what the folds of a job share.
            state: where to resume; the first step for a new fold.
            arrays: the state of the program there, and `best`, the weights of the best epoch so
                far, if there are any.
            labels: of all labelled images, encoded by this fold's training rows.
        """
        self.context, self.state, self.labels = context, state, labels
        self.member, self.run = context.member, context.run
        self.rows = context.data.training_rows[state.fold]
        self.held_out = context.data.held_out(state.fold)
        self.batch = context.predictor.batch
        self.steps = steps_per_epoch(len(self.rows), self.batch)
        self.epochs = self.member.head_epochs + self.member.epochs
        self.best: list[np.ndarray] = list(arrays.get("best", []))
        self.pending: list[Any] = []
        self.program = self._restored(arrays)
        self.saved = self.resumed = time.monotonic()
        self.seconds_before = state.seconds

    def train(self) -> list[np.ndarray]:
        """Train to the end; returns the weights that predict.

        Raises:
            TrainingError: the loss is not finite, or memory ran out.
            Preempted: the process received SIGTERM; a checkpoint is written.
        """
        state, log = self.state, self.context.log
        log.skip(state.epoch * self.steps + state.step)
        batches = prefetch(
            training_batches(
                self.context.data.images,
                self.labels,
                self.rows,
                self._batch_plan(),
                self.context.predictor.workers,
            )
        )
        try:
            for epoch, step, batch in batches:
                if step == 0 and epoch == self.member.head_epochs and epoch > 0:
                    self._unfreeze()
                self._step(batch, epoch, step)
                log.step(state.fold, epoch, step)
                if step + 1 < self.steps:
                    state.step = step + 1
                else:
                    self._settle()
                    state.epoch, state.step = epoch + 1, 0
                    self._end_epoch(epoch)
                self._checkpoint()
                if state.stopped:
                    break
        finally:
            batches.close()  # type: ignore[attr-defined]  # a generator
        if self.member.validation == "best":
            return self.best
        with averaged_weights(self.program):
            return self._weights()

    def _batch_plan(self) -> BatchPlan:
        state, objective = self.state, self.context.objective
        return BatchPlan(
            augment=self.member.augment,
            batch_size=self.batch,
            seed=fold_seed(objective.seed, self.member.name, state.fold),
            epochs=0 if state.stopped else self.epochs,
            start=(state.epoch, state.step),
            balanced=self.member.sampler == "balanced",
            on_device=self.run.device.augments,
            part=self.run.part,
        )

    def _restored(self, arrays: Mapping[str, list[np.ndarray]]) -> Program:
        pool, epoch, head_epochs = self.context.pool, self.state.epoch, self.member.head_epochs
        if epoch == head_epochs > 0 and self.state.step == 0:
            # Between the head and everything: the checkpoint has the head's optimizer, and
            # everything needs one of its own.
            return pool.begin(arrays[NETWORK], head_only=False)
        program = pool.program(head_only=epoch < head_epochs)
        set_state(program, arrays)
        return program

    def _unfreeze(self) -> None:
        """Switch from the head to everything: the weights stay, the optimizer starts again."""
        self.program = self.context.pool.begin(self._weights(), head_only=False)

    def _weights(self) -> list[np.ndarray]:
        return get_state(self.program)[NETWORK]

    def _step(self, batch: Batch, epoch: int, step: int) -> None:
        with self._explained_memory():
            values = self.program.step(training_arrays(batch), self._rate(epoch, step))
        self.pending.append(values)

    def _rate(self, epoch: int, step: int) -> float:
        member = self.member
        # With a batch size per device the rate grows with the number of devices.
        factor = float(self.run.device.devices) if member.per_device else 1.0
        if epoch < member.head_epochs:
            return member.head_learning_rate * factor
        place = epoch - member.head_epochs + step / self.steps
        highest = member.optimizer.learning_rate
        scheduled = rate(member.schedule, highest, epoch=place, epochs=member.epochs)
        return scheduled * self.state.plateau.factor * factor

    def _settle(self) -> None:
        """Wait for the losses of the steps so far, and stop if one is not finite."""
        with self._explained_memory():
            # JAX raises here, where the values are waited for.
            self.state.losses += [float(np.asarray(values)[0]) for values in self.pending]
        self.pending.clear()
        self.state.seconds = self.seconds_before + time.monotonic() - self.resumed
        if not np.isfinite(self.state.losses).all():
            raise TrainingError(self._not_finite())

    def _checkpoint(self) -> None:
        """Write a checkpoint if one is due, or if the process is asked to stop."""
        state, run = self.state, self.run
        interval = run.context.settings.checkpoint_seconds
        stopping, due = run.stopping(), time.monotonic() - self.saved >= interval
        if run.device.processes > 1:
            # No two clocks agree on a step: processes stop and save at the ends of epochs only.
            due = state.step == 0
            stopping = due and run.any_stopping()
        if stopping:
            self._save()
            raise Preempted(
                f"{self.member.name}, fold {state.fold}: received SIGTERM; a checkpoint is written:"
                " start it again to resume"
            )
        if due and not state.stopped:
            self._save()
            self.saved = time.monotonic()

    def _save(self) -> None:
        self._settle()
        arrays = get_state(self.program)
        if self.best:
            arrays["best"] = self.best
        self.run.checkpoints.save(arrays, dataclasses.asdict(self.state))

    def _end_epoch(self, epoch: int) -> None:
        """Score the epoch, add it to the history, and keep its weights if they are the best."""
        member, state, metric = self.member, self.state, self.context.objective.metric
        last_rate = self._rate(epoch, self.steps - 1)
        loss = float(np.mean(state.losses))
        row: dict[str, Any] = {"fold": state.fold, "epoch": epoch + 1, "loss": loss}
        state.losses = []
        monitor = member.monitor or metric
        if len(self.held_out):
            with averaged_weights(self.program):
                scores = self._evaluate(sorted({metric, monitor} - {"loss"}))
                row |= {f"val_{name}": value for name, value in scores.items()}
                if member.validation == "best":
                    self._keep_best(epoch, monitor, scores[monitor])
            if epoch >= member.head_epochs and member.schedule.kind == "plateau":
                state.plateau.update(
                    member.schedule,
                    scores[monitor],
                    rises=HIGHER_IS_BETTER.get(monitor, False),
                )
        row |= {"learning_rate": last_rate, "seconds": round(state.seconds, 3)}
        state.history.append(row)
        self.context.log.epoch(row)
        self.context.log.tensorboard(state.history, state.fold)

    def _keep_best(self, epoch: int, monitor: str, value: float) -> None:
        state, member = self.state, self.member
        if better(monitor, value, state.best):
            state.best, state.best_epoch, state.waited = value, epoch + 1, 0
            self.best = self._weights()
        else:
            state.waited += 1
        # The epochs of the head do not show what everything will learn.
        state.waited = 0 if epoch < member.head_epochs else state.waited
        state.stopped = bool(member.patience) and state.waited >= member.patience

    def _evaluate(self, metrics: list[str]) -> dict[str, float]:
        """The loss and the scores of the held-out images, unaugmented, over all rows at once."""
        data, predictor = self.context.data, self.context.predictor
        rows, task = self.held_out, self.context.objective.task
        row_loss = losses.of_rows(self.member.loss, exclusive=task == "multiclass")
        values, parts = [], []
        for chunk, pixels in predictor.chunks(data.images, rows):
            logits = predictor.logits(self.program, data.images, self.labels.tabular, chunk, pixels)
            loss = row_loss(self.labels.targets_of(chunk), logits)
            values.append(np.asarray(loss, dtype=np.float64))
            parts.append(predictor.kept(predictor.probabilities_of(logits)))
        rows_to_score = scorable(concatenated(parts), data.targets[rows])
        scores = {metric: available(metric, *rows_to_score) for metric in metrics}
        # A fold that lacks a class has no score of ranks.
        known = {metric: value for metric, value in scores.items() if value is not None}
        return {"loss": float(np.concatenate(values).mean()), **known}

    def _explained_memory(self) -> AbstractContextManager[None]:
        return explain_out_of_memory(memory_advice(self.member, self.batch))

    def _not_finite(self) -> str:
        member, state = self.member, self.state
        name = "all images" if state.fold == NO_FOLD else f"fold {state.fold}"
        rate = member.optimizer.learning_rate
        lower = f"optimizer.learning_rate ({rate:g}), or set schedule.warmup_epochs"
        if state.epoch < member.head_epochs:
            lower = f"head_learning_rate ({member.head_learning_rate:g})"
        loss = next(loss for loss in state.losses if not math.isfinite(loss))
        half = " and precision = 'float32'" if member.precision == "mixed_float16" else ""
        return (
            f"member {member.name!r}, {name}, epoch {state.epoch + 1}: the loss is {loss}: lower "
            f"{lower}, or set optimizer.clip_norm = 1{half}"
        )


def memory_advice(member: Member, batch: int) -> str:
    """What to change if memory runs out."""
    return (
        f"member {member.name!r}: out of memory with {batch} images of {member.side()} pixels a"
        " batch: lower batch_size (and raise optimizer.accumulate by as much), or use a smaller"
        " size or backbone"
    )
