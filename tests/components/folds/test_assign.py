import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from components.folds.assign import assign, write_folds
from components.records.convert import convert
from trainer import tables
from trainer.competition import Folds, load
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
    folds = assign(targets[:, None], groups, count=count, seed=seed)
    assert ((folds >= 0) & (folds < count)).all()
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1


@given(st.lists(st.integers(0, 5), min_size=10, max_size=150), st.integers(2, 6), st.integers(0, 2**31 - 1))
def test_without_groups_classes_and_folds_are_as_even_as_can_be(targets: list[int], count: int, seed: int) -> None:
    classes = np.array(targets)
    folds = assign(classes[:, None], np.arange(len(classes)), count=count, seed=seed)
    for label in np.unique(classes):
        held = np.bincount(folds[classes == label], minlength=count)
        assert held.max() - held.min() <= 1
    sizes = np.bincount(folds, minlength=count)
    assert sizes.max() - sizes.min() <= 1


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(2, 5),
    st.sampled_from(["rare class", "few large groups", "class by group", "two strata"]),
)
def test_classes_are_spread_no_worse_than_by_scikit_learn(seed: int, count: int, shape: str) -> None:
    generator = np.random.default_rng(seed)
    rows = 600
    groups = generator.zipf(1.7, rows) % 40 if shape == "few large groups" else generator.integers(0, 150, rows)
    targets = (generator.random(rows) < 0.05).astype(int) if shape == "rare class" else generator.integers(0, 6, rows)
    if shape == "class by group":
        targets = groups % 5
    strata = np.stack([targets, generator.integers(0, 3, rows)], axis=1) if shape == "two strata" else targets[:, None]
    theirs = np.empty(rows, dtype=int)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    for number, (_, held_out) in enumerate(splitter.split(targets, targets, groups)):
        theirs[held_out] = number
    ours = assign(strata, groups, count=count, seed=0)
    # Neither is always the best; over a class, the shares of the folds differ by no more than a tenth beyond theirs.
    assert spread(targets, ours, count) <= spread(targets, theirs, count) * 1.1 + 0.02


def spread(targets: np.ndarray, folds: np.ndarray, count: int) -> float:
    """What scikit-learn's splitter minimises: the deviation over folds of each class's shares, a mean over classes."""
    table = np.zeros((count, targets.max() + 1))
    np.add.at(table, (folds, targets), 1)
    return float((table / table.sum(axis=0)).std(axis=0).mean())


def test_several_strata_are_even_at_once() -> None:
    generator = np.random.default_rng(0)
    strata = np.stack([generator.integers(0, 4, 3000), (generator.random(3000) < 0.02), generator.integers(0, 7, 3000)], axis=1)
    folds = assign(strata.astype(int), np.arange(3000), count=5, seed=0)
    for column in strata.T:
        for value in np.unique(column):
            held = np.bincount(folds[column == value], minlength=5)
            assert held.max() - held.min() <= 3


def test_a_group_of_half_the_data_stands_alone() -> None:
    groups = np.concatenate([np.zeros(500, dtype=int), np.arange(1, 501)])
    folds = assign((np.arange(1000) % 3)[:, None], groups, count=5, seed=0)
    assert set(folds[:500]) & set(folds[500:]) == set()
    assert np.ptp(np.bincount(folds[500:], minlength=5)[np.unique(folds[500:])]) <= 2


def test_a_seed_decides() -> None:
    targets, groups = np.arange(60) % 3, np.arange(60)
    first = assign(targets[:, None], groups, count=5, seed=1)
    np.testing.assert_array_equal(first, assign(targets[:, None], groups, count=5, seed=1))
    assert not np.array_equal(first, assign(targets[:, None], groups, count=5, seed=2))


def test_the_written_table_and_audit_agree(records_folder: Path, tmp_path: Path) -> None:
    classes = [str(digit) for digit in range(10)]
    write_folds(
        records_folder, Folds(count=3), seed=1, classes=classes, out=tmp_path / "folds.csv", audit_out=tmp_path / "audit.json"
    )
    folds = tables.read_folds(tmp_path / "folds.csv")
    examples = tables.read_examples(records_folder).query("split == 'train'")
    assert folds["id"].tolist() == examples["id"].tolist()
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["images_a_fold"] == np.bincount(folds["fold"]).tolist()
    for index, name in enumerate(classes):
        counts = np.bincount(folds["fold"][(examples["target"] == index).to_numpy()], minlength=3)
        assert audit["class_counts"][name] == counts.tolist()


