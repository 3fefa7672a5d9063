"""Out-of-fold and test tables of all training tasks -> one prediction an image, and scores that hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from components.blending import weights
from trainer import tables
from trainer.competition import Blend
from trainer.errors import IntegrityError
from trainer.manifest import read_manifest, write_json, write_manifest
from trainer.metrics import score
from trainer.progress import tell


def blend(
    tasks: Sequence[str | Path],
    *,
    folds_table: str | Path,
    blend: Blend,
    classes: Sequence[str],
    metric: str,
    out: str | Path,
) -> dict[str, Any]:
    """Blend the members, score each and the blend, and write the final tables.

    The blend's score is nested: a fold's rows are blended with weights found on the other folds. The test rows get the
    weights of all out-of-fold rows. `naive` is what those weights score on the rows they were found on, for comparison. A
    member that was trained on all images has no out-of-fold rows: it counts in the predictions, and in no score.

    Args:
        tasks: the folders that the training tasks wrote.
        folds_table: `folds.csv`; every id with a fold must have exactly one out-of-fold row a member.
        blend: the method.
        classes: the class names in order.
        metric: of the competition.
        out: the folder to write: oof.parquet, oof.csv, test.parquet (id and a column a class), history.csv (with a
            member column), metrics.json, manifest.json.

    Returns:
        what metrics.json holds.

    Raises:
        IntegrityError: a member lacks rows, has an id twice, or disagrees with another about a target.
    """
    out = Path(out)
    folds = tables.read_folds(folds_table)
    folds = folds[folds["fold"] >= 0].reset_index(drop=True)
    found = _gather(tasks, folds)
    oof, test = found.oof, found.test
    on_test = np.stack([table[list(classes)].to_numpy() for table in test.values()])
    mean = weights.mean_weights(len(test))
    chosen = mean
    final = pd.DataFrame({"id": pd.Series(dtype=str), "target": pd.Series(dtype=np.int64), "fold": pd.Series(dtype=np.int64)})
    final = final.assign(**dict.fromkeys(classes, pd.Series(dtype=np.float32)))
    unscored: dict[str, Any] = {"oof": None, "folds": []}
    metrics: dict[str, Any] = {"metric": metric, "blend": {**unscored, "naive": None}, "methods": {}, "members": {}}
    if oof:
        first = next(iter(oof.values()))
        targets = tables.truth(first["target"].to_numpy(), len(classes), found.task)
        fold = first["fold"].to_numpy()
        out_of_fold = np.stack([table[list(classes)].to_numpy() for table in oof.values()])
        honest = {"mean": weights.combine(out_of_fold, weights.mean_weights(len(oof)))}
        fitted = honest["mean"]
        if blend.method == "weights":
            chosen = weights.fit_weights(out_of_fold, targets)
            honest["weights"] = weights.nested(out_of_fold, targets, fold)
            fitted = weights.combine(out_of_fold, chosen)
        metrics["blend"] = {
            **_scores(metric, targets, honest[blend.method], fold),
            "naive": score(metric, targets, fitted),
        }
        metrics["methods"] = {name: _scores(metric, targets, blended, fold) for name, blended in honest.items()}
        metrics["members"] = {name: _scores(metric, targets, own, fold) for name, own in zip(oof, out_of_fold, strict=True)}
        final = first[["id", "target", "fold"]].copy()
        final[list(classes)] = honest[blend.method].astype(np.float32)
    metrics["members"] = {
        name: {**metrics["members"].get(name, unscored), "validation": found.validation[name]} for name in test
    }
    metrics["blend"] |= {"method": blend.method, "weights": dict(zip(test, chosen.tolist(), strict=True)), "scored": list(oof)}
    tables.write_parquet(out / tables.OOF, final)
    tables.write_csv(
        out / tables.OOF_CSV,
        final[["id", "target", *classes, "fold"]].assign(
            target=[tables.names(target, classes, found.task) for target in final["target"].to_numpy()]
        ),
    )
    predictions = next(iter(test.values()))[["id"]].copy()
    predictions[list(classes)] = weights.combine(on_test, chosen).astype(np.float32)
    tables.write_parquet(out / tables.TEST, predictions)
    tables.write_csv(out / tables.HISTORY, found.history)
    write_json(out / tables.METRICS, metrics)
    write_manifest(out, {"classes": list(classes), "task": found.task, "models": found.models})
    told = ", ".join(f"{name} {value['oof']:.4f}" for name, value in metrics["members"].items() if name in oof)
    scored = f"{metric} {metrics['blend']['oof']:.4f} out of fold" if oof else "no score, as no member is validated,"
    tell("note", "blend", f"{scored} by {blend.method}" + (f" ({told})" if told else ""))
    return metrics


def _scores(metric: str, targets: np.ndarray, probabilities: np.ndarray, fold: np.ndarray) -> dict[str, Any]:
    """`oof`: the score of all rows; `folds`: that of each fold's rows, in the order of the folds."""
    each = [score(metric, targets[fold == k], probabilities[fold == k]) for k in np.unique(fold)]
    return {"oof": score(metric, targets, probabilities), "folds": each}


