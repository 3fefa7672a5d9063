import numpy as np
import pandas as pd
import pytest

from trainer.artifacts.objective import Objective
from trainer.config.member import Member
from trainer.config.network import Loss, Tabular
from trainer.errors import TrainingError
from trainer.input.labels import of_fold

EXAMPLES = pd.DataFrame(
    {
        "id": list("abcdef"),
        "target": [0, 0, 0, 1, 1, 2],
        "tabular_age": [1.0, 2.0, 3.0, np.nan, 5.0, 6.0],
        "tabular_w": [1.0, 1.0, 2.0, 0.0, np.nan, 1.0],
    }
)
GOAL = Objective(task="multiclass", classes=["x", "y", "z"], metric="accuracy", seed=0)


def test_targets_are_one_hot_or_the_positive_class() -> None:
    found = of_fold(Member(name="m", epochs=1), EXAMPLES, np.arange(6), [], GOAL)
    np.testing.assert_array_equal(found.targets_of(np.arange(6)), np.eye(3)[EXAMPLES["target"]])
    assert found.outputs == 3
    np.testing.assert_array_equal(found.weights, np.ones(6))
    assert found.tabular.shape == (6, 0)
    binary = Objective(task="binary", classes=["no", "yes"], metric="roc_auc", seed=0)
    found = of_fold(Member(name="m", epochs=1), EXAMPLES.iloc[:5], np.arange(5), [], binary)
    np.testing.assert_array_equal(found.targets, [[0], [0], [0], [1], [1]])


def test_balanced_weights_are_those_of_the_training_rows() -> None:
    member = Member(name="m", epochs=1, loss=Loss(class_weights="balanced"))
    rows = np.array([0, 1, 3, 5])
    found = of_fold(member, EXAMPLES, rows, [], GOAL)
    # Two rows of x, one of y, one of z: weights in the proportion 1/2 to 1 to 1, with a mean of 1
    # over these rows.
    np.testing.assert_allclose(found.weights[rows], np.array([0.5, 0.5, 1, 1]) / 0.75)
    assert found.weights[rows].mean() == pytest.approx(1)


def test_a_class_without_training_images_has_no_weight() -> None:
    member = Member(name="m", epochs=1, loss=Loss(class_weights="balanced"))
    found = of_fold(member, EXAMPLES, np.arange(5), [], GOAL)
    # Three rows of x and two of y: their sums of weights are equal.
    np.testing.assert_allclose(found.weights, [5 / 6] * 3 + [5 / 4] * 2 + [0], rtol=1e-6)
    np.testing.assert_array_equal(found.absent, [2])


def test_given_and_sample_weights() -> None:
    given = Member(name="m", epochs=1, loss=Loss(class_weights="given", weights=[1.0, 2.0, 3.0]))
    found = of_fold(given, EXAMPLES, np.arange(6), [], GOAL).weights
    np.testing.assert_allclose(found / found[0], [1, 1, 1, 2, 2, 3], rtol=1e-6)
    weighed = Member(name="m", epochs=1, loss=Loss(sample_weight="w"))
    found = of_fold(weighed, EXAMPLES, np.array([0, 1, 2, 3]), ["w"], GOAL).weights
    np.testing.assert_allclose(found[:4], [1, 1, 2, 0])
    with pytest.raises(TrainingError, match="id 'e' has nan in 'w'"):
        of_fold(weighed, EXAMPLES, np.arange(6), ["w"], GOAL)


def test_columns_are_encoded_by_the_training_rows() -> None:
    member = Member(name="m", epochs=1, tabular=Tabular(columns=["age"]))
    found = of_fold(member, EXAMPLES, np.array([0, 1, 2]), ["age"], GOAL)
    assert found.tabular.shape == (6, 2)
    np.testing.assert_allclose(found.tabular[:3, 0].mean(), 0, atol=1e-6)
    assert found.tabular[3].tolist() == [0, 1]


def test_images_of_several_classes() -> None:
    goal = Objective(task="multilabel", classes=["x", "y"], metric="macro_f1", seed=0)
    examples = pd.DataFrame({"id": list("abcd"), "target": [0b01, 0b11, 0b10, 0b01]})
    found = of_fold(
        Member(name="m", epochs=1, loss=Loss(class_weights="given", weights=[1.0, 3.0])),
        examples,
        np.arange(4),
        [],
        goal,
    )
    np.testing.assert_array_equal(found.targets, [[1, 0], [1, 1], [0, 1], [1, 0]])
    np.testing.assert_allclose(found.weights / found.weights[0], [1, 2, 3, 1], rtol=1e-6)
