import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.folds.assign import assign, write_folds
from trainer import tables
from trainer.errors import DataError


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Targets, groups (mostly of one row) and a number of folds."""
    rows = draw(st.integers(4, 120))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    targets = generator.integers(0, draw(st.integers(1, 6)), rows)
    groups = np.where(generator.random(rows) < 0.2, generator.integers(0, 4, rows), np.arange(rows) + 100)
    return targets, groups, draw(st.integers(2, 4))


@given(labelled(), st.integers(0, 2**31 - 1))
def test_groups_stay_whole(case: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    targets, groups, count = case
    folds = assign(targets, groups, count=count, seed=seed)
    assert ((folds >= 0) & (folds < count)).all()
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


@given(st.lists(st.integers(0, 5), min_size=10, max_size=150), st.integers(2, 6), st.integers(0, 2**31 - 1))
def test_without_groups_classes_and_folds_are_as_even_as_can_be(targets: list[int], count: int, seed: int) -> None:
    classes = np.array(targets)
    folds = assign(classes, np.arange(len(classes)), count=count, seed=seed)
    for label in np.unique(classes):
        held = np.bincount(folds[classes == label], minlength=count)
        assert held.max() - held.min() <= 1
    sizes = np.bincount(folds, minlength=count)
    assert sizes.max() - sizes.min() <= len(np.unique(classes))


def test_a_seed_decides() -> None:
    targets, groups = np.arange(60) % 3, np.arange(60)
    first = assign(targets, groups, count=5, seed=1)
    np.testing.assert_array_equal(first, assign(targets, groups, count=5, seed=1))
    assert not np.array_equal(first, assign(targets, groups, count=5, seed=2))


def test_the_written_table_and_audit_agree(records_folder: Path, tmp_path: Path) -> None:
    classes = [str(digit) for digit in range(10)]
    write_folds(records_folder, count=3, seed=1, classes=classes, out=tmp_path / "folds.csv", audit_out=tmp_path / "audit.json")
    folds = tables.read_folds(tmp_path / "folds.csv")
    examples = tables.read_examples(records_folder).query("split == 'train'")
    assert folds["id"].tolist() == examples["id"].tolist()
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["images_a_fold"] == np.bincount(folds["fold"]).tolist()
    for index, name in enumerate(classes):
        counts = np.bincount(folds["fold"][(examples["target"] == index).to_numpy()], minlength=3)
        assert audit["class_counts"][name] == counts.tolist()


def test_more_folds_than_images(records_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fold 120 would have no image: 120 labelled images are too few"):
        write_folds(records_folder, count=130, seed=1, classes=list("0123456789"), out=tmp_path / "f", audit_out=tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