class _Gathered(NamedTuple):
    """What all tasks left.

    oof: out-of-fold rows in the order of the folds table, of each member that was validated. test: its test rows, averaged over
    its models, of each member. task: of the competition. validation: how a member's models were chosen. models: their files, by
    member and file name.
    """

    oof: dict[str, pd.DataFrame]
    test: dict[str, pd.DataFrame]
    history: pd.DataFrame
    validation: dict[str, str]
    task: str
    models: dict[str, dict[str, str]]


def _gather(tasks: Sequence[str | Path], folds: pd.DataFrame) -> _Gathered:
    oof: dict[str, list[pd.DataFrame]] = {}
    test: dict[str, list[pd.DataFrame]] = {}
    histories = []
    validation: dict[str, str] = {}
    models: dict[str, dict[str, str]] = {}
    task = ""
    for folder in map(Path, tasks):
        about = read_manifest(folder)
        member = about["member"]
        validation[member], task = about["validation"], about["task"]
        models.setdefault(member, {}).update({name: str(folder / name) for name in map(tables.model_file, about["folds"])})
        oof.setdefault(member, []).append(pd.read_parquet(folder / tables.OOF))
        test.setdefault(member, []).append(pd.read_parquet(folder / tables.TEST))
        histories.append(pd.read_csv(folder / tables.HISTORY).assign(member=member))
    whole = {
        member: _in_order(member, pd.concat(parts), folds) for member, parts in oof.items() if validation[member] != "none"
    }
    first = next(iter(whole.values()), pd.DataFrame())
    for member, table in whole.items():
        if not table["target"].equals(first["target"]):
            place = int(np.flatnonzero((table["target"] != first["target"]).to_numpy())[0])
            raise IntegrityError(f"member {member!r}: id {table['id'][place]!r} has another target than in the other members")
    # Summed in the order of the folds: float sums in the order of the tasks would differ in the last digit.
    averaged = {
        member: pd.concat(parts).sort_values("fold", kind="stable").drop(columns="fold").groupby("id", sort=False).mean()
        for member, parts in test.items()
    }
    ids = next(iter(averaged.values())).index
    for member, table in averaged.items():
        if not table.index.equals(ids):
            raise IntegrityError(f"member {member!r}: its test ids are not those of the other members")
    test_rows = {member: table.reset_index() for member, table in averaged.items()}
    return _Gathered(whole, test_rows, pd.concat(histories, ignore_index=True), validation, task, models)


def _in_order(member: str, rows: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """One member's out-of-fold rows, joined by id to the folds table."""
    twice = rows["id"][rows["id"].duplicated()]
    if len(twice):
        raise IntegrityError(f"member {member!r}: id {twice.iloc[0]!r} has more than one out-of-fold row")
    joined = folds[["id"]].merge(rows, on="id", how="left", validate="one_to_one")
    lacking = joined["id"][joined["fold"].isna()]
    if len(lacking):
        raise IntegrityError(f"member {member!r}: no out-of-fold row for id {lacking.iloc[0]!r} ({len(lacking)} ids lack one)")
    if len(rows) > len(folds):
        extra = rows["id"][~rows["id"].isin(folds["id"])].iloc[0]
        raise IntegrityError(f"member {member!r}: id {extra!r} is not in the folds table")
    joined[["target", "fold"]] = joined[["target", "fold"]].astype(np.int64)
    different = np.flatnonzero(joined["fold"].to_numpy() != folds["fold"].to_numpy())
    if len(different):
        raise IntegrityError(
            f"member {member!r}: id {joined['id'][different[0]]!r} was predicted for another fold than its own"
        )
    return joined
