"""What training tasks leave, made up: 30 images of three classes in three folds."""

from pathlib import Path

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest

CLASSES = ["cat", "dog", "owl"]
IDS = [f"i{number:02d}" for number in range(30)]
FOLD = np.arange(30) % 3
TARGETS = np.arange(30) * 7 % 3


def probabilities(seed: int, rows: int, targets: np.ndarray | None = None) -> np.ndarray:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 3))
    if targets is not None:
        logits[np.arange(rows), targets] += 1
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def about(
    member: str, folds: list[int], *, task: str = "multiclass", validation: str = "last"
) -> dict[str, object]:
    """What a training task says of itself."""
    told = {
        "member": member,
        "task": task,
        "folds": folds,
        "validation": validation,
        "device": "CPU",
    }
    models = [tables.model_file(fold) for fold in folds]
    return {**told, "parameters": 1, "views": 1, "libraries": {}, "models": models}


def write_task(
    folder: Path, member: str, folds: list[int], *, seed: int, validation: str = "last"
) -> Path:
    """What a training task leaves: rows in an order of their own."""
    folder.mkdir(parents=True)
    of_all = probabilities(seed, 30, TARGETS)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(np.isin(FOLD, folds)))
    oof = pd.DataFrame(
        {"id": [IDS[row] for row in rows], "target": TARGETS[rows], "fold": FOLD[rows]}
    )
    oof[CLASSES] = of_all[rows]
    tables.write_parquet(folder / tables.OOF, oof)
    test = []
    for fold in folds:
        part = pd.DataFrame({"id": [f"t{number}" for number in range(5)], "fold": fold})
        part[CLASSES] = probabilities(seed * 100 + fold, 5)
        test.append(part)
    tables.write_parquet(folder / tables.TEST, pd.concat(test))
    history = pd.DataFrame(
        {"fold": folds, "epoch": 1, "loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5}
    )
    tables.write_csv(folder / tables.HISTORY, history)
    write_manifest(folder, about(member, folds, validation=validation))
    return folder
