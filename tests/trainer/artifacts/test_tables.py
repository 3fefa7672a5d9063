from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainer.artifacts import tables
from trainer.config.preparation import ALWAYS_TRAINS, LEFT_OUT
from trainer.errors import IntegrityError


def test_ids_stay_text(tmp_path: Path) -> None:
    tables.write_csv(
        tmp_path / "folds.csv", pd.DataFrame({"id": ["007", "NA", "7"], "fold": [0, 1, 0]})
    )
    assert tables.read_folds(tmp_path / "folds.csv")["id"].tolist() == ["007", "NA", "7"]


def test_csv_carries_a_float32_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(1000, dtype=np.float32)
    tables.write_csv(tmp_path / "x.csv", pd.DataFrame({"p": values}))
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "x.csv")["p"].to_numpy(np.float32), values)


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": ["a", "b"], "sum_c": [[1, 2], [3, 4]]})
    for name in ("one", "two"):
        tables.write_parquet(tmp_path / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_folds_are_joined_by_id_and_never_by_order() -> None:
    examples = pd.DataFrame({"id": ["a", "b", "c"]})
    folds = pd.DataFrame({"id": ["c", "a", "b"], "fold": [2, 0, 1]})
    assert tables.fold_of(examples, folds).tolist() == [0, 1, 2]
    with pytest.raises(IntegrityError, match=r"no fold for id 'c' \(1 ids"):
        tables.fold_of(examples, folds[1:])


def test_what_trains_a_fold() -> None:
    fold = np.array([0, 1, 2, LEFT_OUT, ALWAYS_TRAINS])
    assert tables.training_rows(fold, 1).tolist() == [True, False, True, False, True]


def test_a_multilabel_target_has_a_bit_a_class() -> None:
    targets = np.array([0b000, 0b101, 0b010, 1 << 61])
    found = tables.memberships(targets, 62, "multilabel")
    assert [np.flatnonzero(row).tolist() for row in found] == [[], [0, 2], [1], [61]]
    assert tables.names(0b101, ["a", "b", "c"], "multilabel") == "a c"
    assert tables.names(1, ["a", "b", "c"], "multiclass") == "b"
    np.testing.assert_array_equal(
        tables.memberships(np.array([1, 0]), 2, "binary"), [[False, True], [True, False]]
    )
    np.testing.assert_array_equal(tables.truth(np.array([1, 0]), 2, "binary"), [1, 0])
