import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.folds.make_folds import copies, write_folds
from tests.support.tiny import Tiny, converted
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest, write_manifest
from trainer.config.load import load_competition
from trainer.config.preparation import LEFT_OUT, Folds
from trainer.errors import DataError

CLASSES = [str(digit) for digit in range(10)]


def dealt(records: Path, folder: Path, folds: Folds) -> tuple[dict[str, int], dict[str, Any]]:
    """Write the folds; return the folds table as a dictionary, and the audit."""
    written = {"out": folder / "folds.csv", "audit_out": folder / "audit.json"}
    write_folds(records, folds, seed=1, classes=CLASSES, **written)
    table = tables.read_folds(folder / "folds.csv")
    return dict(zip(table["id"], table["fold"].tolist(), strict=True)), json.loads(
        (folder / "audit.json").read_text()
    )


def test_the_written_table_and_audit_agree(records_folder: Path, tmp_path: Path) -> None:
    fold_of, audit = dealt(records_folder, tmp_path, Folds(count=3))
    examples = tables.read_examples(records_folder).query("split == 'train'")
    assert list(fold_of) == examples["id"].tolist()
    fold = np.array(list(fold_of.values()))
    assert audit["images_a_fold"] == np.bincount(fold).tolist()
    for index, name in enumerate(CLASSES):
        counts = np.bincount(fold[(examples["target"] == index).to_numpy()], minlength=3)
        assert audit["class_counts"][name] == counts.tolist()
        shares = counts / np.bincount(fold)
        assert audit["prevalence"][name]["folds"] == pytest.approx(shares.tolist())
        assert (
            np.abs(shares - audit["prevalence"][name]["overall"]).max()
            <= audit["largest_deviation"] + 1e-12
        )


def test_more_folds_than_images(records_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="would have no image: 120 images in 120 groups are too few"
    ):
        dealt(records_folder, tmp_path, Folds(count=50, file=str(write_all(tmp_path / "all.csv"))))
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]


def write_all(path: Path) -> Path:
    path.write_text("id,fold\n" + "".join(f"{number},0\n" for number in range(1, 121)))
    return path


def test_the_groups_of_a_column_and_identical_images_stay_together(
    tiny: Tiny, tmp_path: Path
) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    # Row 61 repeats row 1, so the people of both become one group.
    rows[60] = rows[0]
    people = [f"p{number // 4}" if number < 100 else "" for number in range(120)]
    lines = [
        f"person,{header}",
        *(f"{person},{row}" for person, row in zip(people, rows, strict=True)),
    ]
    tiny.train.write_text("\n".join(lines) + "\n")
    tiny.toml.write_text(
        tiny.toml.read_text().replace('target = "label"', 'target = "label"\ngroup = "person"')
    )
    fold_of, audit = dealt(
        converted(load_competition(tiny.toml), tmp_path / "records"), tmp_path, Folds(count=3)
    )
    fold = np.array(list(fold_of.values()))
    for person in set(people) - {""}:
        assert len(set(fold[np.array(people) == person])) == 1
    assert fold[0] == fold[60]
    assert len(set(fold[100:])) == 3
    assert (audit["groups"], audit["duplicate_sets"]) == (45, 1)


def test_excluded_images_have_no_fold(records_folder: Path, tmp_path: Path) -> None:
    fold_of, audit = dealt(records_folder, tmp_path, Folds(count=3, exclude=["5", "77"]))
    assert [id_ for id_, fold in fold_of.items() if fold == LEFT_OUT] == ["5", "77"]
    assert (audit["left_out"], sum(audit["images_a_fold"])) == (2, 118)
    with pytest.raises(DataError, match="folds.exclude: '999' is not a labelled image"):
        dealt(records_folder, tmp_path, Folds(count=3, exclude=["999"]))


def write_own(path: Path, folds: dict[str, object]) -> Folds:
    path.write_text("id,fold\n" + "".join(f"{id_},{fold}\n" for id_, fold in folds.items()))
    return Folds(count=3, file=str(path))


