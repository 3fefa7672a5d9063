"""A training job: some folds of one member, from images to predictions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write
from trainer.artifacts.objective import Artifacts, Objective
from trainer.backends.devices import Device
from trainer.backends.program import Program
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.errors import Preempted, TrainingError
from trainer.events import emit
from trainer.input import tabular
from trainer.input.batches import steps_per_epoch
from trainer.input.labels import Labels
from trainer.input.shards import Images
from trainer.input.workers import Workers
from trainer.metrics.candidates import Predicted, arrays_of, of_arrays, scorable
from trainer.metrics.names import needs_every_class
from trainer.metrics.scores import available
from trainer.training import data
from trainer.training.classifier_program import NETWORK
from trainer.training.fold import FoldContext, FoldState, FoldTrainer, memory_advice
from trainer.training.jobs.context import ActiveRun
from trainer.training.jobs.memory import explain_out_of_memory
from trainer.training.model_pool import ModelPool
from trainer.training.predict import Predictor
from trainer.training.progress_log import ProgressLog
from trainer.training.results import FoldResult, write_results, write_seen


class TrainingJob:
    """The data, the network, and the loop over the folds."""

    def __init__(
        self,
        member: Member,
        folds: Sequence[int],
        artifacts: Artifacts,
        objective: Objective,
        run: ActiveRun,
    ) -> None:
        """Arguments as for `trainer.training.fit.train_folds`."""
        size = member.size or data.default_size(artifacts)
        member = dataclasses.replace(member, size=size)
        self.member, self.folds, self.objective, self.active = member, list(folds), objective, run
        self.data = data.load(artifacts, objective, folds, size)
        batch = _batch_size(member, run.device)
        steps = {
            fold: steps_per_epoch(len(rows), batch)
            for fold, rows in self.data.training_rows.items()
        }
        _check_accumulation(member, min(steps.values()) * member.epochs)
        _check_monitor(member, objective, self.data)
        self.pool = ModelPool(
            member,
            objective,
            run.device,
            self.data.pixels,
            self.data.images.channels,
            run.context.local_path,
            # Not of this job's own folds: how folds are split into jobs changes no result.
            len(self.data.train) // batch * (member.head_epochs + member.epochs),
        )
        out = None if run.device.process else run.context.out
        self.log = ProgressLog(member, folds, steps, objective.metric, out)
        self.workers = Workers(run.device.threads)
        self.predictor = Predictor(self.workers, member, objective, run.device, batch)
        self.context = FoldContext(
            member, objective, self.data, run, self.pool, self.predictor, self.log
        )

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def run(self) -> None:
        """Train all folds, predict the test images with each model, and write the files."""
        images = f"{len(self.data.train)} labelled and {len(self.data.test)} test images"
        folds = "none, all images train"
        if self.folds != [NO_FOLD]:
            folds = ", ".join(map(str, self.folds))
        device = self.active.device
        emit("note", "train", f"{self.member.name}: folds {folds} on {device}, {images}")
        finished = {fold: self._finished(fold) for fold in self.folds}
        on_test = self._predict_test()
        results = []
        for place, (fold, (probabilities, state)) in enumerate(finished.items()):
            # All processes take part, as weights on several hosts are placed together; only the
            # first one writes.
            self.pool.load(self._weights(fold))
            results.append(FoldResult(fold, probabilities, on_test[place], state))
            if not device.process:
                self._write_model(fold, state["history"])
        if not device.process:
            about = {
                "parameters": self.pool.model.count_params(),
                "device": str(device),
                "libraries": device.libraries(),
                "models": [tables.model_file(fold) for fold in self.folds],
            }
            out = self.active.context.out
            write_results(out, self.member, self.objective, self.data, results, about)

    def _write_model(self, fold: int, history: Sequence[Mapping[str, Any]]) -> None:
        """Write a fold's model, the images that it was trained on, and its learning curves."""
        self.log.tensorboard(history, fold)
        path = self.active.context.out / tables.model_file(fold)
        with atomic_write(path) as partial:
            self.pool.model.save(partial)
        seen = tables.seen_images(self.data.train.iloc[self.data.training_rows[fold]])
        before = self.pool.seen_images(fold)
        write_seen(path, seen if before is None else np.union1d(seen, before))

    def _finished(self, fold: int) -> tuple[Predicted, dict[str, Any]]:
        """A fold's out-of-fold probabilities, and its `history` and `epochs`.

        From an earlier process if it finished the fold, otherwise trained here.
        """
        run, held_out = self.active, self.data.held_out(fold)
        fold_labels = self.data.labels(fold, self.member, self.objective)
        kept = run.checkpoints.finished(f"fold{fold}")
        if kept is not None and kept.state["device"] != str(run.device):
            kept = None
        if not all(run.all_gather(int(kept is not None))):
            kept = None
        if kept is not None:
            self.log.skip(self.log.steps[fold] * self.log.epochs)
            self.pool.ensure_model(fold, fold_labels)
            return of_arrays(kept.arrays["oof"], len(self.objective.classes)), kept.state
        if not len(held_out) and fold != NO_FOLD:
            raise TrainingError(f"fold {fold} holds out no image: use fewer folds")
        trainer = self._trainer(fold, fold_labels)
        weights = trainer.train()
        program = self.pool.load(weights)
        columns = [fold_labels.tabular]
        (predicted,) = self._predict(self.data.images, columns, held_out, [lambda: program])
        best = self.member.validation == "best"
        state = {
            "history": trainer.state.history,
            "epochs": trainer.state.best_epoch if best else self.log.epochs,
            "device": str(run.device),
        }
        arrays = {NETWORK: weights, "oof": arrays_of(predicted)}
        run.checkpoints.finish(f"fold{fold}", arrays, state)
        self._report(fold, predicted, state)
        return predicted, state

    def _trainer(self, fold: int, fold_labels: Labels) -> FoldTrainer:
        """The trainer of a fold, at its last checkpoint if there is one."""
        run, name = self.active, self.member.name
        latest = run.checkpoints.latest(run.all_gather)
        if latest is not None and latest.state["device"] != str(run.device):
            emit(
                "note",
                "train",
                "warning: ignoring a checkpoint from another device "
                f"({latest.state['device']}); training restarts",
            )
            latest = None
        if latest is None or latest.state["fold"] != fold:
            self._check_unseen(fold)
            state = FoldState(fold, device=str(run.device))
            arrays = self.pool.fresh(fold, fold_labels)
        else:
            state, arrays = FoldState.of(latest.state), latest.arrays
            place = f"epoch {state.epoch + 1}, step {state.step + 1}"
            emit("note", "train", f"{name} fold {fold}: resuming from {place}")
            self.pool.ensure_model(fold, fold_labels)
        return FoldTrainer(self.context, state, arrays, fold_labels)

    def _report(self, fold: int, predicted: Predicted, state: Mapping[str, Any]) -> None:
        held_out = self.data.held_out(fold)
        if not len(held_out):
            return
        metric = self.objective.metric
        value = available(metric, *scorable(predicted, self.data.targets[held_out]))
        shown = "none, it lacks a class" if value is None else f"{value:.4f}"
        text = f"{self.member.name} fold {fold}: {metric} {shown}"
        if self.member.validation == "best":
            text += f", of epoch {state['epochs']}, the best of {len(state['history'])}"
        emit("fold", "train", text)

    def _check_unseen(self, fold: int) -> None:
        """Stop if the initial weights were trained on an image that the fold holds out."""
        seen = self.pool.seen_images(fold)
        if seen is None:
            return
        held_out = self.data.train.iloc[self.data.held_out(fold)]
        leaked = np.flatnonzero(np.isin(tables.image_numbers(held_out), seen))
        if len(leaked):
            raise TrainingError(
                f"member {self.member.name!r}, fold {fold}: weights = {self.member.weights!r} were "
                f"trained on image {held_out['id'].iloc[leaked[0]]!r}, which this fold holds out "
                f"({len(leaked)} such images): name fold{{fold}}.keras and keep the folds as they "
                "were (folds.file), or use weights from other images"
            )

    def _predict_test(self) -> list[Predicted]:
        """Test probabilities of each fold's model."""

        def program_of(fold: int) -> Callable[[], Program]:
            def load() -> Program:
                if self.active.any_stopping():
                    raise Preempted(
                        f"{self.member.name}: received SIGTERM while predicting; its models are "
                        "kept: start it again to resume"
                    )
                return self.pool.load(self._weights(fold))

            return load

        # Tabular inputs are encoded by each fold's own training rows.
        names, numeric = self.member.tabular.columns, self.data.numeric
        encoders = [
            tabular.fit(self.data.train, self.data.training_rows[fold], names, numeric)
            for fold in self.folds
        ]
        columns = [tabular.encode(encoder, self.data.test) for encoder in encoders]
        rows = np.arange(len(self.data.test))
        programs = [program_of(fold) for fold in self.folds]
        return self._predict(self.data.test_images, columns, rows, programs)

    def _weights(self, fold: int) -> list[np.ndarray]:
        kept = self.active.checkpoints.finished(f"fold{fold}")
        assert kept is not None, fold  # this process wrote it, or found it complete
        return list(kept.arrays[NETWORK])

    def _predict(
        self,
        images: Images,
        columns: Sequence[np.ndarray],
        rows: np.ndarray,
        programs: Sequence[Callable[[], Program]],
    ) -> list[Predicted]:
        with explain_out_of_memory(memory_advice(self.member, self.predictor.batch)):
            return self.predictor.probabilities(programs, images, columns, rows)


