"""Out-of-fold and test tables of all members -> one prediction per image, and nested scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.blending import stack
from components.blending.collapsed import collapsed
from components.blending.members.align import Members, gather
from components.blending.methods import Rows
from components.blending.scores import scores, without_scores
from components.blending.stack import Level1
from components.storage.objects import local_path
from trainer.artifacts import tables
from trainer.artifacts.manifest import check_digest, read_manifest, write_json, write_manifest
from trainer.config.output import Blend
from trainer.config.preparation import NO_FOLD
from trainer.errors import IntegrityError, shown
from trainer.events import emit
from trainer.metrics.candidates import (
    Predicted,
    Targets,
    concatenated,
    mean_row,
    narrowed,
    of_arrays,
    repeated,
    true_among,
)
from trainer.metrics.scores import decided


def blend(
    tasks: Sequence[str | Path],
    *,
    folds_table: str | Path,
    records: str | Path,
    blend: Blend,
    classes: Sequence[str],
    metric: str,
    seed: int,
    out: str | Path,
    digest: str = "",
    planned: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Blend the members, score each member and the blend, and write the final tables.

    The blend's score is nested: each fold's rows are predicted by a level 2 fitted on the other
    folds. The test rows are predicted by a level 2 fitted on all out-of-fold rows. `naive` is that
    level 2's score on the rows it was fitted on, for comparison. A member trained on all images has
    no out-of-fold rows: it contributes to the predictions but to no score.

    Args:
        tasks: the folders that the training jobs wrote.
        folds_table: path of `folds.csv`.
        records: the records folder, for the targets and for the groups, which the bootstrap draws
            complete.
        blend: the settings.
        classes: class names in order.
        metric: the competition's metric.
        seed: of the bootstrap.
        out: the folder to write: oof.parquet, oof.csv, test.parquet and test.csv (id and one column
            per class, or the most probable classes), history.csv (with a column `member`),
            metrics.json, manifest.json.
        digest: the launcher's digest of the external tables; "" skips the check.
        planned: `validation` of every member that was to be trained, by name; None skips the check
            that the results of all its folds have arrived.

    Returns:
        the contents of metrics.json.

    Raises:
        IntegrityError: an image of the folds table is not in the records; or as for `gather`.
        DataError: an external table has changed since the launch; or as for `gather`.
        TrainingError: a fold lacks a class that the metric needs.
    """
    out = Path(out)
    check_digest(
        [local_path(path) for external in blend.external for path in (external.oof, external.test)],
        digest,
    )
    labelled = _labelled(tables.read_folds(folds_table), tables.read_examples(records))
    expected = None
    if planned is not None:
        numbers = sorted(set(labelled["fold"]))
        expected = {
            name: [NO_FOLD] if validation == "none" else numbers
            for name, validation in planned.items()
        }
    stored = read_manifest(records, only=())
    separator = stored.get("separator", " ")
    unusable = _unusable_tests(records)
    members = gather(tasks, labelled, blend, classes, expected, separator)
    count = len(classes)
    if not members.scored:
        width = members.keep or count
        nobody = [np.empty((0, width), np.int64)] * bool(members.keep) + [np.empty((0, width))]
        result = _with_unusable(without_scores(members, metric, blend), unusable)
        _write_oof(
            out,
            members,
            of_arrays(nobody, count),
            np.empty(0 if members.task != "multilabel" else (0, count), dtype=np.int64),
            classes,
            separator,
        )
        blended = members.test.mean(axis=0, dtype=np.float64)
        tested = _kept(blended, members.test_classes, members.keep, count)
        _write_rest(out, members, tested, None, result, classes, stored, unusable)
        emit("note", "blend", "no score, as no member has out-of-fold rows; blended by mean")
        return result
    targets: Targets = tables.truth(members.targets, count, members.task)
    if members.oof_classes is not None:
        targets = true_among(members.targets, members.oof_classes, count)
    rows = Rows(members.oof, targets, metric)
    level1 = Level1(rows, members.fold, _clusters(labelled, members.ids))
    fitted = stack.fit(level1, blend, seed)
    nested = stack.nested(level1, blend, seed)
    # No score can weigh a member trained on all images, so the blend is then the mean of all
    # members.
    all_scored = len(members.scored) == len(members.names)
    final = (
        fitted.apply(members.test) if all_scored else members.test.mean(axis=0, dtype=np.float64)
    )
    result = _with_unusable(scores(members, level1, blend, fitted, nested, seed), unusable)
    result["warnings"] += collapsed(members, targets, classes)
    _write_oof(
        out,
        members,
        _kept(nested.probabilities, members.oof_classes, members.keep, count, members.unknown),
        decided(targets, nested.probabilities, nested.thresholds),
        classes,
        separator,
    )
    tested = _kept(final, members.test_classes, members.keep, count)
    _write_rest(out, members, tested, fitted.thresholds, result, classes, stored, unusable)
    _print_scores(result, members.scored)
    return result


