from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.blending.members.align import gather
from tests.support.member_tables import (
    CLASSES,
    FOLD,
    IDS,
    TARGETS,
    about,
    probabilities,
    write_task,
)
from trainer.artifacts import tables
from trainer.artifacts.manifest import write_manifest
from trainer.config.output import Blend, Predictions
from trainer.config.preparation import NO_FOLD
from trainer.errors import DataError, IntegrityError

FOLDS = pd.DataFrame({"id": IDS, "fold": FOLD, "target": TARGETS})
TEST_IDS = [f"t{number}" for number in range(5)]


def external(folder: Path, *, lacking: int = 0, **columns: object) -> Predictions:
    """Write two external prediction tables.

    The first is in another order and lacks its last `lacking` rows.
    """
    oof = pd.DataFrame({"image": IDS, **columns})
    oof[CLASSES] = probabilities(9, 30, TARGETS)
    oof.iloc[: 30 - lacking].sample(frac=1, random_state=1).to_csv(folder / "oof.csv", index=False)
    test = pd.DataFrame({"image": TEST_IDS})
    test[CLASSES] = probabilities(10, 5)
    test.to_csv(folder / "test.csv.gz", index=False)
    return Predictions(
        name="other", oof=str(folder / "oof.csv"), test=str(folder / "test.csv.gz"), id="image"
    )


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write_task(tmp_path / "a", "a", [0, 1, 2], seed=1)


def test_tables_made_elsewhere_join_by_id(tmp_path: Path, task: Path) -> None:
    found = gather([task], FOLDS, Blend(external=[external(tmp_path)]), CLASSES)
    assert found.names == found.scored == ["a", "other"]
    assert found.validation == {"a": "last", "other": "external"}
    np.testing.assert_allclose(found.oof[1], probabilities(9, 30, TARGETS), atol=1e-6)
    np.testing.assert_allclose(found.test[1], probabilities(10, 5), atol=1e-6)
    assert found.ids == IDS
    assert (found.targets == TARGETS).all()
    assert found.missing == {}
    assert found.warnings[0].startswith("other has no column 'fold'")


def test_missing_rows_stop_the_blend_and_are_named(tmp_path: Path, task: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"'other': no out-of-fold row for id 'i28' \(2 ids .*'drop_rows' to leave them out",
    ):
        gather([task], FOLDS, Blend(external=[external(tmp_path, lacking=2)]), CLASSES)


def test_missing_rows_are_dropped_for_all(tmp_path: Path, task: Path) -> None:
    found = gather(
        [task],
        FOLDS,
        Blend(on_missing="drop_rows", external=[external(tmp_path, lacking=2)]),
        CLASSES,
    )
    assert found.ids == IDS[:28]
    assert found.oof.shape == (2, 28, 3)
    assert (found.dropped, found.missing) == (2, {"other": {"oof": 2, "test": 0}})
    given = external(tmp_path)
    pd.read_csv(given.test).iloc[1:].to_csv(given.test, index=False)
    with pytest.raises(
        DataError, match="'other': no test row for id 't0' .*'impute_rank_mean' to fill them$"
    ):
        gather([task], FOLDS, Blend(on_missing="drop_rows", external=[given]), CLASSES)
    with pytest.raises(DataError, match="no row of fold 0 is in every member"):
        gather(
            [task],
            FOLDS,
            Blend(on_missing="drop_rows", external=[external(tmp_path, lacking=30)]),
            CLASSES,
        )


def test_missing_rows_are_filled_by_rank(tmp_path: Path, task: Path) -> None:
    found = gather(
        [task],
        FOLDS,
        Blend(on_missing="impute_rank_mean", external=[external(tmp_path, lacking=4)]),
        CLASSES,
    )
    assert found.ids == IDS
    filled, known = found.oof[1, 26:], found.oof[1, :26]
    assert not np.isnan(found.oof).any()
    np.testing.assert_allclose(filled.sum(axis=1), 1, atol=1e-6)
    assert filled.max() <= known.max() * 1.5
    # The row with the other member's highest value also gets the highest filled value.
    for column in range(3):
        assert filled[:, column].argmax() == found.oof[0, 26:, column].argmax()
    np.testing.assert_allclose(known, probabilities(9, 30, TARGETS)[:26], atol=1e-6)


