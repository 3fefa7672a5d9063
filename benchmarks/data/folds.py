"""Benchmark fold assignment: balance against StratifiedGroupKFold, and the time for a million rows.

    python benchmarks/data/folds.py

Spread is the quantity that scikit-learn's StratifiedGroupKFold minimises: the standard deviation
over folds of each class's share, averaged over classes. Times are from one run in one process:
compare their ratios, not the seconds. The output starts the file that `make bench` writes,
benchmarks/results.md.
"""

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
    """Return (targets, groups) by name, each (rows,) int64, in the shapes of real competitions."""
    generator = np.random.default_rng(0)
    patients = generator.integers(0, 2000, 33_000)
    people = np.repeat(np.arange(2700), 7)
    return {
        "33,000 images of 2,000 patients, 1.8 % positive": (
            (generator.random(33_000) < 0.018).astype(int),
            patients,
        ),
        "18,900 images of 2,700 people, 7 per person, 18 classes": (
            people * 7 % 6 * 3 + np.tile([0, 1, 2, 0, 0, 0, 0], 2700),
            people,
        ),
        "12,753 images, 104 classes of very different sizes, no groups": (
            generator.zipf(1.3, 12_753) % 104,
            np.arange(12_753),
        ),
        "20,000 images, groups from 1 to thousands (Zipf), 10 classes": (
            generator.integers(0, 10, 20_000),
            generator.zipf(1.6, 20_000) % 3000,
        ),
        "600 images in 60 groups, one class per group": (lambda groups: (groups % 5, groups))(
            generator.integers(0, 60, 600)
        ),
        "1,000 images, half of them in one group": (
            generator.integers(0, 3, 1000),
            np.concatenate([np.zeros(500, dtype=int), np.arange(1, 501)]),
        ),
    }


def ours(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Assign each row to a fold as the folds step does, including the merging of groups."""
    merged_groups = merged(groups.astype(str))
    rows = pd.DataFrame({"target": targets, "external": ""})
    return assign(
        strata(rows, merged_groups, targets[:, None] == np.arange(targets.max() + 1)),
        merged_groups,
        count=FOLDS,
        seed=0,
    )


def theirs(targets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Assign each row to a fold with scikit-learn's StratifiedGroupKFold."""
    folds = np.empty(len(targets), dtype=int)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(splitter.split(targets, targets, groups)):
        folds[held_out] = number
    return folds


def spread(targets: np.ndarray, folds: np.ndarray) -> float:
    """Return the spread in percent of a class's images."""
    counts = np.zeros((FOLDS, targets.max() + 1))
    np.add.at(counts, (folds, targets), 1)
    counts = counts[:, counts.sum(axis=0) > 0]
    return float(100 * (counts / counts.sum(axis=0)).std(axis=0).mean())


def timed(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    targets: np.ndarray,
    groups: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return the folds from one call of `function`, and its processor seconds."""
    started = time.process_time()
    return function(targets, groups), time.process_time() - started


def main() -> None:
    """Print the tables."""
    print(
        "# Benchmarks\n\nWritten by `make bench`. Times vary between runs and machines; their"
        " ratios vary much less.\n"
    )
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"scikit-learn {sklearn.__version__}\n"
    )
    print(f"## {FOLDS} folds, against StratifiedGroupKFold\n")
    print(
        "| data | spread, Foldline | spread, scikit-learn | seconds, Foldline | seconds,"
        " scikit-learn | speed-up |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    worse = []
    for name, (targets, groups) in shapes().items():
        (our_folds, our_seconds), (sklearn_folds, sklearn_seconds) = (
            timed(function, targets, groups) for function in (ours, theirs)
        )
        our_spread, sklearn_spread = spread(targets, our_folds), spread(targets, sklearn_folds)
        print(
            f"| {name} | {our_spread:.3f} % | {sklearn_spread:.3f} % | {our_seconds:.2f} |"
            f" {sklearn_seconds:.2f} | {sklearn_seconds / our_seconds:.0f} |"
        )
        if our_spread > sklearn_spread + 1e-9:
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
        f"{seconds:.1f} s on one core; the process's peak memory is {peak:.2f} GB; spread"
        f" {spread(targets, folds):.4f} %."
    )
    if worse:
        sys.exit(f"spread is larger than scikit-learn's on: {'; '.join(worse)}")


if __name__ == "__main__":
    main()
