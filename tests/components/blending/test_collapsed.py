import numpy as np
import pandas as pd
import pytest

from components.blending.collapsed import collapsed
from components.blending.members.align import Members

CLASSES = ["cat", "dog", "eel", "fox"]
TARGETS = np.arange(40) % 4
LOSSES = {"learnt": [1.4, 0.6, 0.2], "idle": [1.4, 1.39, 1.39]}


def members(losses: list[float], predictions: np.ndarray) -> Members:
    history = [
        {"member": "m", "fold": fold, "epoch": epoch, "loss": loss}
        for fold in (0, 1)
        for epoch, loss in enumerate(losses, start=1)
    ]
    return Members(
        names=["m"],
        scored=["m"],
        ids=[str(row) for row in range(40)],
        targets=TARGETS,
        fold=TARGETS % 2,
        oof=predictions[None],
        test_ids=[],
        test=np.empty((1, 0, 4)),
        task="multiclass",
        validation={"m": "last"},
        history=pd.DataFrame(history),
        models={},
        tasks=[],
    )


def of_one_class(number: int) -> np.ndarray:
    return np.eye(4)[np.full(40, number)] * 0.9 + 0.025


def test_a_member_that_learnt_and_predicts_one_class_is_named() -> None:
    (warning,) = collapsed(members(LOSSES["learnt"], of_one_class(1)), TARGETS, CLASSES)
    assert warning.startswith("m predicts 'dog' for 100 % of the images, of which 25 % are,")
    assert "fell from 1.40 to 0.20" in warning
    assert "lower optimizer.learning_rate" in warning


@pytest.mark.parametrize(
    ("losses", "predictions", "targets"),
    [
        ("idle", of_one_class(1), TARGETS),
        ("learnt", np.eye(4)[TARGETS], TARGETS),
        # Nearly all images are of the class.
        ("learnt", of_one_class(1), np.where(np.arange(40) < 38, 1, 0)),
        # Any number of classes an image.
        ("learnt", of_one_class(1), np.eye(4, dtype=bool)[TARGETS]),
    ],
)
def test_others_are_not(losses: str, predictions: np.ndarray, targets: np.ndarray) -> None:
    assert collapsed(members(LOSSES[losses], predictions), targets, CLASSES) == []
