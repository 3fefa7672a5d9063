import numpy as np
import pandas as pd
import pytest

from trainer.artifacts.objective import Objective
from trainer.config.member import Member
from trainer.config.network import Loss
from trainer.training.data import JobData


def test_a_class_without_training_images_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    target = np.array([0, 0, 1, 1, 2, 3])
    images: list[object] = []
    data = JobData(
        train=pd.DataFrame({"id": list("abcdef"), "target": target}),
        test=pd.DataFrame(),
        folds=np.array([0, 0, 0, 0, 1, 1]),
        training_rows={0: np.array([4, 5]), 1: np.arange(4)},
        targets=target,
        images=images,  # type: ignore[arg-type]  # no image is read
        test_images=images,  # type: ignore[arg-type]
        numeric=[],
        pixels={},
    )
    objective = Objective("multiclass", ["v", "w", "x", "y"], "accuracy", seed=0)
    plain = Member(name="m", epochs=1)
    assert len(data.labels(1, plain, objective).absent) == 0
    assert capsys.readouterr().out == ""
    weighted = Member(name="m", epochs=1, loss=Loss(class_weights="balanced"))
    np.testing.assert_array_equal(data.labels(1, weighted, objective).absent, [2, 3])
    said = capsys.readouterr().out
    assert "warning: m: no training image of this fold is of class 'x' (2 such classes)" in said
