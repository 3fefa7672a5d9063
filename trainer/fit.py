"""Train one member on some of its folds, and predict what each model has not seen."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trainer import accelerator, tables
from trainer.competition import Member
from trainer.errors import TrainingError
from trainer.manifest import read_manifest, whole_file, write_manifest
from trainer.metrics import score
from trainer.progress import clock, tell

if TYPE_CHECKING:
    from trainer.dataset import Images


def fold_seed(seed: int, member: str, fold: int) -> int:
    """The seed of one model, in 0 to 2**31 - 1: it depends on nothing but these three."""
    digest = hashlib.sha256(f"{seed}/{member}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def train_folds(
    member: Member,
    folds: Sequence[int],
    *,
    records: str | Path,
    root: str | Path,
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
        root: the local folder that its shards lie below.
        folds_table: `folds.csv`.
        statistics: `statistics.json`, which has the pixel statistics of each fold's training images.
        classes: the class names in order.
        metric: what is told at the end of each fold.
        seed: of the competition.
        out: the folder to write: oof.parquet, test.parquet, history.csv, fold<k>.keras for each fold, manifest.json.

    Raises:
        IntegrityError: an input is damaged. TrainingError: a fold is smaller than one batch, or its loss is not finite.
    """
    device, threads = accelerator.prepare()
    # After `prepare`: it imports TensorFlow.
    from trainer import dataset

    out = Path(out)
    about = read_manifest(records, only=(tables.EXAMPLES,))
    size = member.size or int(min(about["sizes"]))
    shape: dict[str, int] = {"classes": len(classes), "size": size, "channels": int(about["channels"])}
    pixels = json.loads(Path(statistics).read_text(encoding="utf-8"))["pixels"][str(size)]["folds"]
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"].reset_index(drop=True)
    test = examples[examples["split"] == "test"].reset_index(drop=True)
    fold_column = tables.fold_of(train, tables.read_folds(folds_table))
    train_images, test_images = (dataset.load(root, split, about, classes=len(classes), size=size) for split in (train, test))
    tell(
        "note",
        "train",
        f"{member.name}: folds {', '.join(map(str, folds))} on {device} with {threads} thread{'s' * (threads > 1)}, "
        f"{len(train)} labelled and {len(test)} test images",
    )
    networks, watch = _Networks(member, shape), _Watch(member, folds)
    oof, predictions = [], []
    for fold in folds:
        rows = np.flatnonzero(tables.training_rows(fold_column, fold))
        held_out = np.flatnonzero(fold_column == fold)
        network = networks.fresh(fold_seed(seed, member.name, fold), pixels[str(fold)], training_images=len(rows))
        of_fold, of_test = _train_fold(
            network,
            member,
            train_images,
            rows,
            held_out,
            test_images,
            fold_seed(seed, member.name, fold),
            threads,
            watch.of(fold),
        )
        oof.append(tables.predictions(train.iloc[held_out], fold, of_fold, classes, with_target=True))
        predictions.append(tables.predictions(test, fold, of_test, classes, with_target=False))
        with whole_file(out / f"fold{fold}.keras") as partial:
            network.save(partial)
        value = score(metric, train_images.targets[held_out], of_fold)
        tell("fold", "train", f"{member.name} fold {fold}: {metric} {value:.4f}")

    tables.write_parquet(out / tables.OOF, pd.concat(oof, ignore_index=True))
    tables.write_parquet(out / tables.TEST, pd.concat(predictions, ignore_index=True))
    tables.write_csv(out / tables.HISTORY, pd.DataFrame(watch.rows))
    write_manifest(out, {"member": member.name, "folds": list(folds), "parameters": network.count_params(), "device": device})


def _train_fold(
    network: Any,
    member: Member,
    images: "Images",
    rows: np.ndarray,
    held_out: np.ndarray,
    test_images: "Images",
    seed: int,
    threads: int,
    callback: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a fresh network on `rows`; the probabilities of the `held_out` images and of the test images, (n, classes) each."""
    from trainer import dataset, predict

    held_out_batches = dataset.plain_batches(images, held_out, batch_size=predict.BATCH, threads=threads)
    network.fit(
        dataset.training_batches(
            images,
            rows,
            augment=member.augment,
            batch_size=member.batch_size,
            epochs=member.epochs,
            seed=seed,
            threads=threads,
        ),
        epochs=member.epochs,
        steps_per_epoch=dataset.steps_per_epoch(len(rows), member.batch_size),
        validation_data=held_out_batches,
        verbose=0,
        # The batches are shuffled already, by the seed.
        shuffle=False,
        callbacks=[callback],
    )
    all_test = np.arange(len(test_images.encoded))
    test_batches = dataset.plain_batches(test_images, all_test, batch_size=predict.BATCH, threads=threads)
    return predict.probabilities(network, held_out_batches), predict.probabilities(network, test_batches)


class _Networks:
    """A compiled network for each fold of a task, its graph traced once for all folds of one length."""

    def __init__(self, member: Member, shape: dict[str, int]) -> None:
        self.member = member
        self.shape = shape
        self.compiled: dict[int, tuple[Any, list[np.ndarray]]] = {}

    def fresh(self, seed: int, pixels: dict[str, Any], *, training_images: int) -> Any:
        """The network with initial weights by `seed`, standardising by `pixels` (mean and std), as if newly compiled."""
        from trainer import dataset, model

        built = model.build(
            self.member, mean=np.asarray(pixels["mean"]), std=np.asarray(pixels["std"]), seed=seed, **self.shape
        )
        # The learning-rate schedule is part of the graph and knows the steps of an epoch.
        steps = dataset.steps_per_epoch(training_images, self.member.batch_size)
        if steps not in self.compiled:
            model.compile_for(built, self.member, steps_per_epoch=steps)
            self.compiled[steps] = (built, [variable.numpy() for variable in built.optimizer.variables])
            return built
        # Weights, statistics and the state of the dropout are all variables: they move into the compiled network.
        network, optimizer_start = self.compiled[steps]
        for variable, value in zip(network.variables, built.variables, strict=True):
            variable.assign(value)
        for variable, start in zip(network.optimizer.variables, optimizer_start, strict=True):
            variable.assign(start)
        return network


class _Watch:
    """Tells of each epoch and keeps the history; knows how much of the task is left."""

    def __init__(self, member: Member, folds: Sequence[int]) -> None:
        self.member = member
        self.folds = list(folds)
        self.rows: list[dict[str, float]] = []
        self.started = time.monotonic()

    def of(self, fold: int) -> Any:
        """A Keras callback for one fold."""
        import keras

        return keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: self.epoch_ended(fold, epoch, logs or {}))

    def epoch_ended(self, fold: int, epoch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"member {self.member.name!r}, fold {fold}, epoch {epoch + 1}: the loss is {logs['loss']}: "
                f"lower learning_rate ({self.member.learning_rate:g}), or raise warmup_epochs"
            )
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
        )
