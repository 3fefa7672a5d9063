"""All members' predictions on the same rows: those of the training jobs, and external tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from components.blending.members import external
from components.blending.members.checks import (
    check_complete,
    check_folds,
    check_own,
    check_test_ids,
    fold_warnings,
)
from components.blending.members.missing import missing_rows, resolve_missing
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.output import Blend, Predictions
from trainer.errors import DataError
from trainer.metrics.candidates import TopClasses, certain, joined, spread

# Keys of a training job's manifest that the report shows.
_TOLD = ("member", "folds", "device", "parameters", "views", "libraries")


@dataclass(frozen=True)
class Members:
    """Everything that is blended: M members, n labelled rows and m test rows.

    Attributes:
        names: the M members' names.
        scored: names of the S members with out-of-fold rows.
        ids: the n labelled ids.
        targets: (n,) int64, as in the column `target`.
        fold: (n,) int64, the fold of each labelled row.
        oof: (S, n, classes) float32 out-of-fold probabilities in 0 to 1.
        oof_classes: (n, k) the k classes of each row that `oof` has columns of, as
            `trainer.metrics.candidates.joined` returns them; None if it has one column per class.
        test_ids: the m test ids.
        test: (M, m, classes) float32 test probabilities in 0 to 1, averaged over a member's models.
        test_classes: (m, k), as `oof_classes`.
        unknown: (n, k) bool, the columns of `oof` with a class that no member kept, the true one;
            None if there is one column per class.
        keep: how many classes of an image a model keeps; 0 for all.
        task: the competition's task, `binary`, `multiclass` or `multilabel`.
        validation: by member, how its models were chosen; `external` for an external table.
        history: the training histories of all jobs, with a column `member`.
        models: paths of the model files, by member and file name.
        tasks: what each training job's manifest reports.
        missing: number of out-of-fold and test rows that a member lacked; complete members are not
            listed.
        dropped: number of labelled rows left out because a member lacked them.
        warnings: messages about external tables, for the report.
    """

    names: list[str]
    scored: list[str]
    ids: list[str]
    targets: np.ndarray
    fold: np.ndarray
    oof: np.ndarray
    test_ids: list[str]
    test: np.ndarray
    task: str
    validation: dict[str, str]
    history: pd.DataFrame
    models: dict[str, dict[str, str]]
    tasks: list[dict[str, Any]]
    oof_classes: np.ndarray | None = None
    test_classes: np.ndarray | None = None
    unknown: np.ndarray | None = None
    keep: int = 0
    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: int = 0
    warnings: list[str] = field(default_factory=list)


class _Tables(NamedTuple):
    """A member's own rows.

    Attributes:
        oof: id, target, fold and one column per class, or lists of the most probable classes.
        test: id and one column per class; or fold and lists of each model's most probable classes.
    """

    oof: pd.DataFrame
    test: pd.DataFrame


def gather(
    tasks: Sequence[str | Path],
    labelled: pd.DataFrame,
    blend: Blend,
    classes: Sequence[str],
    expected: Mapping[str, Sequence[int]] | None = None,
    separator: str = " ",
) -> Members:
    """Join all members by id.

    Args:
        tasks: the folders that the training jobs wrote.
        labelled: id, fold and target of the n rows that are held out once.
        blend: the external tables, and what to do if rows are missing.
        classes: class names in order.
        expected: the folds that each member was to be trained on; None skips the check.
        separator: the text between several classes of one label, in external tables.

    Raises:
        IntegrityError: the results of a fold did not arrive; a job's rows are duplicated, have
            unknown ids, a fold or target that differs from `labelled`, or predictions that are not
            finite.
        DataError: a member lacks rows that `on_missing` does not allow to be missing or that no
            other member has; or an external table is invalid.
    """
    # Read only once, because reading checks the digest of every model.
    manifests = [read_manifest(folder) for folder in tasks]
    check_complete(manifests, expected)
    trained, summaries = _read_members(tasks, manifests)
    task = next(iter(summaries.values()))["task"]
    imported = {
        entry.name: _external(entry, labelled, classes, task, separator) for entry in blend.external
    }
    validation = {
        **{name: entry["validation"] for name, entry in summaries.items()},
        **dict.fromkeys(imported, "external"),
    }
    members = {**trained, **imported}
    scored = [name for name in members if validation[name] != "none"]
    for name in trained:
        if name in scored:
            check_own(name, members[name].oof, labelled, classes)
    test_ids = next(iter(trained.values())).test["id"].drop_duplicates()
    ids = labelled["id"]
    for name in trained:
        check_test_ids(name, members[name].test, test_ids)
    oof, oof_classes, unknown = _aligned(
        {name: members[name].oof for name in scored}, ids, classes, labelled["target"].to_numpy()
    )
    test, test_classes, _ = _aligned(
        {name: member.test for name, member in members.items()}, test_ids, classes
    )
    missing = missing_rows(oof, test)
    kept = np.ones(len(labelled), dtype=bool)
    if missing:
        kept = resolve_missing(
            oof, test, missing, blend, ids, test_ids, exclusive=task != "multilabel"
        )
        check_folds(labelled["fold"].to_numpy(), kept)
    return Members(
        names=list(members),
        scored=scored,
        ids=ids[kept].tolist(),
        targets=labelled["target"].to_numpy()[kept],
        fold=labelled["fold"].to_numpy()[kept],
        oof=(
            np.stack([oof[name][kept] for name in scored])
            if scored
            else np.empty((0, int(kept.sum()), len(classes)))
        ),
        test_ids=test_ids.tolist(),
        oof_classes=None if oof_classes is None else oof_classes[kept],
        test=np.stack(list(test.values())),
        test_classes=test_classes,
        unknown=None if unknown is None else unknown[kept],
        keep=int(manifests[0].get("keep", 0)),
        task=task,
        validation=validation,
        history=_history(tasks, manifests),
        models={name: dict(entry["models"]) for name, entry in summaries.items()},
        tasks=[{key: entry[key] for key in _TOLD} for entry in manifests],
        missing=missing,
        dropped=int((~kept).sum()),
        warnings=fold_warnings({name: member.oof for name, member in imported.items()}, labelled),
    )


def _history(tasks: Sequence[str | Path], manifests: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the training histories of all jobs, with a column `member`."""
    histories = [
        pd.read_csv(Path(folder) / tables.HISTORY).assign(member=entry["member"])
        for folder, entry in zip(tasks, manifests, strict=True)
    ]
    return pd.concat(histories, ignore_index=True)


