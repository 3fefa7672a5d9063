"""All members' predictions on the same rows: what training tasks left, and tables made
elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from components.blending import external
from components.blending.methods import ranks
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.output import Blend, Predictions
from trainer.errors import DataError, IntegrityError

# What a training task's manifest says that the report shows.
_TOLD = ("member", "folds", "device", "parameters", "views", "libraries")


@dataclass(frozen=True)
class Members:
    """Everything that is blended. S of the M members have out-of-fold rows.

    names: of the M; scored: of the S. ids, targets (n,) as the column `target`, fold (n,), oof (S,
    n, classes) float32: of the labelled rows. test_ids, test (M, m, classes) float32, averaged over
    a member's models. task: of the competition.
    validation: how a member's models were chosen, `external` of tables made elsewhere. models: the
    files of the models, by member and file name. tasks: what each training task says of itself.
    missing: how many out-of-fold and test rows a member lacked. dropped: labelled rows that were
    left out for that."""

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
    """A member's own rows: (id, target, fold, a column a class) and (id, a column a class)."""

    oof: pd.DataFrame
    test: pd.DataFrame


def gather(
    tasks: Sequence[str | Path], labelled: pd.DataFrame, blend: Blend, classes: Sequence[str]
) -> Members:
    """Join all members by id.

    Args:
        tasks: the folders that training tasks wrote.
        labelled: id, fold and target of the rows that are held out once, n of them.
        blend: names external tables, and says what to do where rows are missing.
        classes: the class names in order.

    Raises:
        IntegrityError: a task's rows are there twice, of unknown ids, of another fold or target
            than their own, or no numbers. DataError: a member lacks rows and `on_missing` is error;
            an external table is not as it should be.
    """
    # Read once: reading checks the digest of every model.
    told = [read_manifest(folder) for folder in tasks]
    own, about = _of_tasks(tasks, told)
    task = next(iter(about.values()))["task"]
    given = {one.name: _external(one, labelled, classes, task) for one in blend.external}
    validation = {
        **{name: one["validation"] for name, one in about.items()},
        **dict.fromkeys(given, "external"),
    }
    members = {**own, **given}
    scored = [name for name in members if validation[name] != "none"]
    for name in own:
        if name in scored:
            _check_own(name, members[name].oof, labelled, classes)
    test_ids = next(iter(own.values())).test["id"]
    ids = labelled["id"]
    oof = {name: _aligned(members[name].oof, ids, classes) for name in scored}
    test = {name: _aligned(members[name].test, test_ids, classes) for name in members}
    for name in own:
        unknown = set(members[name].test["id"]).difference(test_ids)
        if unknown:
            raise IntegrityError(
                f"member {name!r}: its test ids are not those of the other members, as"
                f" {min(unknown)!r}"
            )
    missing = {
        name: {
            "oof": int(np.isnan(oof[name][:, 0]).sum()) if name in oof else 0,
            "test": int(np.isnan(test[name][:, 0]).sum()),
        }
        for name in members
    }
    missing = {name: counts for name, counts in missing.items() if any(counts.values())}
    kept = np.ones(len(labelled), dtype=bool)
    if missing:
        kept = _settled(oof, test, missing, blend, ids, test_ids, exclusive=task != "multilabel")
        _check_folds(labelled["fold"].to_numpy(), kept)
    histories = [
        pd.read_csv(Path(folder) / tables.HISTORY).assign(member=one["member"])
        for folder, one in zip(tasks, told, strict=True)
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
        models={name: dict(one["models"]) for name, one in about.items()},
        tasks=[{key: one[key] for key in _TOLD} for one in told],
        missing=missing,
        dropped=int((~kept).sum()),
        warnings=_other_folds(given, labelled),
    )


def _of_tasks(
    tasks: Sequence[str | Path], manifests: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, _Tables], dict[str, dict[str, Any]]]:
    """Each member's rows from all its tasks, and what its manifests say."""
    oof: dict[str, list[pd.DataFrame]] = {}
    test: dict[str, list[pd.DataFrame]] = {}
    about: dict[str, dict[str, Any]] = {}
    for folder, told in zip(map(Path, tasks), manifests, strict=True):
        member = told["member"]
        one = about.setdefault(
            member, {"validation": told["validation"], "task": told["task"], "models": {}}
        )
        one["models"].update(
            {name: str(folder / name) for name in map(tables.model_file, told["folds"])}
        )
        oof.setdefault(member, []).append(pd.read_parquet(folder / tables.OOF))
        test.setdefault(member, []).append(pd.read_parquet(folder / tables.TEST))
    # Summed in the order of the folds: float sums in the order of the tasks would differ in the
    # last digit.
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
    }, about


def _check_own(
    member: str, rows: pd.DataFrame, labelled: pd.DataFrame, classes: Sequence[str]
) -> None:
    twice = rows["id"][rows["id"].duplicated()]
    if len(twice):
        raise IntegrityError(
            f"member {member!r}: id {twice.iloc[0]!r} has more than one out-of-fold row"
        )
    joined = rows[["id", "fold", "target"]].merge(
        labelled, on="id", how="left", suffixes=("", "_own")
    )
    extra = joined["id"][joined["fold_own"].isna()]
    if len(extra):
        raise IntegrityError(f"member {member!r}: id {extra.iloc[0]!r} is not in the folds table")
    different = joined["id"][joined["fold"] != joined["fold_own"]]
    if len(different):
        raise IntegrityError(
            f"member {member!r}: id {different.iloc[0]!r} was predicted for another fold than"
            " its own"
        )
    other = joined["id"][joined["target"] != joined["target_own"]]
    if len(other):
        raise IntegrityError(
            f"member {member!r}: id {other.iloc[0]!r} has another target than in the records"
        )
    wrong = rows["id"][~np.isfinite(rows[list(classes)].to_numpy()).all(axis=1)]
    if len(wrong):
        raise IntegrityError(
            f"member {member!r}: the predictions of id {wrong.iloc[0]!r} are no numbers"
            f" ({len(wrong)} such ids): a model diverged, lower its learning_rate"
        )