def _labelled(folds: pd.DataFrame, examples: pd.DataFrame) -> pd.DataFrame:
    """Return id, fold, target and group of the images that are held out once.

    Raises:
        IntegrityError: one of them is not in the records.
    """
    train = examples[examples["split"] == "train"]
    held_out = folds[folds["fold"] >= 0]
    labelled = held_out.merge(train[["id", "target", "group"]], on="id", validate="one_to_one")
    if len(labelled) < len(held_out):
        unknown = held_out["id"][~held_out["id"].isin(labelled["id"])]
        raise IntegrityError(
            f"folds table: id {unknown.iloc[0]!r} is not in the records ({len(unknown)} such ids)"
        )
    return labelled


def _unusable_tests(records: str | Path) -> list[str]:
    """Return the ids of the test images that cannot be used."""
    rejects = tables.read_rejects(Path(records) / tables.REJECTS)
    ids: list[str] = rejects["id"][rejects["split"] == "test"].tolist()
    return ids


def _with_unusable(result: dict[str, Any], unusable: Sequence[str]) -> dict[str, Any]:
    """Return the scores with the test images that have no prediction of their own."""
    warnings = [
        f"{len(unusable)} test images cannot be used and have the mean prediction of the others:"
        f" {shown(unusable)}"
    ]
    return {
        **result,
        "test_images_without_prediction": list(unusable),
        "warnings": [*result["warnings"], *(warnings if unusable else [])],
    }


def _print_scores(result: Mapping[str, Any], scored: Sequence[str]) -> None:
    own = ", ".join(f"{name} {result['members'][name]['oof']:.4f}" for name in scored)
    total = result["blend"]
    between = f" ({total['low']:.4f} to {total['high']:.4f})" if total["low"] is not None else ""
    emit(
        "note",
        "blend",
        f"{result['metric']} {total['oof']:.4f}{between} out of fold by {total['method']} ({own})",
    )
    for warning in result["warnings"]:
        emit("note", "blend", f"warning: {warning}")


def _clusters(labelled: pd.DataFrame, ids: Sequence[str]) -> np.ndarray:
    """Return the number of each row's group, from 0: (n,) int64. An image without a group is a
    group of its own."""
    group = labelled.set_index("id")["group"].loc[list(ids)].to_numpy()
    alone = np.array([f"\0{number}" for number in range(len(group))])
    return np.unique(np.where(group == "", alone, group), return_inverse=True)[1]


def _kept(
    probabilities: np.ndarray,
    classes: np.ndarray | None,
    keep: int,
    count: int,
    unknown: np.ndarray | None = None,
) -> Predicted:
    """Return what the tables keep of n rows of blended probabilities.

    Args:
        probabilities: (n, k).
        classes: (n, k) the classes of the columns, None if there is one column per class.
        keep: how many classes of each row to keep.
        count: the number of all classes.
        unknown: (n, k) bool, the columns whose class no member kept; None for none.
    """
    if classes is None:
        return probabilities
    return narrowed(probabilities, classes, count, keep, unknown)


def _write_oof(
    out: Path,
    members: Members,
    probabilities: Predicted,
    predicted: np.ndarray,
    classes: Sequence[str],
    separator: str,
) -> None:
    """Write oof.parquet with class numbers, and oof.csv with class names."""
    rows = len(probabilities)
    table = pd.DataFrame(
        {
            "id": pd.Series(members.ids[:rows], dtype=str),
            "target": members.targets[:rows].astype(np.int64),
        }
    )
    table["fold"] = members.fold[:rows].astype(np.int64)
    table["prediction"] = tables.numbered(predicted)
    values = tables.probability_columns(probabilities, classes)
    tables.write_parquet(out / tables.OOF, pd.concat([table, values], axis=1))
    class_names = {
        column: [
            tables.names(value, classes, members.task, separator)
            for value in table[column].to_numpy()
        ]
        for column in ("target", "prediction")
    }
    first = table.assign(**class_names)[["id", "target", "prediction"]]
    shown = tables.csv_columns(probabilities, classes)
    tables.write_csv(out / tables.OOF_CSV, pd.concat([first, shown, table["fold"]], axis=1))


def _write_rest(
    out: Path,
    members: Members,
    final: Predicted,
    thresholds: np.ndarray | None,
    metrics: Mapping[str, Any],
    classes: Sequence[str],
    stored: Mapping[str, Any],
    unusable: Sequence[str],
) -> None:
    """Write the test predictions, the histories, the scores, and the manifest.

    Test images that cannot be used follow the others, with their mean prediction."""
    if unusable:
        final = concatenated([final, repeated(mean_row(final), len(unusable))])
    ids = pd.DataFrame({"id": [*members.test_ids, *unusable]})
    columns = tables.probability_columns(final, classes)
    tables.write_parquet(out / tables.TEST, pd.concat([ids, columns], axis=1))
    shown = tables.csv_columns(final, classes)
    tables.write_csv(out / tables.TEST_CSV, pd.concat([ids, shown], axis=1))
    tables.write_csv(out / tables.HISTORY, members.history)
    write_json(out / tables.METRICS, metrics)
    about = {
        "classes": list(classes),
        "task": members.task,
        "models": members.models,
        "tasks": members.tasks,
        "thresholds": None if thresholds is None else thresholds.tolist(),
        "on_bad_test_image": stored.get("on_bad_test_image", "fail"),
    }
    write_manifest(out, about)