def _read_members(
    tasks: Sequence[str | Path], manifests: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, _Tables], dict[str, dict[str, Any]]]:
    """Read each member's rows from all its training jobs, and summarise their manifests.

    Returns:
        by member: the rows, with test predictions averaged over folds; and `validation`, `task` and
        `models`, the paths of the model files by name.
    """
    oof: dict[str, list[pd.DataFrame]] = {}
    test: dict[str, list[pd.DataFrame]] = {}
    summaries: dict[str, dict[str, Any]] = {}
    for folder, manifest in zip(map(Path, tasks), manifests, strict=True):
        member = manifest["member"]
        summary = summaries.setdefault(
            member,
            {"validation": manifest["validation"], "task": manifest["task"], "models": {}},
        )
        summary["models"].update({name: str(folder / name) for name in manifest["models"]})
        oof.setdefault(member, []).append(pd.read_parquet(folder / tables.OOF))
        test.setdefault(member, []).append(pd.read_parquet(folder / tables.TEST))
    return {name: _Tables(pd.concat(oof[name]), _averaged(test[name])) for name in oof}, summaries


def _averaged(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return a member's test rows, averaged over its models, if they have one column per class."""
    # Summed in fold order: in the order of the jobs, float sums would differ in the last digit.
    rows = pd.concat(parts).sort_values("fold", kind="stable")
    if tables.keeps_top(rows):
        return rows
    return rows.drop(columns="fold").groupby("id", sort=False).mean().reset_index()


def _aligned(
    members: Mapping[str, pd.DataFrame],
    ids: pd.Series,
    classes: Sequence[str],
    truth: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray | None, np.ndarray | None]:
    """Return the members' rows in the order of the n `ids`.

    Args:
        members: the rows by member.
        ids: n ids.
        classes: class names in order.
        truth: (n,) true class indices, which are among the columns; None if they are not known.

    Returns:
        by member, (n, k) float32, NaN if a row is missing; (n, k) the classes of the columns; and
        (n, k) bool, whether no model kept a column's class. The last two are None if there is one
        column per class.
    """
    if not any(tables.keeps_top(rows) for rows in members.values()):
        return (
            {
                name: np.array(rows.set_index("id")[list(classes)].reindex(ids), dtype=np.float32)
                for name, rows in members.items()
            },
            None,
            None,
        )
    # An id has one row in each of several models, or one in all.
    models = {
        name: [
            _aligned_top(model, ids, classes)
            for model in (
                [rows] if rows["id"].is_unique else [model for _, model in rows.groupby("fold")]
            )
        ]
        for name, rows in members.items()
    }
    found = [model for parts in models.values() for model in parts]
    kept = joined(found if truth is None else [certain(truth, len(classes)), *found])
    values = {
        name: np.mean([spread(model, kept) for model in parts], axis=0)
        for name, parts in models.items()
    }
    unknown = np.zeros(kept.shape, dtype=bool)
    if truth is not None:
        known = np.any(
            [
                ((model.classes == truth[:, None]) & ~np.isnan(model.probabilities)).any(axis=1)
                for model in found
            ],
            axis=0,
        )
        unknown = (kept == truth[:, None]) & ~known[:, None]
    return values, kept, unknown


def _aligned_top(rows: pd.DataFrame, ids: pd.Series, classes: Sequence[str]) -> TopClasses:
    """Return a model's most probable classes in the order of `ids`, NaN if a row is missing."""
    kept = tables.probabilities_of(rows, classes)
    assert isinstance(kept, TopClasses)
    places = pd.Index(rows["id"]).get_indexer(ids)
    probabilities = kept.probabilities[places]
    probabilities[places < 0] = np.nan
    return TopClasses(kept.classes[places], probabilities, kept.count)


def _external(
    member: Predictions,
    labelled: pd.DataFrame,
    classes: Sequence[str],
    task: str,
    separator: str,
) -> _Tables:
    """Read an external member's tables, without rows of unlabelled ids.

    Raises:
        DataError: a table is invalid, or has other targets than the records.
    """
    oof = external.read(member, "oof", classes, task)
    oof = oof[oof["id"].isin(set(labelled["id"]))]
    if "target" in oof:
        own = oof["id"].map(labelled.set_index("id")["target"])
        for row, (label, target) in enumerate(zip(oof["target"].astype(str), own, strict=True)):
            name = tables.names(int(target), classes, task, separator)
            if label not in (str(target), name):
                raise DataError(
                    f"blend.external {member.name!r}, oof = {member.oof}: id"
                    f" {oof['id'].iloc[row]!r} has target {label!r}, but the records have {name!r}"
                )
    return _Tables(oof, external.read(member, "test", classes, task))
