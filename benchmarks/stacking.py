"""Benchmark blending: greedy selection by ROC AUC, the choice among methods, and the bootstrap.

python benchmarks/stacking.py
"""

import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import roc_auc_score

from components.blending import stack
from components.blending.methods import Rows, greedy
from components.blending.scoring.bootstrap import resampled
from components.blending.scoring.weighted_metrics import counted
from components.blending.stack import Level1
from trainer.config.output import Blend
from trainer.metrics.scores import score

MEMBERS, ROUNDS = 20, 100
LARGE, SMALL = 1_000_000, 50_000
# Rounds of the loop with scikit-learn: fewer, because each costs the same.
SMALL_ROUNDS = 5


def members(rows: int, share: float, seed: int = 0, count: int = MEMBERS) -> Rows:
    """Return binary members of different skill that share part of their errors.

    Args:
        rows: the number of rows.
        share: the share of positive rows, in 0 to 1.
        seed: the seed of the targets and predictions.
        count: the number of members; later ones are better.
    """
    generator = np.random.default_rng(seed)
    targets = (generator.random(rows) < share).astype(np.int64)
    common = generator.normal(size=rows).astype(np.float32)
    probabilities = np.empty((count, rows, 2), dtype=np.float32)
    for member in range(count):
        values = (
            targets * (1.2 + 0.05 * member)
            + common
            + generator.normal(size=rows).astype(np.float32)
        )
        probabilities[member, :, 1] = 1 / (1 + np.exp(1.5 - values))
        probabilities[member, :, 0] = 1 - probabilities[member, :, 1]
    return Rows(probabilities, targets, "roc_auc")


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain_greedy(rows: Rows, rounds: int) -> list[int]:
    """Run the same loop with scikit-learn's score; return the member selected in each round."""
    total, selected = np.zeros(len(rows.targets), dtype=np.float32), []
    for _ in range(rounds):
        scores = [
            roc_auc_score(rows.targets, total + predictions[:, 1])
            for predictions in rows.predictions
        ]
        selected.append(int(np.argmax(scores)))
        total = total + rows.predictions[selected[-1], :, 1]
    return selected


def large(share: float) -> None:
    """Print the seconds of one selection at full size, and the peak memory of the process in GB.

    Run this in a separate process.
    """
    rows = members(LARGE, share)
    seconds = timed(lambda: greedy(rows, ROUNDS))
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def main() -> None:
    """Print the tables."""
    print(f"\n## Greedy selection by ROC AUC: {ROUNDS} rounds over {MEMBERS} members\n")
    print("| rows | positive | seconds | peak memory, GB |")
    print("| ---: | ---: | ---: | ---: |")
    for share in (0.02, 0.5):
        process = subprocess.run(
            [sys.executable, __file__, str(share)], capture_output=True, text=True, check=True
        )
        seconds, memory = map(float, process.stdout.split())
        print(f"| {LARGE:,} | {share:.0%} | {seconds:.1f} | {memory:.2f} |")
    print(
        f"\nOne round over {MEMBERS} members, against the same loop with scikit-learn's"
        " roc_auc_score (medians of three):\n"
    )
    print("| rows | Foldline, seconds | scikit-learn, seconds | speed-up |")
    print("| ---: | ---: | ---: | ---: |")
    for count in (SMALL, 4 * SMALL):
        rows = members(count, 0.02)
        ours, theirs = [], []
        for _ in range(3):
            ours.append(timed(lambda rows=rows: greedy(rows, SMALL_ROUNDS)) / SMALL_ROUNDS)
            theirs.append(timed(lambda rows=rows: plain_greedy(rows, SMALL_ROUNDS)) / SMALL_ROUNDS)
        our_median, sklearn_median = float(np.median(ours)), float(np.median(theirs))
        print(
            f"| {count:,} | {our_median:.3f} | {sklearn_median:.3f} |"
            f" {sklearn_median / our_median:.0f} |"
        )
    rows = members(SMALL, 0.02)
    weights = np.bincount(plain_greedy(rows, SMALL_ROUNDS), minlength=MEMBERS) / SMALL_ROUNDS
    same = np.allclose(weights, greedy(rows, SMALL_ROUNDS).weights)
    print(
        f"\nIn {SMALL_ROUNDS} rounds both select"
        f" {'the same members' if same else 'different members'}."
    )
    print("\n## Nested choice among all methods\n")
    rows = members(33_000, 0.02)
    level1 = Level1(rows, np.arange(33_000) % 5, np.arange(33_000))
    result: list[stack.Nested] = []
    seconds = timed(lambda: result.append(stack.nested(level1, Blend(), 1)))
    fit_seconds = timed(lambda: stack.fit(level1, Blend(), 1))
    methods = ", ".join(fitted.method for fitted in result[0].fitted.values())
    auc = score("roc_auc", rows.targets, result[0].probabilities)
    print(
        f"{MEMBERS} members, 33,000 rows, 5 folds, ROC AUC: {seconds:.1f} s to choose each fold's"
        f" method by nested scores on the other four ({methods}; ROC AUC {auc:.4f}), and"
        f" {fit_seconds:.1f} s to choose the method for the test rows."
    )
    print("\n## Bootstrap of ROC AUC\n")
    rows = members(100_000, 0.02, count=1)
    targets, predictions = rows.targets, rows.predictions[0]
    seconds = timed(
        lambda: resampled(
            {"a": counted("roc_auc", targets, predictions)},
            np.arange(100_000),
            resamples=1000,
            seed=1,
        )
    )
    generator = np.random.default_rng(0)

    def with_sklearn() -> None:
        for _ in range(20):
            drawn = generator.integers(0, 100_000, 100_000)
            roc_auc_score(targets[drawn], predictions[drawn, 1])

    speed_up = timed(with_sklearn) / 20 * 1000 / seconds
    print(
        f"1,000 resamples of 100,000 rows: {seconds:.1f} s, {speed_up:.1f} times as fast as drawing"
        " rows and scoring them with scikit-learn."
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        large(float(sys.argv[1]))
    else:
        main()
