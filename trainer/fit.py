"""Train one member on some of its folds, and predict what each model has not seen."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainer import accelerator, tables
from trainer.competition import Member
from trainer.manifest import read_manifest, whole_file, write_manifest
from trainer.metrics import score
from trainer.progress import clock, tell


def fold_seed(seed: int, member: str, fold: int) -> int:
    """The seed of one model, in 0 to 2**31 - 1: it depends on nothing but these three."""
    digest = hashlib.sha256(f"{seed}/{member}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def train_folds(
    member: Member,
    folds: Sequence[int],
    *,
    records: str | Path,
    folds_table: str | Path,
    statistics: str | Path,
    classes: Sequence[str],
    metric: str,
    seed: int,
    out: str | Path,
) -> None:
    """Train a model for each of `folds` on the images of the other folds; predict its own fold and the test images.

    Test images are decoded once a model and no id is inferred from an order: every row carries the id of its record.

    Args:
        member: the recipe.
        folds: the folds to train, each at most once.
        records: a records folder, whole by its manifest.
        folds_table: `folds.csv`.
        statistics: `statistics.json`, which has the pixel statistics of each fold's training images.
        classes: the class names in order.
        metric: what is told at the end of each fold.
        seed: of the competition.
        out: the folder to write: oof.parquet, test.parquet, history.csv, fold<k>.keras for each fold, manifest.json.

    Raises:
        IntegrityError: an input is damaged. DataError: a fold is smaller than one batch.
    """
    device, threads = accelerator.prepare()
    # After `prepare`: these import TensorFlow and Keras.
    from trainer import dataset, model, predict

    out = Path(out)
    about = read_manifest(records)
    shape: dict[str, int] = {"classes": len(classes), "size": int(about["size"]), "channels": int(about["channels"])}
    pixels = json.loads(Path(statistics).read_text(encoding="utf-8"))["folds"]
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"].reset_index(drop=True)
    test = examples[examples["split"] == "test"].reset_index(drop=True)
    fold_column = tables.fold_of(train, tables.read_folds(folds_table))
    train_images, test_images = dataset.load(records, train, **shape), dataset.load(records, test, **shape)
    threads_text = f"{threads} thread" + "s" * (threads > 1)
    tell(
        "note",
        "train",
        f"{member.name}: folds {', '.join(map(str, folds))} on {device} with {threads_text}, "
        f"{len(train)} labelled and {len(test)} test images",
    )

    watch = _Watch(member, folds)
    compiled: dict[int, tuple[Any, list[np.ndarray]]] = {}
    oof, predictions = [], []
    for fold in folds:
        seed_here = fold_seed(seed, member.name, fold)
        fresh = model.build(
            member,
            mean=np.asarray(pixels[str(fold)]["mean"]),
            std=np.asarray(pixels[str(fold)]["std"]),
            seed=seed_here,
            **shape,
        )
        rows, held_out = np.flatnonzero(fold_column != fold), np.flatnonzero(fold_column == fold)
        steps = dataset.steps_per_epoch(len(rows), member.batch_size)
        if steps not in compiled:
            model.compile_for(fresh, member, steps_per_epoch=steps)
            compiled[steps] = (fresh, [variable.numpy() for variable in fresh.optimizer.variables])
        # The graph is traced once for folds of one length: a later fold moves into the first one's model.
        network, optimizer_start = compiled[steps]
        if network is not fresh:
            _become(network, fresh, optimizer_start)
        held_out_batches = dataset.plain_batches(train_images, held_out, batch_size=predict.BATCH, threads=threads)
        network.fit(
            dataset.training_batches(
                train_images,
                rows,
                augment=member.augment,
                batch_size=member.batch_size,
                epochs=member.epochs,
                seed=seed_here,
                threads=threads,
            ),
            epochs=member.epochs,
            steps_per_epoch=steps,
            validation_data=held_out_batches,
            verbose=0,
            # The batches are shuffled already, by the seed.
            shuffle=False,
            callbacks=[watch.callback(fold)],
        )
        probabilities = predict.probabilities(network, held_out_batches)
        oof.append(tables.predictions(train.iloc[held_out], fold, probabilities, classes, with_target=True))
        test_batches = dataset.plain_batches(test_images, np.arange(len(test)), batch_size=predict.BATCH, threads=threads)
        test_probabilities = predict.probabilities(network, test_batches)
        predictions.append(tables.predictions(test, fold, test_probabilities, classes, with_target=False))
        with whole_file(out / f"fold{fold}.keras") as partial:
            network.save(partial)
        value = score(metric, train_images.targets[held_out], probabilities)
        tell("fold", "train", f"{member.name} fold {fold}: {metric} {value:.4f}", member=member.name, fold=fold, value=value)

    tables.write_parquet(out / tables.OOF, pd.concat(oof, ignore_index=True))
    tables.write_parquet(out / tables.TEST, pd.concat(predictions, ignore_index=True))
    tables.write_csv(out / tables.HISTORY, pd.DataFrame(watch.rows))
    write_manifest(out, {"member": member.name, "folds": list(folds), "parameters": network.count_params(), "device": device})


def _become(network: Any, fresh: Any, optimizer_start: Sequence[np.ndarray]) -> None:
    """Give a compiled model every variable of a fresh one (weights, statistics, dropout state), and a fresh optimizer."""
    for variable, value in zip(network.variables, fresh.variables, strict=True):
        variable.assign(value)
    for variable, start in zip(network.optimizer.variables, optimizer_start, strict=True):
        variable.assign(start)


class _Watch:
    """Tells of each epoch and keeps the history; knows how much of the task is left."""

    def __init__(self, member: Member, folds: Sequence[int]) -> None:
        self.member = member
        self.folds = list(folds)
        self.rows: list[dict[str, float]] = []
        self.started = time.monotonic()

    def callback(self, fold: int) -> Any:
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self.epoch_ended(fold, epoch, logs or {}))

    def epoch_ended(self, fold: int, epoch: int, logs: dict[str, float]) -> None:
        elapsed = time.monotonic() - self.started
        done = len(self.rows) + 1
        left = elapsed / done * (self.member.epochs * len(self.folds) - done)
        self.rows.append({"fold": fold, "epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}, "seconds": elapsed})
        tell(
            "epoch",
            "train",
            f"{self.member.name} fold {fold} ({self.folds.index(fold) + 1} of {len(self.folds)})  "
            f"epoch {epoch + 1}/{self.member.epochs}  loss {logs['loss']:.4f}  "
            f"val_accuracy {logs['val_accuracy']:.4f}  {clock(left)} left",
            member=self.member.name,
            left=left,
        )
