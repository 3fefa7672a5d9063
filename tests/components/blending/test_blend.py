import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.blending.blend import blend
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
from trainer.artifacts.manifest import read_manifest, write_manifest
from trainer.config.output import Blend
from trainer.config.preparation import NO_FOLD
from trainer.errors import DataError, IntegrityError


def log_loss(of_rows: np.ndarray) -> float:
    """Compute the mean log loss over all rows from its definition."""
    return float(-np.log(of_rows[np.arange(30), TARGETS].astype(np.float64)).mean())


@pytest.fixture
def folds_table(tmp_path: Path) -> Path:
    examples = pd.DataFrame(
        {"id": IDS, "split": "train", "group": ["g", "g", *[""] * 28], "target": TARGETS}
    )
    tables.write_parquet(tmp_path / "records" / tables.EXAMPLES, examples)
    rejects = pd.DataFrame(columns=["id", "file", "reason", "bytes", "split"])
    tables.write_csv(tmp_path / "records" / tables.REJECTS, rejects)
    write_manifest(tmp_path / "records", {"separator": ";"})
    tables.write_csv(tmp_path / "folds.csv", pd.DataFrame({"id": IDS, "fold": FOLD}))
    return tmp_path / "folds.csv"


def blended(
    tasks: list[Path],
    folds_table: Path,
    out: Path,
    method: str = "weights",
    metric: str = "accuracy",
    **others: Any,
) -> dict[str, Any]:
    return blend(
        tasks,
        folds_table=folds_table,
        records=folds_table.parent / "records",
        blend=Blend(method=method, resamples=100, **others),  # type: ignore[arg-type]
        classes=CLASSES,
        metric=metric,
        seed=1,
        out=out,
    )


def test_the_cut_into_tasks_does_not_matter(tmp_path: Path, folds_table: Path) -> None:
    whole = [
        write_task(tmp_path / name, name, [0, 1, 2], seed=seed) for seed, name in enumerate("ab", 1)
    ]
    cut = [
        write_task(tmp_path / f"{name}{fold}", name, [fold], seed=seed)
        for fold in (2, 0, 1)
        for seed, name in enumerate("ab", 1)
    ]
    assert blended(whole, folds_table, tmp_path / "x") == blended(cut, folds_table, tmp_path / "y")
    for name in (tables.OOF, tables.TEST, tables.OOF_CSV, tables.TEST_CSV, tables.METRICS):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_the_tables_and_scores(tmp_path: Path, folds_table: Path) -> None:
    tasks = [
        write_task(tmp_path / name, name, [0, 1, 2], seed=seed) for seed, name in enumerate("ab", 1)
    ]
    found = blended(tasks, folds_table, tmp_path / "out")
    assert found == json.loads((tmp_path / "out" / tables.METRICS).read_text())
    said = read_manifest(tmp_path / "out")
    assert said["classes"] == CLASSES
    assert said["models"]["a"] == {
        f"fold{fold}.keras": str(tmp_path / "a" / f"fold{fold}.keras") for fold in range(3)
    }
    assert found["members"]["a"]["oof"] == pytest.approx(
        (probabilities(1, 30, TARGETS).argmax(axis=1) == TARGETS).mean()
    )
    assert len(found["members"]["a"]["folds"]) == 3
    oof = pd.read_csv(tmp_path / "out" / tables.OOF_CSV)
    assert oof.columns.tolist() == ["id", "target", "prediction", *CLASSES, "fold"]
    assert oof["prediction"].tolist() == [
        CLASSES[best] for best in oof[CLASSES].to_numpy().argmax(axis=1)
    ]
    assert oof["id"].tolist() == IDS
    assert oof["target"].tolist() == [CLASSES[target] for target in TARGETS]
    # The reported score is that of the rows in the table. Weights fitted on all rows score higher
    # on those rows.
    assert found["blend"]["oof"] == pytest.approx(
        (oof[CLASSES].to_numpy().argmax(axis=1) == TARGETS).mean()
    )
    own = [probabilities(seed, 30, TARGETS) for seed in (1, 2)]
    naive = sum(
        weight * one for weight, one in zip(found["blend"]["weights"].values(), own, strict=True)
    )
    assert found["blend"]["naive"] == pytest.approx((naive.argmax(axis=1) == TARGETS).mean())
    assert log_loss(naive) < log_loss(oof[CLASSES].to_numpy())
    assert sum(found["blend"]["weights"].values()) == pytest.approx(1)
    test = pd.read_parquet(tmp_path / "out" / tables.TEST)
    weights = found["blend"]["weights"]
    expected = sum(
        weights[name] * np.mean([probabilities(seed * 100 + fold, 5) for fold in range(3)], axis=0)
        for seed, name in enumerate("ab", 1)
    )
    np.testing.assert_allclose(test[CLASSES], expected, atol=1e-6)


