"""Benchmark defaults of training: each against what else it could be, over seeds and data sets.

    npm pack emoji-datasource-google && tar xzf emoji-datasource-google-*.tgz
    python benchmarks/defaults.py package

A row is a data set and a network; each seed trains all variants on the same folds, and the
differences from Foldline's own default are paired by seed. Every training is a process of its own
with one thread; THREADS of them run side by side.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from scipy import stats

from components.folds.make_folds import write_folds
from components.records.convert import convert
from components.records.merge import join
from components.statistics.summary import statistics
from pipelines.competitions import digits, emoji
from trainer.artifacts import tables
from trainer.artifacts.objective import Artifacts, Objective
from trainer.config.data import Data
from trainer.config.member import Member, Optimizer, Schedule
from trainer.config.preparation import Folds, Records
from trainer.models import normalisation
from trainer.training.fit import train_folds
from trainer.training.jobs.context import RunContext

SEEDS, THREADS = 3, 2
NETWORKS = ("EfficientNetB0", "MobileNetV2")
# Of 5,000 digits: as few as a first try has.
DIGITS = 1500
SIZES = {"digits": 32, "emoji": 64}
CLASSES = {"digits": [str(digit) for digit in range(10)], "emoji": list(emoji.CLASSES.values())}
OURS, LIBRARY = "ours", "the library's"
# The momentum of batch normalisation, by variant; None leaves the network's own.
MOMENTUM: dict[str, Callable[[int], float] | None] = {
    OURS: normalisation.momentum,
    LIBRARY: None,
    "0.9": lambda steps: 0.9,
}


def prepare(name: str, package: Path | None, folder: Path) -> None:
    """Write records, three folds and statistics of a data set."""
    if name == "digits":
        digits.main(folder / "source")
        rows = pd.read_csv(folder / "source" / "train.csv").sample(DIGITS, random_state=0)
        rows.to_csv(folder / "train.csv", index=False)
        data = Data(source="pixels", train=str(folder / "train.csv"), target="label")
    else:
        assert package is not None
        emoji.main(package, folder / "source")
        data = Data(source="files", root=str(folder / "source"), images="{class}/{id}.png")
    records, classes = Records(sizes=[SIZES[name]]), CLASSES[name]
    convert(data, records, classes=classes, part=0, out=folder / "part")
    join([folder / "part"], data, records, classes=classes, out=folder / "records")
    dealt, audit = folder / "folds.csv", folder / "audit.json"
    write_folds(
        folder / "records", Folds(count=3), seed=1, classes=classes, out=dealt, audit_out=audit
    )
    statistics(folder / "records", dealt, audit, classes=classes, out=folder / "statistics.json")


def train(folder: Path, network: str, variant: str, seed: int, epochs: int) -> float:
    """Train on two folds; returns the accuracy on the third."""
    momentum = MOMENTUM[variant]
    with (
        mock.patch.object(normalisation, "set_momentum")
        if momentum is None
        else mock.patch.object(normalisation, "momentum", momentum)
    ):
        return _trained(folder, network, seed, epochs)


def _trained(folder: Path, network: str, seed: int, epochs: int) -> float:
    member = Member(
        name="m",
        backbone=network,
        size=SIZES[folder.name],
        epochs=epochs,
        batch_size=32,
        optimizer=Optimizer(learning_rate=1e-3),
        schedule=Schedule(warmup_epochs=1),
    )
    artifacts = Artifacts(
        records=folder / "records",
        root=folder / "records",
        folds_table=folder / "folds.csv",
        statistics=folder / "statistics.json",
    )
    goal = Objective(task="multiclass", classes=CLASSES[folder.name], metric="accuracy", seed=seed)
    with tempfile.TemporaryDirectory() as out:
        train_folds(member, [0], artifacts, goal, RunContext(out=Path(out)))
        history = tables.read_history(Path(out) / tables.HISTORY)
    return float(history["val_accuracy"].iloc[-1])


def paired(values: Sequence[float]) -> str:
    """Return the mean of paired differences and its 95 % interval by Student's t."""
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return f"{mean:+.3f} ({mean - reach:+.3f} to {mean + reach:+.3f})"


def main(package: Path | None, names: Sequence[str], epochs: int) -> None:
    """Train everything, and print the table."""
    with tempfile.TemporaryDirectory(prefix="foldline-") as scratch:
        for name in names:
            prepare(name, package, Path(scratch) / name)
        jobs = list(itertools.product(range(SEEDS), names, NETWORKS, MOMENTUM))

        def trained(job: tuple[int, str, str, str]) -> float:
            seed, name, network, variant = job
            arguments = [str(Path(scratch) / name), network, variant, str(seed), str(epochs)]
            done = subprocess.run(
                [sys.executable, __file__, "--train", *arguments],
                env={**os.environ, "FOLDLINE_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            value: float = json.loads(done.stdout.splitlines()[-1])
            print("[job]", *job, value, file=sys.stderr, flush=True)
            return value

        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(zip(jobs, pool.map(trained, jobs), strict=True))
    print(f"## Momentum of batch normalisation: {epochs} epochs from scratch, {SEEDS} seeds\n")
    print("Accuracy of the last epoch; in brackets the paired difference from ours.\n")
    print("| data | network | " + " | ".join(MOMENTUM) + " |")
    print("| --- | --- |" + " ---: |" * len(MOMENTUM))
    for name, network in itertools.product(names, NETWORKS):
        own = [found[seed, name, network, OURS] for seed in range(SEEDS)]
        cells = []
        for variant in MOMENTUM:
            values = [found[seed, name, network, variant] for seed in range(SEEDS)]
            differences = [value - ours for value, ours in zip(values, own, strict=True)]
            more = "" if variant == OURS else f" [{paired(differences)}]"
            cells.append(f"{np.mean(values):.3f}{more}")
        print(f"| {name} | {network} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        path, network, variant, seed, epochs = sys.argv[2:]
        print(json.dumps(train(Path(path), network, variant, int(seed), int(epochs))))
    else:
        parser = argparse.ArgumentParser(description="Benchmark defaults of training.")
        parser.add_argument(
            "package",
            type=Path,
            nargs="?",
            help="the unpacked emoji-datasource-google; without it, digits alone",
        )
        parser.add_argument("--epochs", type=int, default=6)
        options = parser.parse_args()
        data_sets = sorted(SIZES) if options.package else ["digits"]
        main(options.package, data_sets, options.epochs)