def test_more_folds_than_images(records_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fold 120 would have no image: 120 images to deal are too few"):
        write_folds(
            records_folder, Folds(count=130), seed=1, classes=list("0123456789"), out=tmp_path / "f", audit_out=tmp_path / "a"
        )
    assert list(tmp_path.iterdir()) == []


def test_the_groups_of_a_column_and_identical_images_stay_together(tiny: Tiny, tmp_path: Path) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    # Row 61 is row 1 once more, so that the persons of both become one group.
    rows[60] = rows[0]
    people = [f"p{number // 4}" if number < 100 else "" for number in range(120)]
    lines = [f"person,{header}", *(f"{person},{row}" for person, row in zip(people, rows, strict=True))]
    tiny.train.write_text("\n".join(lines) + "\n")
    tiny.toml.write_text(tiny.toml.read_text().replace('target = "label"', 'target = "label"\ngroup = "person"'))
    competition = load(tiny.toml)
    convert(competition.data, competition.records, classes=competition.classes, source_digest="", out=tmp_path / "records")
    write_folds(
        tmp_path / "records",
        Folds(count=3),
        seed=1,
        classes=competition.classes,
        out=tmp_path / "folds.csv",
        audit_out=tmp_path / "audit.json",
    )
    fold = tables.read_folds(tmp_path / "folds.csv")["fold"].to_numpy()
    for person in set(people) - {""}:
        assert len(set(fold[np.array(people) == person])) == 1
    assert fold[0] == fold[60]
    assert len(set(fold[100:])) == 3
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert (audit["groups"], audit["duplicate_groups"]) == (45, 1)


def dealt(records: Path, folder: Path, folds: Folds) -> tuple[dict[str, int], dict[str, object]]:
    """The folds table as a dictionary, and the audit."""
    classes = [str(digit) for digit in range(10)]
    write_folds(records, folds, seed=1, classes=classes, out=folder / "folds.csv", audit_out=folder / "audit.json")
    table = tables.read_folds(folder / "folds.csv")
    return dict(zip(table["id"], table["fold"].tolist(), strict=True)), json.loads((folder / "audit.json").read_text())


def test_excluded_images_have_no_fold(records_folder: Path, tmp_path: Path) -> None:
    fold_of, audit = dealt(records_folder, tmp_path, Folds(count=3, exclude=["5", "77"]))
    assert [id_ for id_, fold in fold_of.items() if fold == tables.LEFT_OUT] == ["5", "77"]
    assert (audit["left_out"], sum(audit["images_a_fold"])) == (2, 118)  # type: ignore[call-overload]
    with pytest.raises(DataError, match="folds.exclude: '999' is no labelled image"):
        dealt(records_folder, tmp_path, Folds(count=3, exclude=["999"]))


def write_own(path: Path, folds: dict[str, object]) -> Folds:
    path.write_text("id,fold\n" + "".join(f"{id_},{fold}\n" for id_, fold in folds.items()))
    return Folds(count=3, file=str(path))


def test_the_user_s_own_folds_are_taken_as_they_are(records_folder: Path, tmp_path: Path) -> None:
    own: dict[str, object] = {str(number): number % 3 for number in range(120, 0, -1)}
    own |= {"4": -1, "9": -2, "10": -2}
    fold_of, audit = dealt(records_folder, tmp_path, write_own(tmp_path / "own.csv", own))
    assert fold_of == own
    assert (audit["left_out"], audit["always_train"], sum(audit["images_a_fold"])) == (1, 2, 117)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"7": 3}, "own.csv: row 7, column 'fold': '3' is no whole number from -2 to 2"),
        ({"7": "x"}, "own.csv: row 7, column 'fold': 'x' is no"),
        ({"200": 1}, "own.csv: row 121, column 'id': '200' is no labelled image"),
        ({"7": None}, "own.csv: no fold for id '7' .1 labelled images"),
        ({str(number): 0 for number in range(1, 121)}, "fold 1 would have no image"),
    ],
)
def test_folds_that_cannot_be_are_named(records_folder: Path, tmp_path: Path, change: dict[str, object], words: str) -> None:
    own = {**{str(number): number % 3 for number in range(1, 121)}, **change}
    folds = write_own(tmp_path / "own.csv", {id_: fold for id_, fold in own.items() if fold is not None})
    with pytest.raises(DataError, match=words):
        dealt(records_folder, tmp_path, folds)
    assert not (tmp_path / "folds.csv").exists()


def test_folds_of_the_user_that_leak_are_an_error(tiny: Tiny, tmp_path: Path) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    rows[60] = rows[0]
    tiny.train.write_text("\n".join([header, *rows]) + "\n")
    competition = load(tiny.toml)
    convert(competition.data, competition.records, classes=competition.classes, source_digest="", out=tmp_path / "records")
    own: dict[str, object] = {str(number): number % 3 for number in range(1, 121)}
    for fold_of_copy in (own["1"], -1):
        dealt(tmp_path / "records", tmp_path, write_own(tmp_path / "own.csv", {**own, "61": fold_of_copy}))
    # Another fold, or one that always trains and so trains the model that is scored on its copy.
    for fold_of_copy in (0, -2):
        with pytest.raises(DataError, match="identical images stand in different folds: ids 1, 61"):
            dealt(tmp_path / "records", tmp_path, write_own(tmp_path / "own.csv", {**own, "61": fold_of_copy}))


def test_a_file_of_other_columns(records_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image,part\n1,0\n")
    with pytest.raises(DataError, match="its columns are 'image', 'part', where 'id' and 'fold' are meant"):
        dealt(records_folder, tmp_path, Folds(count=3, file=str(tmp_path / "own.csv")))
