"""All members' predictions on the same rows: those of the training jobs, and external tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from components.blending import external
from components.blending.missing import missing_rows, resolve_missing
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.output import Blend, Predictions
from trainer.config.preparation import NO_FOLD
from trainer.errors import DataError, IntegrityError

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
        test_ids: the m test ids.
        test: (M, m, classes) float32 test probabilities in 0 to 1, averaged over a member's models.
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
    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    dropped: int = 0
    warnings: list[str] = field(default_factory=list)


class _Tables(NamedTuple):
    """A member's own rows.

    Attributes:
        oof: id, target, fold and one column per class.
        test: id and one column per class.
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
    _check_complete(manifests, expected)
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
            _check_own(name, members[name].oof, labelled, classes)
    test_ids = next(iter(trained.values())).test["id"]
    ids = labelled["id"]
    oof = {name: _aligned(members[name].oof, ids, classes) for name in scored}
    test = {name: _aligned(members[name].test, test_ids, classes) for name in members}
    for name in trained:
        _check_test_ids(name, members[name].test, test_ids)
    missing = missing_rows(oof, test)
    kept = np.ones(len(labelled), dtype=bool)
    if missing:
        kept = resolve_missing(
            oof, test, missing, blend, ids, test_ids, exclusive=task != "multilabel"
        )
        _check_folds(labelled["fold"].to_numpy(), kept)
    histories = [
        pd.read_csv(Path(folder) / tables.HISTORY).assign(member=entry["member"])
        for folder, entry in zip(tasks, manifests, strict=True)
    ]
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
        test=np.stack(list(test.values())),
        task=task,
        validation=validation,
        history=pd.concat(histories, ignore_index=True),
        models={name: dict(entry["models"]) for name, entry in summaries.items()},
        tasks=[{key: entry[key] for key in _TOLD} for entry in manifests],
        missing=missing,
        dropped=int((~kept).sum()),
        warnings=_fold_warnings(imported, labelled),
    )


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
    # Summed in fold order: in the order of the jobs, float sums would differ in the last digit.
    averaged = {
        member: (
            pd.concat(parts)
            .sort_values("fold", kind="stable")
            .drop(columns="fold")
            .groupby("id", sort=False)
            .mean()
        )
        for member, parts in test.items()
    }
    return {
        name: _Tables(pd.concat(oof[name]), averaged[name].reset_index()) for name in oof
    }, summaries


def _check_complete(
    manifests: Sequence[Mapping[str, Any]], expected: Mapping[str, Sequence[int]] | None
) -> None:
    """Check that the results of every training job of the plan have arrived, each once.

    Without this check, a backend that hands over only some of a loop's outputs would go unnoticed
    where the missing rows may be filled in.
    """
    if expected is None:
        return
    arrived: dict[str, list[int]] = {}
    for manifest in manifests:
        arrived.setdefault(manifest["member"], []).extend(manifest["folds"])
    for name in sorted(arrived.keys() | expected.keys()):
        wanted, found = Counter(expected.get(name, [])), Counter(arrived.get(name, []))
        if wanted != found:
            missing, surplus = sorted((wanted - found).elements()), sorted(found - wanted)
            which = (
                "the model of all images did not arrive"
                if missing == [NO_FOLD]
                else f"folds {', '.join(map(str, missing))} did not arrive"
                if missing
                else f"folds {', '.join(map(str, surplus))} arrived more often than planned"
            )
            raise IntegrityError(
                f"member {name!r}: results of {which} ({len(manifests)} training jobs arrived):"
                " the service did not hand over all outputs of the loop; run again, and report it"
                " if it stays"
            )


def _check_own(
    member: str, rows: pd.DataFrame, labelled: pd.DataFrame, classes: Sequence[str]
) -> None:
    """Check the rows that a member's training jobs wrote.

    Raises:
        IntegrityError: rows are duplicated, have unknown ids, a different fold or target, or
            predictions that are not finite.
    """
    duplicated = rows["id"][rows["id"].duplicated()]
    if len(duplicated):
        raise IntegrityError(
            f"member {member!r}: id {duplicated.iloc[0]!r} has more than one out-of-fold row"
        )
    joined = rows[["id", "fold", "target"]].merge(
        labelled, on="id", how="left", suffixes=("", "_own")
    )
    unknown = joined["id"][joined["fold_own"].isna()]
    if len(unknown):
        raise IntegrityError(f"member {member!r}: id {unknown.iloc[0]!r} is not in the folds table")
    wrong_fold = joined["id"][joined["fold"] != joined["fold_own"]]
    if len(wrong_fold):
        raise IntegrityError(
            f"member {member!r}: id {wrong_fold.iloc[0]!r} was predicted for a fold other than"
            " its own"
        )
    wrong_target = joined["id"][joined["target"] != joined["target_own"]]
    if len(wrong_target):
        raise IntegrityError(
            f"member {member!r}: id {wrong_target.iloc[0]!r} has a different target in the records"
        )
    not_finite = rows["id"][~np.isfinite(rows[list(classes)].to_numpy()).all(axis=1)]
    if len(not_finite):
        raise IntegrityError(
            f"member {member!r}: the predictions for id {not_finite.iloc[0]!r} are not finite"
            f" ({len(not_finite)} such ids): a model diverged; lower its learning_rate"
        )


def _check_test_ids(name: str, rows: pd.DataFrame, test_ids: pd.Series) -> None:
    """Check that a trained member has no test row that the first one lacks."""
    unknown = set(rows["id"]).difference(test_ids)
    if unknown:
        raise IntegrityError(
            f"member {name!r}: its test ids differ from those of the other members, for example"
            f" {min(unknown)!r}"
        )


def _aligned(rows: pd.DataFrame, ids: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """Return the rows in the order of `ids`: (n, classes) float32, NaN if a row is missing."""
    return np.array(rows.set_index("id")[list(classes)].reindex(ids), dtype=np.float32)


def _check_folds(fold: np.ndarray, kept: np.ndarray) -> None:
    """Raise a DataError if no row of a fold is kept."""
    for number in np.unique(fold):
        if not kept[fold == number].any():
            raise DataError(
                f"blend.on_missing = 'drop_rows': no row of fold {number} is in every member"
            )


def _fold_warnings(external_tables: Mapping[str, _Tables], labelled: pd.DataFrame) -> list[str]:
    """Return a warning for each external table that was, or may have been, made with other
    folds."""
    warnings = []
    consequence = (
        "images of one group may be on both sides of its split, so its score and its weight may be"
        " slightly too good"
    )
    for name, member in external_tables.items():
        if "fold" not in member.oof:
            warnings.append(
                f"{name} has no column 'fold': if it was made with other folds, {consequence}"
            )
            continue
        joined = member.oof[["id", "fold"]].merge(
            labelled[["id", "fold"]], on="id", suffixes=("_own", "")
        )
        if any(
            joined.groupby(first)[second].nunique().gt(1).any()
            for first, second in (("fold", "fold_own"), ("fold_own", "fold"))
        ):
            warnings.append(f"{name} was made with other folds: {consequence}")
    return warnings


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
