"""A training task: some folds of one member, from data to predictions."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.manifest import atomic_write, read_manifest, write_manifest
from trainer.backends.devices import Device, together
from trainer.backends.program import Engine
from trainer.config.competition import Train
from trainer.config.member import Member
from trainer.config.objective import Artifacts, Objective, fold_seed
from trainer.errors import Preempted, TrainingError
from trainer.events import emit
from trainer.input import batches, labels, tabular
from trainer.metrics import score
from trainer.models.schedules import Plateau
from trainer.training import predict
from trainer.training.checkpoint import Checkpoints
from trainer.training.fold import FoldContext, FoldState, out_of_memory_named
from trainer.training.fold import train as train_fold
from trainer.training.model_pool import ModelPool
from trainer.training.progress_log import ProgressLog


class TrainingJob:
    """Its data, its network, and the loop over its folds."""

    def __init__(
        self,
        member: Member,
        folds: Sequence[int],
        inputs: Artifacts,
        goal: Objective,
        *,
        device: Device,
        checkpoints: Checkpoints,
        settings: Train,
        stopping: Callable[[], bool],
        near: Callable[[str], str],
        out: Path,
    ) -> None:
        about = read_manifest(inputs.records, only=(tables.EXAMPLES,))
        member = dataclasses.replace(member, size=member.size or int(about["sizes"][0]))
        self.member, self.folds, self.goal, self.device = member, list(folds), goal, device
        self.out, self.stopping, self.checkpoints = out, stopping, checkpoints
        self.together = together(device)
        self.numeric = about["numeric"]
        examples = tables.read_examples(inputs.records)
        self.train = examples[examples["split"] == "train"].reset_index(drop=True)
        self.test = examples[examples["split"] == "test"].reset_index(drop=True)
        self.fold_column = tables.fold_of(self.train, tables.read_folds(inputs.folds_table))
        self.rows = {
            fold: np.flatnonzero(tables.training_rows(self.fold_column, fold)) for fold in folds
        }
        batch = _batch(member, device)
        steps = {
            fold: batches.steps_per_epoch(len(rows), batch) for fold, rows in self.rows.items()
        }
        least = min(steps.values()) * member.epochs
        if member.optimizer.accumulate > least:
            raise TrainingError(
                f"member {member.name!r}: optimizer.accumulate = {member.optimizer.accumulate} is"
                f" more than the {least} batches of a whole training: the model would never be"
                " updated; lower it, or batch_size"
            )
        self.images = batches.load(inputs.root, self.train, about, size=member.size)
        self.test_images = batches.load(inputs.root, self.test, about, size=member.size)
        pixels = json.loads(Path(inputs.statistics).read_text(encoding="utf-8"))["pixels"][
            str(member.size)
        ]
        self.networks = ModelPool(member, goal, device, pixels, self.images.channels, near)
        self.watch = ProgressLog(member, folds, steps, goal.metric, None if device.process else out)
        self.workers = batches.Workers(device.threads)
        part = (device.process, device.processes)
        self.setting = FoldContext(
            member=member,
            images=self.images,
            targets=tables.truth(self.train["target"].to_numpy(), len(goal.classes), goal.task),
            task=goal.task,
            metric=goal.metric,
            batch=batch,
            rate_factor=float(device.devices) if member.per_device else 1.0,
            on_device=device.paints,
            part=part,
            workers=self.workers,
            viewer=predict.Viewer(
                self.workers,
                member.augment,
                batch=batch,
                on_device=device.paints,
                part=part,
                seed=fold_seed(goal.seed, member.name, tables.NO_FOLD),
            ),
            checkpoints=checkpoints,
            checkpoint_seconds=settings.checkpoint_seconds,
            together=self.together if device.processes > 1 else None,
            stopping=stopping,
            watch=self.watch,
            engines=self.networks,
        )

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def run(self) -> None:
        """All folds, then the test images by all of them, then the files."""
        held = f"{len(self.train)} labelled and {len(self.test)} test images"
        named = (
            ", ".join(map(str, self.folds))
            if self.folds != [tables.NO_FOLD]
            else "none, all images train"
        )
        emit("note", "train", f"{self.member.name}: folds {named} on {self.device}, {held}")
        finished = {fold: self._finished(fold) for fold in self.folds}
        on_test = self._predict_test()
        oof, test = [], []
        for place, (fold, (of_fold, state)) in enumerate(finished.items()):
            held_out = self.train.iloc[self._held_out(fold)]
            oof.append(
                tables.predictions(held_out, fold, of_fold, self.goal.classes, with_target=True)
            )
            test.append(
                tables.predictions(
                    self.test, fold, on_test[place], self.goal.classes, with_target=False
                )
            )
            # Every process takes part in this, for weights on several hosts are placed together;
            # only the first writes.
            self.networks.load(self._weights(fold))
            if self.device.process:
                continue
            self.watch.tensorboard(state["history"], fold)
            with atomic_write(self.out / tables.model_file(fold)) as partial:
                self.networks.model.save(partial)
            with (
                atomic_write(
                    (self.out / tables.model_file(fold)).with_suffix(tables.SEEN)
                ) as partial,
                open(partial, "wb") as stream,
            ):
                before = self.networks.seen(fold)
                seen = tables.seen_images(self.train.iloc[self.rows[fold]])
                np.save(stream, seen if before is None else np.union1d(seen, before))
        if self.device.process:
            return
        tables.write_parquet(self.out / tables.OOF, pd.concat(oof, ignore_index=True))
        tables.write_parquet(self.out / tables.TEST, pd.concat(test, ignore_index=True))
        rows = [row for _, state in finished.values() for row in state["history"]]
        tables.write_csv(self.out / tables.HISTORY, pd.DataFrame(rows))
        about = {
            "member": self.member.name,
            "task": self.goal.task,
            "folds": self.folds,
            "parameters": self.networks.model.count_params(),
            "device": str(self.device),
            "validation": self.member.validation,
            "epochs": {str(fold): state["epochs"] for fold, (_, state) in finished.items()},
            "views": self.member.tta,
            "libraries": self.device.libraries(),
        }
        write_manifest(self.out, about)

    def _held_out(self, fold: int) -> np.ndarray:
        return np.flatnonzero(self.fold_column == fold)

    def _finished(self, fold: int) -> tuple[np.ndarray, dict[str, Any]]:
        """The out-of-fold probabilities of a fold, and its `history` and `epochs`: of an earlier
        process, or trained here."""
        member, held_out = self.member, self._held_out(fold)
        known = labels.of_fold(member, self.train, self.rows[fold], self.numeric, self.goal)
        before = self.checkpoints.finished(f"fold{fold}")
        if before is not None and before[1]["made_by"] != str(self.device):
            before = None
        if not all(self.together(int(before is not None))):
            before = None
        if before is not None:
            self.watch.skip(self.watch.steps[fold] * self.watch.epochs)
            self.networks.need(fold, known)
            return before[0]["oof"][0], before[1]
        if not len(held_out) and fold != tables.NO_FOLD:
            raise TrainingError(f"fold {fold} holds no image: take fewer folds")
        latest = self.checkpoints.latest(self.together)
        if latest is not None and latest[1]["made_by"] != str(self.device):
            emit(
                "note",
                "train",
                f"warning: a checkpoint was made by {latest[1]['made_by']}; it is left, and"
                " training begins anew",
            )
            latest = None
        if latest is not None and latest[1]["fold"] == fold:
            arrays, kept = latest
            place = FoldState(**{**kept, "plateau": Plateau(**kept["plateau"])})
            emit(
                "note",
                "train",
                f"{member.name} fold {fold}: going on in epoch {place.epoch + 1}, step"
                f" {place.step + 1}",
            )
            self.networks.need(fold, known)
        else:
            self._check_unseen(fold, held_out)
            place, arrays = (
                FoldState(fold, made_by=str(self.device)),
                self.networks.fresh(fold, known),
            )
        seed = fold_seed(self.goal.seed, member.name, fold)
        place, weights = train_fold(
            self.setting, place, arrays, known, self.rows[fold], held_out, seed
        )
        self.networks.load(weights)
        of_fold = self._seen(self.images, [known.tabular], held_out, [self.networks.ready])[0]
        epochs = place.best_epoch if member.validation == "best" else self.watch.epochs
        state = {"history": place.history, "epochs": epochs, "made_by": str(self.device)}
        self.checkpoints.finish(f"fold{fold}", {"model": weights, "oof": [of_fold]}, state)
        if len(held_out):
            value = score(self.goal.metric, self.setting.targets[held_out], of_fold)
            chosen = (
                f", of epoch {epochs}, the best of {len(place.history)}"
                if member.validation == "best"
                else ""
            )
            emit(
                "fold",
                "train",
                f"{member.name} fold {fold}: {self.goal.metric} {value:.4f}{chosen}",
            )
        return of_fold, state

    def _check_unseen(self, fold: int, held_out: np.ndarray) -> None:
        """Stop where the weights to begin with have seen what the fold holds out: its score would
        be none."""
        seen = self.networks.seen(fold)
        if seen is None:
            return
        again = np.flatnonzero(np.isin(tables.image_numbers(self.train.iloc[held_out]), seen))
        if len(again):
            raise TrainingError(
                f"member {self.member.name!r}, fold {fold}: weights = {self.member.weights!r} were"
                f" trained on image {self.train['id'].iloc[held_out[again[0]]]!r}, which this fold"
                f" holds out ({len(again)} such images): say fold{{fold}}.keras, and keep the folds"
                " as they were (folds.file), or take weights from other images"
            )

    def _predict_test(self) -> np.ndarray:
        """(folds, n, classes): each fold's model sees each decoded chunk of images in turn."""

        def placed(fold: int) -> Callable[[], Engine]:
            def ready() -> Engine:
                if any(self.together(int(self.stopping()))):
                    raise Preempted(
                        f"{self.member.name}: asked to end while predicting; its models are kept:"
                        " start it again"
                    )
                self.networks.load(self._weights(fold))
                return self.networks.ready()

            return ready

        # Tabular inputs are encoded by each fold's own training rows.
        encoders = [
            tabular.fit(self.train, self.rows[f], self.member.tabular.columns, self.numeric)
            for f in self.folds
        ]
        columns = [tabular.encode(encoder, self.test) for encoder in encoders]
        return self._seen(
            self.test_images,
            columns,
            np.arange(len(self.test)),
            [placed(fold) for fold in self.folds],
        )

    def _weights(self, fold: int) -> list[np.ndarray]:
        kept = self.checkpoints.finished(f"fold{fold}")
        assert kept is not None, fold  # written by this process, or found whole by it
        return list(kept[0]["model"])

    def _seen(
        self,
        images: batches.Images,
        columns: Sequence[np.ndarray],
        rows: np.ndarray,
        networks: Sequence[Callable[[], Engine]],
    ) -> np.ndarray:
        with out_of_memory_named(self.member, self.setting.batch):
            return self.setting.viewer.probabilities(
                networks,
                images,
                columns,
                rows,
                views=self.member.tta,
                squash=predict.squashing(self.goal.task),
                classes=len(self.goal.classes),
            )


def _batch(member: Member, device: Device) -> int:
    """Images a batch, on all devices together.

    Raises:
        TrainingError: it cannot be cut evenly.
    """
    if member.per_device:
        return member.batch_size * device.devices
    if member.batch_size % device.devices:
        lower = member.batch_size // device.devices * device.devices
        near = f"{lower} or {lower + device.devices}" if lower else str(device.devices)
        raise TrainingError(
            f"member {member.name!r}: batch_size = {member.batch_size} cannot be cut evenly over"
            f" {device.devices} devices: take {near}, or say per_device = true"
        )
    return member.batch_size