def _batch_size(member: Member, device: Device) -> int:
    """Images per batch, on all devices together.

    Raises:
        TrainingError: the devices cannot share it evenly.
    """
    if member.per_device:
        return member.batch_size * device.devices
    if member.batch_size % device.devices:
        lower = member.batch_size // device.devices * device.devices
        even = f"{lower} or {lower + device.devices}" if lower else str(device.devices)
        raise TrainingError(
            f"member {member.name!r}: batch_size = {member.batch_size} cannot be split evenly over "
            f"{device.devices} devices: use {even}, or set per_device = true"
        )
    return member.batch_size


def _check_monitor(member: Member, objective: Objective, job_data: data.JobData) -> None:
    """Check that every fold, also those of other jobs, has the score that chooses its best epoch.

    Raises:
        TrainingError: a fold lacks a class that the score needs.
    """
    monitor = member.monitor or objective.metric
    if member.validation != "best" or not needs_every_class(monitor):
        return
    classes = len(objective.classes)
    for fold in np.unique(job_data.folds[job_data.folds >= 0]).tolist():
        targets = job_data.train["target"].to_numpy()[job_data.held_out(fold)]
        numbers = tables.pairs(targets, classes, objective.task)[1]
        images = np.bincount(numbers, minlength=classes)
        lacking = np.flatnonzero((images == 0) | (images == len(targets)))
        if len(lacking):
            raise TrainingError(
                f"member {member.name!r}: validation = 'best' compares {monitor} on the held-out"
                f" fold, but none or all of the images of fold {fold} are of class"
                f" {objective.classes[lacking[0]]!r}: set monitor = 'loss', or use fewer folds"
            )


def _check_accumulation(member: Member, batches: int) -> None:
    accumulate = member.optimizer.accumulate
    if accumulate > batches:
        raise TrainingError(
            f"member {member.name!r}: optimizer.accumulate = {accumulate} exceeds the {batches} "
            "batches of the whole training, so the model would never be updated: lower it, or "
            "batch_size"
        )
