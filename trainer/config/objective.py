"""What is to be learnt, and from what: the two things that every training task is given."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# In place of a fold where a model trains on all images and none is held out.
NO_FOLD = -3


def fold_seed(seed: int, member: str, fold: int) -> int:
    """The seed of one model, in 0 to 2**31 - 1: it depends on nothing but these three."""
    digest = hashlib.sha256(f"{seed}/{member}/{fold}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


@dataclass(frozen=True)
class Artifacts:
    """What a training task reads.

    records: a records folder, whole by its manifest; root: the local folder that its shards lie
    below. folds_table: `folds.csv`. statistics: `statistics.json`, which has the pixel statistics
    of each fold's training images."""

    records: str | Path
    root: str | Path
    folds_table: str | Path
    statistics: str | Path


@dataclass(frozen=True)
class Objective:
    """What is to be learnt: the task of the competition (multiclass, binary, multilabel), its
    classes in order, its metric and seed."""

    task: str
    classes: Sequence[str]
    metric: str
    seed: int