def test_the_mean_weighs_all_alike(tmp_path: Path, folds_table: Path) -> None:
    tasks = [
        write_task(tmp_path / name, name, [0, 1, 2], seed=seed) for seed, name in enumerate("ab", 1)
    ]
    found = blended(tasks, folds_table, tmp_path / "out", "mean")
    assert found["blend"]["weights"] == {"a": 0.5, "b": 0.5}
    assert found["blend"]["oof"] == found["methods"]["mean"]["oof"]
    assert found["blend"]["oof"] == pytest.approx(found["blend"]["naive"])


def test_rows_that_are_missing_twice_or_foreign_are_named(
    tmp_path: Path, folds_table: Path
) -> None:
    two = [write_task(tmp_path / f"a{fold}", "a", [fold], seed=1) for fold in (0, 1)]
    with pytest.raises(
        DataError,
        match=r"'a': no out-of-fold row for id 'i02' \(10 ids lack one\): set blend.on_missing",
    ):
        blended(two, folds_table, tmp_path / "out")
    again = write_task(tmp_path / "again", "a", [1, 2], seed=1)
    with pytest.raises(
        IntegrityError, match=r"member 'a': id 'i\d\d' has more than one out-of-fold row"
    ):
        blended([*two, again], folds_table, tmp_path / "out")
    tables.write_csv(folds_table, pd.DataFrame({"id": IDS, "fold": (FOLD + 1) % 3}))
    whole = write_task(tmp_path / "whole", "b", [0, 1, 2], seed=1)
    with pytest.raises(
        IntegrityError, match=r"member 'b': id 'i\d\d' was predicted for a fold other"
    ):
        blended([whole], folds_table, tmp_path / "out")
    tables.write_csv(folds_table, pd.DataFrame({"id": [*IDS, "stranger"], "fold": [*FOLD, 0]}))
    with pytest.raises(IntegrityError, match="folds table: id 'stranger' is not in the records"):
        blended([whole], folds_table, tmp_path / "out")
    tables.write_csv(folds_table, pd.DataFrame({"id": IDS[:-1], "fold": FOLD[:-1]}))
    with pytest.raises(IntegrityError, match="member 'b': id 'i29' is not in the folds table"):
        blended([whole], folds_table, tmp_path / "out")


def test_a_half_written_task_is_refused(tmp_path: Path, folds_table: Path) -> None:
    task = write_task(tmp_path / "a", "a", [0, 1, 2], seed=1)
    (task / "manifest.json").unlink()
    with pytest.raises(IntegrityError, match="did not finish"):
        blended([task], folds_table, tmp_path / "out")


def test_a_member_of_all_images_counts_in_the_predictions_and_in_no_score(
    tmp_path: Path, folds_table: Path
) -> None:
    scored = write_task(tmp_path / "a", "a", [0, 1, 2], seed=1)
    final = write_task(tmp_path / "final", "final", [NO_FOLD], seed=2, validation="none")
    found = blended([scored, final], folds_table, tmp_path / "out", "mean")
    assert found["members"]["final"] == {
        "oof": None,
        "folds": [],
        "low": None,
        "high": None,
        "validation": "none",
    }
    assert found["blend"]["oof"] == found["members"]["a"]["oof"]
    assert found["blend"]["weights"] == {"a": 0.5, "final": 0.5}
    assert found["blend"]["scored"] == ["a"]
    test = pd.read_parquet(tmp_path / "out" / tables.TEST)
    of_a = np.mean([probabilities(100 + fold, 5) for fold in range(3)], axis=0)
    np.testing.assert_allclose(
        test[CLASSES], (of_a + probabilities(200 + NO_FOLD, 5)) / 2, atol=1e-6
    )


def test_without_a_validated_member_there_is_no_score(tmp_path: Path, folds_table: Path) -> None:
    final = write_task(tmp_path / "final", "final", [NO_FOLD], seed=2, validation="none")
    found = blended([final], folds_table, tmp_path / "out", "mean")
    assert (found["blend"]["oof"], found["blend"]["folds"], found["blend"]["naive"]) == (
        None,
        [],
        None,
    )
    assert len(pd.read_parquet(tmp_path / "out" / tables.OOF)) == 0
    assert pd.read_csv(tmp_path / "out" / tables.OOF_CSV).columns.tolist() == [
        "id",
        "target",
        "prediction",
        *CLASSES,
        "fold",
    ]


