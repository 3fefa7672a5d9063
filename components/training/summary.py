"""What consoles show of a training job: its scores, and where its models come from."""

import os
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from trainer import runtime
from trainer.artifacts import tables
from trainer.artifacts.manifest import MANIFEST, read_manifest
from trainer.artifacts.objective import Objective
from trainer.metrics.candidates import scorable
from trainer.metrics.scores import available


class Summary(NamedTuple):
    """The summary of a training job.

    Attributes:
        scores: the competition's metric on all rows that the job held out, and on each fold's.
        lineage: member, folds, score, and digests of data and code, as text.
    """

    scores: dict[str, float]
    lineage: dict[str, str]


def summarise(out: str, records: str, objective: Objective) -> Summary:
    """Summarise a training job.

    Args:
        out: the folder that the job wrote; without a manifest, another process of the same job did.
        records: the records folder that it read.
        objective: the ML task, classes and metric.
    """
    if not (Path(out) / MANIFEST).is_file():
        return Summary({}, {})
    about = read_manifest(out, only=(tables.OOF,))
    oof = pd.read_parquet(Path(out) / tables.OOF)
    scores = {}
    parts = {objective.metric: oof}
    parts |= {f"{objective.metric}_fold{fold}": rows for fold, rows in oof.groupby("fold")}
    for name, rows in parts.items():
        value = _score(rows, objective)
        if value is not None:
            scores[name] = value
    lineage = {
        "member": str(about["member"]),
        "folds": ", ".join(map(str, about["folds"])),
        "device": str(about["device"]),
        "data": str(read_manifest(records, only=()).get("source_digest", "")),
        "code": os.environ.get(runtime.IMAGE_CODE, ""),
    }
    if objective.metric in scores:
        lineage[objective.metric] = f"{scores[objective.metric]:.6f}"
    return Summary(scores, lineage)


def _score(rows: pd.DataFrame, objective: Objective) -> float | None:
    """The score of some held-out rows; None if they lack a class that the metric needs."""
    if not len(rows):
        return None
    classes = list(objective.classes)
    targets = tables.truth(rows["target"].to_numpy(), len(classes), objective.task)
    return available(objective.metric, *scorable(tables.probabilities_of(rows, classes), targets))