def _aligned(rows: pd.DataFrame, ids: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """(n, classes) float32 in the order of `ids`; NaN where a row is missing."""
    return np.array(rows.set_index("id")[list(classes)].reindex(ids), dtype=np.float32)


def _settled(
    oof: dict[str, np.ndarray],
    test: dict[str, np.ndarray],
    missing: Mapping[str, Mapping[str, int]],
    blend: Blend,
    ids: pd.Series,
    test_ids: pd.Series,
    *,
    exclusive: bool,
) -> np.ndarray:
    """(n,) which labelled rows are kept; missing ones are filled in place where the file says
    so."""
    for name, counts in missing.items():
        for split, values, of in (
            ("out-of-fold", oof.get(name), ids),
            ("test", test[name], test_ids),
        ):
            count = counts["test" if split == "test" else "oof"]
            if count and (
                blend.on_missing == "error" or (blend.on_missing == "drop_rows" and split == "test")
            ):
                assert values is not None  # it was counted
                first = of[np.isnan(values[:, 0])].iloc[0]
                ways = "'impute_rank_mean' fills them" + (
                    "" if split == "test" else ", 'drop_rows' leaves them out"
                )
                raise DataError(
                    f"member {name!r}: no {split} row for id {first!r} ({count} ids lack one):"
                    f" blend.on_missing = {ways}"
                )
    kept = np.ones(len(ids), dtype=bool)
    if blend.on_missing == "drop_rows":
        for values in oof.values():
            kept &= ~np.isnan(values[:, 0])
    else:
        _impute(oof, test, exclusive=exclusive)
    return kept


def _impute(oof: dict[str, np.ndarray], test: dict[str, np.ndarray], *, exclusive: bool) -> None:
    """Fill missing rows by the mean of the ranks that the members which have them give them, in the
    member's own values.

    Ranks are among a member's own out-of-fold predictions, for test rows, too.
    """
    known = {name: np.sort(values[~np.isnan(values[:, 0])], axis=0) for name, values in oof.items()}
    for tables_ in (oof, test):
        holes = {name: np.isnan(tables_[name][:, 0]) for name in known}
        before = {name: tables_[name].copy() for name in known}
        for name, hole in holes.items():
            if not hole.any():
                continue
            total, count = (
                np.zeros((int(hole.sum()), before[name].shape[1])),
                np.zeros((int(hole.sum()), 1)),
            )
            for other, values in before.items():
                there = ~holes[other][hole]
                total[there] += ranks(known[other], values[hole][there])
                count += there[:, None]
            if (count == 0).any():
                raise DataError(
                    f"member {name!r}: {int((count == 0).sum())} rows that it lacks are in no other"
                    " member either"
                )
            filled = np.stack(
                [
                    np.quantile(known[name][:, k], share)
                    for k, share in enumerate((total / count).T)
                ],
                axis=1,
            )
            if exclusive:
                sums = filled.sum(axis=1, keepdims=True)
                filled = np.divide(
                    filled, sums, out=np.full_like(filled, 1 / filled.shape[1]), where=sums > 0
                )
            tables_[name][hole] = filled


def _check_folds(fold: np.ndarray, kept: np.ndarray) -> None:
    for number in np.unique(fold):
        if not kept[fold == number].any():
            raise DataError(
                f"blend.on_missing = 'drop_rows': no row of fold {number} is in every member"
            )


def _other_folds(given: Mapping[str, _Tables], labelled: pd.DataFrame) -> list[str]:
    """What to know of tables that were made with folds of their own."""
    found = []
    trouble = (
        "images of one group may stand on both sides of its split, so that its score, and its"
        " weight, may be a little too good"
    )
    for name, member in given.items():
        if "fold" not in member.oof:
            found.append(f"{name} has no column 'fold': if it was made with other folds, {trouble}")
            continue
        joined = member.oof[["id", "fold"]].merge(
            labelled[["id", "fold"]], on="id", suffixes=("_own", "")
        )
        if any(
            joined.groupby(one)[other].nunique().gt(1).any()
            for one, other in (("fold", "fold_own"), ("fold_own", "fold"))
        ):
            found.append(f"{name} was made with other folds: {trouble}")
    return found


def _external(
    given: Predictions, labelled: pd.DataFrame, classes: Sequence[str], task: str
) -> _Tables:
    oof = external.read(given, "oof", classes, task)
    oof = oof[oof["id"].isin(set(labelled["id"]))]
    if "target" in oof:
        own = oof["id"].map(labelled.set_index("id")["target"])
        for row, (told, target) in enumerate(zip(oof["target"].astype(str), own, strict=True)):
            if told not in (str(target), tables.names(int(target), classes, task)):
                raise DataError(
                    f"blend.external {given.name!r}, oof = {given.oof}: id {oof['id'].iloc[row]!r}"
                    f" has target {told!r}, the records say"
                    f" {tables.names(int(target), classes, task)!r}"
                )
    return _Tables(oof, external.read(given, "test", classes, task))