def test_everything_a_reader_wants_to_know(tmp_path: Path, folds_table: Path) -> None:
    tasks = [
        write_task(tmp_path / name, name, [0, 1, 2], seed=seed)
        for seed, name in enumerate("abc", 1)
    ]
    options = {"calibration": "temperature", "thresholds": "macro_f1", "per_class": True}
    found = blended(tasks, folds_table, tmp_path / "out", "auto", **options)
    assert list(found["methods"]) == ["mean", "greedy", "weights", "logistic"]
    for value in [found["blend"], *found["methods"].values(), *found["members"].values()]:
        assert value["low"] <= value["oof"] <= value["high"]
    for value in found["methods"].values():
        assert {"naive", "oof", "blend_gains"} <= value.keys()
    assert found["blend"]["method"] in found["methods"]
    assert list(found["blend"]["method_of_folds"]) == ["0", "1", "2"]
    assert found["blend"]["level2"]["choice"]["scores"].keys() == found["methods"].keys()
    assert found["metrics"]["accuracy"]["oof"] == found["blend"]["oof"]
    assert {"roc_auc", "brier", "calibration_error", "quadratic_kappa"} <= found["metrics"].keys()
    errors = np.array(found["diversity"]["errors"])
    np.testing.assert_allclose(errors, errors.T)
    np.testing.assert_allclose(np.diag(errors), 1)
    adds = found["diversity"]["adds"]
    assert adds.keys() == {"a", "b", "c"}
    assert found["diversity"]["leave_out"] == [name for name in adds if adds[name]["gain"] <= 0]
    assert found["calibration"]["before"]["log_loss"] != found["calibration"]["after"]["log_loss"]
    assert sum(point["rows"] for point in found["calibration"]["after"]["curve"]) == 30
    said = read_manifest(tmp_path / "out")
    assert said["thresholds"] == found["blend"]["level2"]["thresholds"]
    # The score is computed from the decisions in the table.
    oof = pd.read_parquet(tmp_path / "out" / tables.OOF)
    assert found["blend"]["oof"] == pytest.approx((oof["prediction"] == oof["target"]).mean())


def test_several_classes_an_image(tmp_path: Path, folds_table: Path) -> None:
    truth = np.random.default_rng(0).random((30, 3)) < 0.4
    records = tmp_path / "records" / tables.EXAMPLES
    tables.write_parquet(records, pd.read_parquet(records).assign(target=tables.numbered(truth)))
    write_manifest(tmp_path / "records", {"separator": ";"})
    tasks = []
    for seed, name in enumerate("ab", 1):
        task = write_task(tmp_path / name, name, [0, 1, 2], seed=seed)
        oof = pd.read_parquet(task / tables.OOF)
        here = truth[oof["id"].map(IDS.index).to_numpy()]
        oof["target"] = tables.numbered(here)
        oof[CLASSES] = np.where(here, 0.7, 0.3) * np.random.default_rng(seed).random(
            (30, 3)
        ).astype(np.float32)
        tables.write_parquet(task / tables.OOF, oof)
        write_manifest(task, about(name, [0, 1, 2], task="multilabel"))
        tasks.append(task)
    found = blended(
        tasks, folds_table, tmp_path / "out", "auto", calibration="platt", thresholds="macro_f1"
    )
    assert "quadratic_kappa" not in found["metrics"]
    oof_csv = pd.read_csv(tmp_path / "out" / tables.OOF_CSV, keep_default_na=False)
    assert oof_csv["target"].tolist() == [";".join(np.array(CLASSES)[row]) for row in truth]
    oof = pd.read_parquet(tmp_path / "out" / tables.OOF)
    assert found["blend"]["oof"] == pytest.approx((oof["prediction"] == oof["target"]).mean())


def test_what_the_blend_gains_is_positive_also_of_a_loss(tmp_path: Path, folds_table: Path) -> None:
    tasks = [
        write_task(tmp_path / name, name, [0, 1, 2], seed=seed) for seed, name in enumerate("ab", 1)
    ]
    found = blended(tasks, folds_table, tmp_path / "out", "mean", metric="log_loss")
    for name, member in found["members"].items():
        gain = member["oof"] - found["blend"]["oof"]
        assert (gain > 0) is (name == "b")
        assert member["blend_gains"]["low"] < gain < member["blend_gains"]["high"]


def test_test_images_that_cannot_be_used_have_the_mean_prediction(
    tmp_path: Path, folds_table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects = pd.DataFrame(
        [("bad", "bad.png", "an empty file", 0, "test"), ("i00", "x", "damaged", 1, "train")],
        columns=["id", "file", "reason", "bytes", "split"],
    )
    tables.write_csv(tmp_path / "records" / tables.REJECTS, rejects)
    write_manifest(tmp_path / "records", {"on_bad_test_image": "prior"})
    tasks = [write_task(tmp_path / name, name, [0, 1, 2], seed=1) for name in "ab"]
    found = blended(tasks, folds_table, tmp_path / "out")
    assert found["test_images_without_prediction"] == ["bad"]
    assert (
        "1 test images cannot be used and have the mean prediction of the others: 'bad'"
        in (found["warnings"][-1])
    )
    test = pd.read_parquet(tmp_path / "out" / tables.TEST).set_index("id")[CLASSES]
    np.testing.assert_allclose(test.loc["bad"], test.drop("bad").mean(), rtol=1e-6)
    assert read_manifest(tmp_path / "out")["on_bad_test_image"] == "prior"
