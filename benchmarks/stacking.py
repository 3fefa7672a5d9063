"""Blending: greedy selection by ROC AUC, the choice among methods, and the bootstrap.

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
from trainer.metrics import score

MEMBERS, ROUNDS = 20, 100
LARGE, SMALL = 1_000_000, 50_000
# Of the loop with scikit-learn, so many rounds are run, each of which costs the same.
SMALL_ROUNDS = 5


def members(rows: int, share: float, seed: int = 0, count: int = MEMBERS) -> Rows:
    """Binary members of different skill and common errors."""
    generator = np.random.default_rng(seed)
    targets = (generator.random(rows) < share).astype(np.int64)
    common = generator.normal(size=rows).astype(np.float32)
    told = np.empty((count, rows, 2), dtype=np.float32)
    for member in range(count):
        values = (
            targets * (1.2 + 0.05 * member)
            + common
            + generator.normal(size=rows).astype(np.float32)
        )
        told[member, :, 1] = 1 / (1 + np.exp(1.5 - values))
        told[member, :, 0] = 1 - told[member, :, 1]
    return Rows(told, targets, "roc_auc")


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def plain_greedy(rows: Rows, rounds: int) -> list[int]:
    """The same loop with scikit-learn's score: which member each round takes."""
    total, taken = np.zeros(len(rows.targets), dtype=np.float32), []
    for _ in range(rounds):
        scores = [roc_auc_score(rows.targets, total + own[:, 1]) for own in rows.predictions]
        taken.append(int(np.argmax(scores)))
        total = total + rows.predictions[taken[-1], :, 1]
    return taken


def large(share: float) -> None:
    """One selection of full size, in a process of its own: its seconds, and the most memory it
    had."""
    rows = members(LARGE, share)
    seconds = timed(lambda: greedy(rows, ROUNDS))
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def main() -> None:
    """Print the tables."""
    print(f"\n## Greedy selection by ROC AUC: {ROUNDS} rounds over {MEMBERS} members\n")
    print("| rows | positive | seconds | most memory, GB |")
    print("| ---: | ---: | ---: | ---: |")
    for share in (0.02, 0.5):
        done = subprocess.run(
            [sys.executable, __file__, str(share)], capture_output=True, text=True, check=True
        )
        seconds, memory = map(float, done.stdout.split())
        print(f"| {LARGE:,} | {share:.0%} | {seconds:.1f} | {memory:.2f} |")
    print(
        f"\nAgainst the same loop calling scikit-learn's roc_auc_score, a round of {MEMBERS}"
        " members (medians of three):\n"
    )
    print("| rows | ours, seconds | scikit-learn, seconds | times |")
    print("| ---: | ---: | ---: | ---: |")
    for count in (SMALL, 4 * SMALL):
        rows = members(count, 0.02)
        ours, theirs = [], []
        for _ in range(3):
            ours.append(timed(lambda rows=rows: greedy(rows, SMALL_ROUNDS)) / SMALL_ROUNDS)
            theirs.append(timed(lambda rows=rows: plain_greedy(rows, SMALL_ROUNDS)) / SMALL_ROUNDS)
        one, other = float(np.median(ours)), float(np.median(theirs))
        print(f"| {count:,} | {one:.3f} | {other:.3f} | {other / one:.0f} |")
    rows = members(SMALL, 0.02)
    taken = np.bincount(plain_greedy(rows, SMALL_ROUNDS), minlength=MEMBERS) / SMALL_ROUNDS
    same = np.allclose(taken, greedy(rows, SMALL_ROUNDS).weights)
    print(
        f"\nIn {SMALL_ROUNDS} rounds both take"
        f" {'the same members' if same else 'different members'}."
    )
    print("\n## Choice among all methods, nested\n")
    rows = members(33_000, 0.02)
    level1 = Level1(rows, np.arange(33_000) % 5, np.arange(33_000))
    result: list[stack.Nested] = []
    seconds = timed(lambda: result.append(stack.nested(level1, Blend(), 1)))
    whole = timed(lambda: stack.fit(level1, Blend(), 1))
    methods = ", ".join(fitted.method for fitted in result[0].fitted.values())
    value = score("roc_auc", rows.targets, result[0].probabilities)
    print(
        f"{MEMBERS} members, 33,000 rows, 5 folds, ROC AUC: {seconds:.1f} s, in which each fold's"
        f" method is chosen by nested scores of the other four ({methods}; {value:.4f}), and"
        f" {whole:.1f} s for the one of the test rows."
    )
    print("\n## Bootstrap of ROC AUC\n")
    rows = members(100_000, 0.02, count=1)
    targets, own = rows.targets, rows.predictions[0]
    seconds = timed(
        lambda: resampled(
            {"a": counted("roc_auc", targets, own)}, np.arange(100_000), resamples=1000, seed=1
        )
    )
    generator = np.random.default_rng(0)

    def plain() -> None:
        for _ in range(20):
            drawn = generator.integers(0, 100_000, 100_000)
            roc_auc_score(targets[drawn], own[drawn, 1])

    times = timed(plain) / 20 * 1000 / seconds
    print(
        f"1,000 resamples of 100,000 rows: {seconds:.1f} s, {times:.1f} times as fast as drawing"
        " rows for scikit-learn."
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        large(float(sys.argv[1]))
    else:
        main()
