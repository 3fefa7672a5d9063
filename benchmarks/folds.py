"""Folds: balance against scikit-learn's StratifiedGroupKFold on several shapes of data, and a
million rows.

    python benchmarks/folds.py > benchmarks/results.md

Spread is what scikit-learn's splitter minimises: the standard deviation over folds of each class's
share, a mean over classes. Times are of one process in one run; what to trust is their ratio."""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import StratifiedGroupKFold

from components.folds.groups import merged
from components.folds.strata import strata
from components.folds.stratify import assign

FOLDS = 5


def shapes() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name to (targets, groups), in the shapes of real competitions."""
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 2000, 33_000)
    persons = np.repeat(np.arange(2700), 7)
    return {
        "33,000 images of 2,000 patients, 1.8 % positive": (
            (generator.random(33_000) < 0.018).astype(int),
            patients,
        ),
        "18,900 images of 2,700 persons, 7 a person, 18 classes": (
            persons * 7 % 6 * 3 + np.tile([0, 1, 2, 0, 0, 0, 0], 2700),
            persons,
        ),
        "12,753 images, 104 classes of very different size, no groups": (
            generator.zipf(1.3, 12_753) % 104,
            np.arange(12_753),
        ),
        "20,000 images, groups from 1 to thousands (Zipf), 10 classes": (
            generator.integers(0, 10, 20_000),
            generator.zipf(1.6, 20_000) % 3000,
        ),
        "600 images of 60 groups, each of one class": (lambda groups: (groups % 5, groups))(
            generator.integers(0, 60, 600)
        ),
        "1,000 images, one group half of them": (
            generator.integers(0, 3, 1000),
            np.concatenate([np.zeros(500, dtype=int), np.arange(1, 501)]),
        ),
    }


def ours(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The folds step's way, group column and all."""
    whole = merged(groups.astype(str))
    rows = pd.DataFrame({"target": targets, "external": ""})
    return assign(
        strata(rows, whole, targets[:, None] == np.arange(targets.max() + 1)),
        whole,
        count=FOLDS,
        seed=0,
    )


def theirs(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """scikit-learn's."""
    folds = np.empty(len(targets), dtype=int)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(splitter.split(targets, targets, groups)):
        folds[held_out] = number
    return folds


def spread(targets: np.ndarray, folds: np.ndarray) -> float:
    """In percent of a class's images."""
    table = np.zeros((FOLDS, targets.max() + 1))
    np.add.at(table, (folds, targets), 1)
    table = table[:, table.sum(axis=0) > 0]
    return float(100 * (table / table.sum(axis=0)).std(axis=0).mean())


def timed(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    targets: np.ndarray,
    groups: np.ndarray,
) -> tuple[np.ndarray, float]:
    """The result and the processor seconds of one call."""
    started = time.process_time()
    return function(targets, groups), time.process_time() - started


def main() -> None:
    """Print the tables."""
    print(
        "# Benchmarks\n\nMade by `make bench`. Times vary from run to run and machine to machine;"
        " their ratios much less.\n"
    )
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"scikit-learn {sklearn.__version__}\n"
    )
    print(f"## {FOLDS} folds, against StratifiedGroupKFold\n")
    print(
        "| data | spread, ours | spread, scikit-learn | seconds, ours | seconds, scikit-learn |"
        " times faster |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    worse = []
    for name, (targets, groups) in shapes().items():
        (mine, seconds), (other, others_seconds) = (
            timed(way, targets, groups) for way in (ours, theirs)
        )
        here, there = spread(targets, mine), spread(targets, other)
        print(
            f"| {name} | {here:.3f} % | {there:.3f} % | {seconds:.2f} | {others_seconds:.2f} |"
            f" {others_seconds / seconds:.0f} |"
        )
        if here > there + 1e-9:
            worse.append(name)
    generator = np.random.default_rng(1)
    targets, groups = (
        generator.integers(0, 20, 1_000_000),
        generator.integers(0, 100_000, 1_000_000),
    )
    folds, seconds = timed(ours, targets, groups)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "linux" else 1024**3
    )
    print("\n## A million rows in 100,000 groups, 20 classes\n")
    print(
        f"{seconds:.1f} s of one core, {peak:.2f} GB at the peak of the whole process, spread"
        f" {spread(targets, folds):.4f} %."
    )
    if worse:
        sys.exit(f"less even than scikit-learn: {'; '.join(worse)}")


if __name__ == "__main__":
    main()