def test_a_row_that_no_member_has_cannot_be_filled(tmp_path: Path) -> None:
    two = [write_task(tmp_path / f"b{fold}", "b", [fold], seed=1) for fold in (0, 1)]
    with pytest.raises(
        DataError, match="'b': 10 of its missing rows are missing from every other member"
    ):
        gather(two, FOLDS, Blend(on_missing="impute_rank_mean"), CLASSES)
    task = write_task(tmp_path / "c", "c", [0, 1, 2], seed=1)
    tables.write_parquet(task / tables.OOF, pd.read_parquet(task / tables.OOF).iloc[6:])
    write_manifest(task, about("c", [0, 1, 2]))
    found = gather(
        [task], FOLDS, Blend(on_missing="drop_rows", external=[external(tmp_path)]), CLASSES
    )
    assert (len(found.ids), found.missing) == (24, {"c": {"oof": 6, "test": 0}})


def test_ranks_that_say_nothing_fill_evenly(tmp_path: Path, task: Path) -> None:
    given = external(tmp_path, lacking=6)
    table = pd.read_csv(given.oof)
    sure = np.tile([1.0, 0.0, 0.0], (len(table), 1))
    table.assign(**{name: sure[:, k] for k, name in enumerate(CLASSES)}).assign(cat=1.0).to_csv(
        given.oof, index=False
    )
    found = gather([task], FOLDS, Blend(on_missing="impute_rank_mean", external=[given]), CLASSES)
    assert np.isfinite(found.oof).all()
    np.testing.assert_allclose(found.oof[1].sum(axis=1), 1, atol=1e-6)


def test_a_member_that_diverged_is_named(task: Path) -> None:
    table = pd.read_parquet(task / tables.OOF)
    table.loc[3, "dog"] = np.nan
    tables.write_parquet(task / tables.OOF, table)
    write_manifest(task, about("a", [0, 1, 2]))
    with pytest.raises(
        IntegrityError, match="member 'a': the predictions for id 'i\\d\\d' are not finite"
    ):
        gather([task], FOLDS, Blend(on_missing="impute_rank_mean"), CLASSES)


def test_targets_of_a_table_must_be_the_images_own(tmp_path: Path, task: Path) -> None:
    named = gather(
        [task],
        FOLDS,
        Blend(external=[external(tmp_path, target=np.array(CLASSES)[TARGETS])]),
        CLASSES,
    )
    numbered = gather(
        [task], FOLDS, Blend(external=[external(tmp_path, target=TARGETS, fold=FOLD)]), CLASSES
    )
    assert named.scored == numbered.scored == ["a", "other"]
    with pytest.raises(
        DataError, match="id 'i\\d\\d' has target '\\d', but the records have '(cat|dog|owl)'"
    ):
        gather(
            [task], FOLDS, Blend(external=[external(tmp_path, target=(TARGETS + 1) % 3)]), CLASSES
        )


def test_members_of_all_images_leave_the_score_to_the_tables(tmp_path: Path) -> None:
    final = write_task(tmp_path / "final", "final", [NO_FOLD], seed=2, validation="none")
    found = gather([final], FOLDS, Blend(method="mean", external=[external(tmp_path)]), CLASSES)
    assert (found.names, found.scored) == (["final", "other"], ["other"])
    assert (found.targets == TARGETS).all()


