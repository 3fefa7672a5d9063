"""Checks that the rows of all members are complete and of the same images and folds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trainer.artifacts import tables
from trainer.config.preparation import NO_FOLD
from trainer.errors import DataError, IntegrityError


def check_complete(
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


def check_own(
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
    predicted = tables.probabilities_of(rows, classes)
    values = predicted if isinstance(predicted, np.ndarray) else predicted.probabilities
    not_finite = rows["id"][~np.isfinite(values).all(axis=1)]
    if len(not_finite):
        raise IntegrityError(
            f"member {member!r}: the predictions for id {not_finite.iloc[0]!r} are not finite"
            f" ({len(not_finite)} such ids): a model diverged; lower its learning_rate"
        )


def check_test_ids(name: str, rows: pd.DataFrame, test_ids: pd.Series) -> None:
    """Check that a trained member has no test row that the first one lacks."""
    unknown = set(rows["id"]).difference(test_ids)
    if unknown:
        raise IntegrityError(
            f"member {name!r}: its test ids differ from those of the other members, for example"
            f" {min(unknown)!r}"
        )


def check_folds(fold: np.ndarray, kept: np.ndarray) -> None:
    """Raise a DataError if no row of a fold is kept."""
    for number in np.unique(fold):
        if not kept[fold == number].any():
            raise DataError(
                f"blend.on_missing = 'drop_rows': no row of fold {number} is in every member"
            )


def fold_warnings(external_oof: Mapping[str, pd.DataFrame], labelled: pd.DataFrame) -> list[str]:
    """Return a warning for each external table that was, or may have been, made with other
    folds."""
    warnings = []
    consequence = (
        "images of one group may be on both sides of its split, so its score and its weight may be"
        " slightly too good"
    )
    for name, oof in external_oof.items():
        if "fold" not in oof:
            warnings.append(
                f"{name} has no column 'fold': if it was made with other folds, {consequence}"
            )
            continue
        joined = oof[["id", "fold"]].merge(labelled[["id", "fold"]], on="id", suffixes=("_own", ""))
        if any(
            joined.groupby(first)[second].nunique().gt(1).any()
            for first, second in (("fold", "fold_own"), ("fold_own", "fold"))
        ):
            warnings.append(f"{name} was made with other folds: {consequence}")
    return warnings