def test_the_user_s_own_folds_are_taken_as_they_are(records_folder: Path, tmp_path: Path) -> None:
    own: dict[str, object] = {str(number): number % 3 for number in range(120, 0, -1)}
    own |= {"4": -1, "9": -2, "10": -2}
    fold_of, audit = dealt(records_folder, tmp_path, write_own(tmp_path / "own.csv", own))
    assert fold_of == own
    assert (audit["left_out"], audit["always_train"], sum(audit["images_a_fold"])) == (1, 2, 117)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"7": 3}, "own.csv: row 7, column 'fold': '3' is not a whole number from -2 to 2"),
        ({"7": "x"}, "own.csv: row 7, column 'fold': 'x' is no"),
        ({"200": 1}, "own.csv: row 121, column 'id': '200' is not a labelled image"),
        ({"7": None}, "own.csv: no fold for id '7' .1 labelled images"),
        ({str(number): 0 for number in range(1, 121)}, "fold 1 would have no image"),
    ],
)
def test_folds_that_cannot_be_are_named(
    records_folder: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    own = {**{str(number): number % 3 for number in range(1, 121)}, **change}
    folds = write_own(
        tmp_path / "own.csv", {id_: fold for id_, fold in own.items() if fold is not None}
    )
    with pytest.raises(DataError, match=words):
        dealt(records_folder, tmp_path, folds)
    assert not (tmp_path / "folds.csv").exists()


def test_folds_of_the_user_that_leak_are_an_error(tiny: Tiny, tmp_path: Path) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    rows[60] = rows[0]
    tiny.train.write_text("\n".join([header, *rows]) + "\n")
    converted(load_competition(tiny.toml), tmp_path / "records")
    own: dict[str, object] = {str(number): number % 3 for number in range(1, 121)}
    for fold_of_copy in (own["1"], -1):
        dealt(
            tmp_path / "records",
            tmp_path,
            write_own(tmp_path / "own.csv", {**own, "61": fold_of_copy}),
        )
    # A different fold, or ALWAYS_TRAINS (-2), which trains the model that is scored on the copy.
    for fold_of_copy in (0, -2):
        with pytest.raises(DataError, match="identical images are in different folds: ids 1, 61"):
            dealt(
                tmp_path / "records",
                tmp_path,
                write_own(tmp_path / "own.csv", {**own, "61": fold_of_copy}),
            )


def test_a_file_of_other_columns(records_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image,part\n1,0\n")
    with pytest.raises(
        DataError, match="its columns are 'image', 'part'; expected 'id' and 'fold'"
    ):
        dealt(records_folder, tmp_path, Folds(count=3, file=str(tmp_path / "own.csv")))


def test_ids_to_exclude_from_a_file(records_folder: Path, tmp_path: Path) -> None:
    for text in ("id\n5\n77\n", "5\n77\n", "id,why\n5,blurred\n77,\n"):
        (tmp_path / "out.csv").write_text(text)
        fold_of, _ = dealt(
            records_folder,
            tmp_path,
            Folds(count=3, exclude=["9"], exclude_file=str(tmp_path / "out.csv")),
        )
        assert [id_ for id_, fold in fold_of.items() if fold == LEFT_OUT] == ["5", "9", "77"]
    (tmp_path / "out.csv").write_text("5\n999\n")
    with pytest.raises(DataError, match=r"out.csv: '999' is not a labelled image"):
        dealt(records_folder, tmp_path, Folds(count=3, exclude_file=str(tmp_path / "out.csv")))


def examples(**columns: list[object]) -> pd.DataFrame:
    rows = len(next(iter(columns.values())))
    return pd.DataFrame(
        {"sha256": [str(n) for n in range(rows)], "near": "", "external": "", **columns}
    )


def test_the_first_of_duplicates_is_kept() -> None:
    table = examples(sha256=["a", "b", "a", "c", "d", "a"], near=["", "x", "", "x", "", ""])
    assert copies(table, np.ones(6, dtype=bool)).tolist() == [False, False, True, True, False, True]
    # An image that is left out cannot be the original.
    assert copies(table, np.array([False, True, True, True, True, True])).tolist() == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    # The competition's own images take precedence over external ones.
    table["external"] = ["train", "", "", "", "", ""]
    assert copies(table, np.ones(6, dtype=bool)).tolist() == [True, False, False, True, False, True]


def test_an_external_image_that_is_also_among_those_dealt_is_left_out(
    records_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(records_folder, tmp_path / "records"))
    table = tables.read_examples(folder)
    table.loc[100:119, "external"] = "train"
    # 101 is the same image as 1; 103 is of the same person as 2; 105 and 106 are the same image,
    # and no other image matches.
    table.loc[100, "sha256"] = table.loc[0, "sha256"]
    table.loc[[1, 102], "group"] = "p"
    table.loc[105, "sha256"] = table.loc[104, "sha256"]
    tables.write_parquet(folder / tables.EXAMPLES, table)
    write_manifest(folder, read_manifest(records_folder))
    fold_of, audit = dealt(folder, tmp_path, Folds(count=3))
    fold = np.array(list(fold_of.values()))
    assert (fold[:100] >= 0).all()
    assert [place for place in range(100, 120) if fold[place] == LEFT_OUT] == [100, 102]
    assert (audit["always_train"], audit["left_out"]) == (18, 2)


def test_tabular_strata_are_spread(records_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(records_folder, tmp_path / "records"))
    table = tables.read_examples(folder)
    generator = np.random.default_rng(0)
    table["tabular_age"] = np.where(
        generator.random(150) < 0.1, np.nan, generator.integers(0, 90, 150).astype(float)
    )
    table["tabular_sex"] = generator.choice(["f", "m", ""], 150)
    tables.write_parquet(folder / tables.EXAMPLES, table)
    write_manifest(folder, read_manifest(records_folder))
    fold_of, _ = dealt(folder, tmp_path, Folds(count=3, strata=["age", "sex"], bins=3))
    fold = np.array(list(fold_of.values()))
    train = table[:120]
    old = train["tabular_age"] >= train["tabular_age"].quantile(2 / 3)
    for chosen in (
        train["tabular_sex"] == "f",
        train["tabular_sex"] == "",
        train["tabular_age"].isna(),
        old,
    ):
        assert np.ptp(np.bincount(fold[chosen.to_numpy()], minlength=3)) <= 3


def test_external_images_that_always_train_never_validate(
    records_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(records_folder, tmp_path / "records"))
    table = tables.read_examples(folder)
    table.loc[110:119, "external"] = "train"
    tables.write_parquet(folder / tables.EXAMPLES, table)
    write_manifest(folder, read_manifest(records_folder))
    own: dict[str, object] = {str(number): number % 3 for number in range(1, 111)} | dict.fromkeys(
        map(str, range(111, 121)), -2
    )
    fold_of, _ = dealt(folder, tmp_path, write_own(tmp_path / "own.csv", own))
    assert fold_of == own
    with pytest.raises(
        DataError,
        match="row 115, column 'fold': 1, but '115' belongs to an external set that never",
    ):
        dealt(folder, tmp_path, write_own(tmp_path / "own.csv", {**own, "115": 1}))


def test_ids_that_were_rejected_may_be_excluded_and_none_left_is_named(
    records_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(records_folder, tmp_path / "records"))
    bad = pd.DataFrame(
        [("bad", "x.png", "an empty file", 0, "train")],
        columns=["id", "file", "reason", "bytes", "split"],
    )
    tables.write_csv(folder / tables.REJECTS, bad)
    write_manifest(folder, read_manifest(records_folder))
    _, audit = dealt(folder, tmp_path, Folds(count=3, exclude=["bad", "7"]))
    assert audit["left_out"] == 1
    with pytest.raises(DataError, match="no image is left to assign to a fold: all are excluded"):
        dealt(folder, tmp_path, Folds(count=3, exclude=[str(number) for number in range(1, 121)]))


def test_a_test_image_between_two_others_makes_no_duplicates_of_them(
    records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.read_examples(records_folder)
    one, other, between = (table["sha256"][place] for place in (0, 1, 130))
    links = np.array([[one, between], [between, other]])
    monkeypatch.setattr("components.folds.make_folds.near_duplicates", lambda *_: links)
    fold_of, audit = dealt(records_folder, tmp_path, Folds(count=3, duplicates="drop"))
    assert min(fold_of.values()) == 0
    assert (audit["near_in_test"], audit["near_duplicate_sets"], audit["label_conflicts"]) == (
        1,
        0,
        [],
    )
    monkeypatch.setattr(
        "components.folds.make_folds.near_duplicates", lambda *_: np.array([[one, other]])
    )
    fold_of, audit = dealt(records_folder, tmp_path, Folds(count=3, duplicates="drop"))
    assert [id_ for id_, fold in fold_of.items() if fold == LEFT_OUT] == ["2"]