def test_other_folds_are_reported(tmp_path: Path, task: Path) -> None:
    same = gather([task], FOLDS, Blend(external=[external(tmp_path, fold=(FOLD + 1) % 3)]), CLASSES)
    assert same.warnings == []
    other = gather(
        [task], FOLDS, Blend(external=[external(tmp_path, fold=np.arange(30) // 10)]), CLASSES
    )
    assert other.warnings[0].startswith("other was made with other folds")


def test_of_two_classes_one_column_is_enough(tmp_path: Path) -> None:
    task = write_task(tmp_path / "a", "a", [0, 1, 2], seed=1)
    for name in (tables.OOF, tables.TEST):
        table = pd.read_parquet(task / name).drop(columns="owl")
        table["cat"] = 1 - table["dog"]
        if "target" in table:
            table["target"] %= 2
        tables.write_parquet(task / name, table)
    folds = FOLDS.assign(target=TARGETS % 2)
    write_manifest(task, about("a", [0, 1, 2], task="binary"))
    pd.DataFrame({"id": IDS, "p": np.linspace(0, 1, 30)}).to_csv(tmp_path / "oof.csv", index=False)
    pd.DataFrame({"id": TEST_IDS, "target": np.linspace(0, 1, 5)}).rename(
        columns={"target": "p"}
    ).to_parquet(tmp_path / "test.parquet")
    given = Predictions(
        name="x", oof=str(tmp_path / "oof.csv"), test=str(tmp_path / "test.parquet")
    )
    found = gather([task], folds, Blend(external=[given]), ["cat", "dog"])
    np.testing.assert_allclose(found.oof[1, :, 1], np.linspace(0, 1, 30), atol=1e-6)
    np.testing.assert_allclose(found.oof[1].sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.drop(columns="image"),
            "no column 'image'; the columns are cat, dog, owl",
        ),
        (lambda table: table.drop(columns="dog"), "no column 'dog' \\(1 of 3 classes lack one"),
        (lambda table: pd.concat([table, table[:1]]), "id 'i\\d\\d' occurs more than once"),
        (
            lambda table: table.assign(dog=[1.5, *table["dog"][1:]]),
            "row 1, .* 'dog': .*1.5.* is not a probability",
        ),
        (
            lambda table: table.assign(owl=["", *table["owl"][1:]]),
            "row 1, .* 'owl': .*nan.* is not a probability",
        ),
        (
            lambda table: table.assign(owl=table["owl"] * 0.5),
            "row 1, id 'i\\d\\d': the probabilities sum to 0.* .30 such rows",
        ),
        (
            lambda table: table.assign(owl="x"),
            "row 1, id 'i\\d\\d', column 'owl': 'x' is not a probability",
        ),
    ],
)
def test_tables_that_are_none_are_named(
    tmp_path: Path, task: Path, change: object, message: str
) -> None:
    given = external(tmp_path)
    change(pd.read_csv(given.oof)).to_csv(given.oof, index=False)  # type: ignore[operator]
    with pytest.raises(DataError, match="blend.external 'other', oof = .*" + message):
        gather([task], FOLDS, Blend(external=[given]), CLASSES)


def test_a_missing_file_is_named(tmp_path: Path, task: Path) -> None:
    with pytest.raises(DataError, match="oof = /nowhere/oof.csv: no such file"):
        gather(
            [task],
            FOLDS,
            Blend(external=[Predictions(name="x", oof="/nowhere/oof.csv", test="x")]),
            CLASSES,
        )


def test_results_that_a_service_did_not_hand_over_stop_the_blend(
    tmp_path: Path, task: Path
) -> None:
    """Even where missing rows may be filled in, as a blend of fewer models is another blend."""
    second = write_task(tmp_path / "b0", "b", [0], seed=2)
    third = write_task(tmp_path / "b1", "b", [1, 2], seed=2)
    filled = Blend(on_missing="impute_rank_mean")
    expected = {"a": [0, 1, 2], "b": [0, 1, 2]}
    assert gather([task, second, third], FOLDS, filled, CLASSES, expected).names == ["a", "b"]
    with pytest.raises(IntegrityError, match="b': results of folds 1, 2 did not arrive"):
        gather([task, second], FOLDS, filled, CLASSES, expected)
    with pytest.raises(IntegrityError, match="b': .* folds 0, 1, 2 did not arrive .1 train"):
        gather([task], FOLDS, filled, CLASSES, expected)
    with pytest.raises(IntegrityError, match="folds 1, 2 arrived more often than planned"):
        gather([task, second, third, third], FOLDS, filled, CLASSES, expected)
    with pytest.raises(IntegrityError, match="member 'b': .*more often than planned"):
        gather([task, second], FOLDS, filled, CLASSES, {"a": [0, 1, 2]})
