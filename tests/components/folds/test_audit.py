import numpy as np
import pandas as pd
import pytest

from components.folds.audit import audit, check_plausible
from trainer.errors import DataError

TEST = pd.DataFrame({"sha256": ["a", "z", "y", "x"]})
LINKS = np.array([["b", "z"], ["y", "b"], ["q", "r"]])


def train(hashes: str, targets: list[int]) -> pd.DataFrame:
    ids = [f"id{place}" for place in range(len(hashes))]
    return pd.DataFrame(
        {"id": ids, "sha256": list(hashes), "target": targets, "group": "", "near": ""}
    )


def test_identical_images_in_two_folds_are_an_error() -> None:
    with pytest.raises(DataError, match="identical images are in different folds: ids id0, id2"):
        audit(
            train("abac", [0, 0, 0, 1]),
            np.array([0, 0, 1, 1]),
            count=2,
            classes=["x", "y"],
            task="multiclass",
            test=TEST,
            links=LINKS,
        )


def test_a_group_in_two_folds_is_an_error() -> None:
    table = train("abcd", [0, 0, 0, 1]).assign(group=["p", "", "", "p"])
    with pytest.raises(DataError, match="images of one group are in different folds: ids id0, id3"):
        audit(
            table,
            np.array([0, 0, 1, 1]),
            count=2,
            classes=["x", "y"],
            task="multiclass",
            test=TEST,
            links=LINKS,
        )
    assert (
        audit(
            table,
            np.array([0, 0, 1, 0]),
            count=2,
            classes=["x", "y"],
            task="multiclass",
            test=TEST,
            links=LINKS,
        )["groups"]
        == 3
    )


def test_an_empty_fold_is_an_error() -> None:
    with pytest.raises(DataError, match="fold 1 would have no image"):
        audit(
            train("abc", [0, 0, 1]),
            np.array([0, 0, 2]),
            count=3,
            classes=["x", "y"],
            task="multiclass",
            test=TEST,
            links=LINKS,
        )


def test_what_it_counts() -> None:
    found = audit(
        train("aabcde", [0, 0, 0, 0, 1, 0]),
        np.array([0, 0, 0, 1, 1, 1]),
        count=2,
        classes=["x", "y"],
        task="multiclass",
        test=TEST,
        links=LINKS,
    )
    assert found["images_a_fold"] == [3, 3]
    assert found["class_counts"] == {"x": [3, 2], "y": [0, 1]}
    assert found["largest_deviation"] == pytest.approx(1 / 6)
    assert found["duplicate_sets"] == 1
    assert found["identical_in_test"] == 1
    assert found["warnings"][:1] == [
        "class 'y' is missing in 1 of 2 folds: it has 1 images in 1 groups"
    ]


def test_near_duplicates_in_two_folds_are_an_error() -> None:
    table = train("abcd", [0, 0, 0, 1]).assign(near=["n", "", "", "n"])
    with pytest.raises(
        DataError, match="near-duplicate images are .* ids id0, id3; folds.duplicates = 'identical'"
    ):
        audit(
            table,
            np.array([0, 0, 1, 1]),
            count=2,
            classes=["x", "y"],
            task="multiclass",
            test=TEST,
            links=LINKS,
        )
    found = audit(
        table,
        np.array([0, 0, 1, 0]),
        count=2,
        classes=["x", "y"],
        task="multiclass",
        test=TEST,
        links=LINKS,
    )
    assert (
        found["near_duplicate_sets"],
        found["largest_near_duplicate_set"],
        found["near_across_folds"],
    ) == (1, 2, 0)
    # Two of the test images are near-duplicates of one training image.
    assert found["near_in_test"] == 2


def test_duplicates_with_different_labels_are_reported() -> None:
    found = audit(
        train("aab", [0, 1, 1]),
        np.array([0, 0, 1]),
        count=2,
        classes=["x", "y"],
        task="multiclass",
        test=TEST,
        links=LINKS,
    )
    assert found["label_conflicts"] == [["id0", "id1"]]
    assert (
        "1 sets of duplicates have different labels, the first of them 'id0', 'id1'"
        in found["warnings"]
    )


def test_a_group_that_is_too_large_is_reported() -> None:
    table = train("abcd", [0, 1, 0, 1]).assign(group=["p", "p", "p", ""])
    found = audit(
        table,
        np.array([0, 0, 0, 1]),
        count=2,
        classes=["x", "y"],
        task="multiclass",
        test=TEST,
        links=LINKS,
    )
    assert "one group has 3 of 4 images, more than a fold's share" in found["warnings"]


def linked_rows(sets: list[int], targets: list[int]) -> pd.DataFrame:
    """A table in which each set has so many images; the rest has none."""
    near = [str(number) for number, size in enumerate(sets) for _ in range(size)]
    near += [""] * (len(targets) - len(near))
    ids = [f"i{number}" for number in range(len(targets))]
    return pd.DataFrame({"id": ids, "near": near, "target": targets, "group": ""})


def test_a_set_larger_than_a_fold_is_a_scene_and_no_copies() -> None:
    check_plausible(linked_rows([30], [0] * 100), 3)
    with pytest.raises(DataError, match="40 of 100 images are .*'identical'") as at:
        check_plausible(linked_rows([40], [0] * 100), 3)
    # Twenty ids, and how many more.
    assert str(at.value).count("'i") == 21
    assert "and 20 more" in str(at.value)


def test_sets_of_different_labels_in_bulk_are_no_copies() -> None:
    check_plausible(linked_rows([2] * 10, [0, 1] * 150), 3)
    with pytest.raises(DataError, match="30 of 300 images are in sets of near"):
        check_plausible(linked_rows([2] * 15, [0, 1] * 150), 3)
    check_plausible(linked_rows([2] * 15, [0, 0] * 150), 3)
    check_plausible(linked_rows([], [0] * 9), 3)


def test_a_set_within_a_group_of_the_user_s_belongs_together() -> None:
    rows = linked_rows([40], [0] * 100)
    rows.loc[:39, "group"] = "one video"
    check_plausible(rows, 3)
    rows.loc[5, "group"] = "another"
    with pytest.raises(DataError, match="40 of 100 images are near-duplicates"):
        check_plausible(rows, 3)


def test_thousands_of_missing_classes_are_one_line() -> None:
    classes = [f"c{number}" for number in range(3000)]
    hashes = "".join(chr(0x4E00 + number) for number in range(3000))
    found = audit(
        train(hashes, list(range(3000))),
        np.arange(3000) % 2,
        count=2,
        classes=classes,
        task="multiclass",
        test=TEST,
        links=LINKS,
    )
    (warning,) = found["warnings"]
    assert warning.startswith(
        "3000 of 3000 classes are missing in some fold, because they have few"
    )
    assert "'c0', 'c1'" in warning
    assert len(warning) < 400
