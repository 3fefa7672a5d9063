"""What a training job learns, and the files that it learns from."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def fold_seed(seed: int, member: str, fold: int) -> int:
    """The seed of one model, 0 to 2**31 - 1. It depends on nothing but these three."""
    digest = hashlib.sha256(f"{seed}/{member}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


@dataclass(frozen=True)
class Artifacts:
    """The files that a training job reads.

    Attributes:
        records: a records folder, complete by its manifest.
        root: the local folder that its shards are in.
        folds_table: `folds.csv`.
        statistics: `statistics.json`, with pixel statistics of each fold's training images.
    """

    records: str | Path
    root: str | Path
    folds_table: str | Path
    statistics: str | Path


@dataclass(frozen=True)
class GanArtifacts:
    """The files that a GAN's training reads.

    Attributes:
        records: a records folder, complete by its manifest.
        root: the local folder that its shards are in.
        folds_table: `folds.csv`.
        judge: the predictions folder of a training job of the first fold: its classifier judges
            samples.
    """

    records: str | Path
    root: str | Path
    folds_table: str | Path
    judge: str | Path


@dataclass(frozen=True)
class Objective:
    """What is to be learnt.

    Attributes:
        task: multiclass, binary or multilabel.
        classes: class names, in order.
        metric: the metric of the competition.
        seed: the seed of the competition.
        keep: how many of the most probable classes predictions keep; 0 for all.
    """

    task: str
    classes: Sequence[str]
    metric: str
    seed: int
    keep: int = 0
