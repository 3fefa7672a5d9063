import numpy as np
import pandas as pd
import pytest

from components.report import tables
from components.report.tables import Scored

TARGETS = np.array([0, 0, 1, 1, 1, 0])
PREDICTED = np.array([0, 1, 1, 1, 0, 0])
PROBABILITIES = np.eye(2)[PREDICTED] * 0.8 + 0.1
SCORED = Scored("accuracy", TARGETS, PROBABILITIES, PREDICTED)


def test_precision_recall_and_f1_of_each_class() -> None:
    zero, one, none = tables.per_class(TARGETS, PREDICTED, ["a", "b", "c"])
    marks = (values[:, None] == np.arange(3) for values in (TARGETS, PREDICTED))
    assert tables.per_class(*marks, ["a", "b", "c"]) == [zero, one, none]
    assert (zero["images"], zero["taken"], zero["precision"], zero["recall"]) == (
        3,
        3,
        2 / 3,
        2 / 3,
    )
    assert one["f1"] == pytest.approx(2 / 3)
    assert (none["precision"], none["recall"], none["f1"]) == (None, None, None)


def test_the_commonest_confusions_come_first() -> None:
    found = tables.confused(np.array([0, 0, 0, 1, 2]), np.array([1, 1, 2, 1, 0]), ["a", "b", "c"])
    assert [(pair["truth"], pair["predicted"], pair["images"]) for pair in found] == [
        ("a", "b", 2),
        ("a", "c", 1),
        ("c", "a", 1),
    ]
    assert found[0]["share"] == pytest.approx(2 / 3)


def test_a_number_is_cut_into_quarters_and_what_is_missing_stands_alone() -> None:
    found = tables.by_column(SCORED, pd.Series([10.0, 20, 30, 40, np.nan, np.nan]), numeric=True)
    assert [line["images"] for line in found] == [1, 1, 1, 1, 2]
    assert found[-1]["name"] == "missing"
    assert found[-1]["score"] == 0.5
    assert (
        sum(
            line["images"]
            for line in tables.by_column(SCORED, pd.Series([1.0, 1, 1, 1, 2, 2]), numeric=True)
        )
        == 6
    )
    (only,) = tables.by_column(SCORED, pd.Series([7.0] * 6), numeric=True)
    assert (only["name"], only["images"]) == ("7", 6)
    (gone,) = tables.by_column(SCORED, pd.Series([np.nan] * 6), numeric=True)
    assert gone["name"] == "missing"


def test_texts_and_what_has_no_score() -> None:
    ranked = Scored("roc_auc", TARGETS, PROBABILITIES, PREDICTED)
    found = tables.by_column(ranked, pd.Series(["x", "x", "x", "", "y", "y"]), numeric=False)
    assert [(line["name"], line["images"]) for line in found] == [
        ("x", 3),
        ("y", 2),
        ("missing", 1),
    ]
    assert found[0]["score"] is not None
    assert found[2]["score"] is None
    many = pd.Series([str(number) for number in range(40)])
    scored = Scored("accuracy", np.zeros(40, int), np.tile([0.9, 0.1], (40, 1)), np.zeros(40, int))
    last = tables.by_column(scored, many, numeric=False)[-1]
    assert (last["name"], last["images"]) == ("28 others", 28)


def test_groups() -> None:
    assert tables.by_group(SCORED, pd.Series([""] * 6)) is None
    found = tables.by_group(SCORED, pd.Series(["a", "a", "a", "b", "c", ""]))
    assert found is not None
    assert found["groups"] == 3
    assert [(line["name"], line["images"]) for line in found["sizes"]] == [("1", 3), ("2 to 5", 3)]
    assert [(one["name"], one["wrong"], one["images"]) for one in found["worst"]] == [
        ("c", 1, 1),
        ("a", 1, 3),
    ]


def test_identical_images_and_hours() -> None:
    train = pd.DataFrame({"id": list("abcde"), "sha256": ["1", "2", "1", "2", "1"]})
    assert tables.duplicate_sets(train) == [["a", "c", "e"], ["b", "d"]]
    history = pd.DataFrame(
        {"member": ["m"] * 4, "fold": [0, 0, 1, 1], "seconds": [1800.0, 3600, 1800, 3600]}
    )
    tasks = [{"member": "m", "device": "GPU", "parameters": 7}]
    found = tables.durations(history, tasks, 3.0)
    assert (found["hours"], found["cost"]) == (2, 6)
    assert found["members"][0]["minutes_a_fold"] == 60


def test_what_thresholds_decided_is_what_is_scored() -> None:
    told = np.array([[0.9, 0.1], [0.7, 0.3]])
    scored = Scored("f1", np.array([0, 1]), told, np.array([0, 1]))
    assert scored.of("all", np.array([True, True]))["score"] == 1
