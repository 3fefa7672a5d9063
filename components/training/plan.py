"""Splits the training of all members into training jobs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from trainer.config.machine import Train
from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD, Folds, Records
from trainer.errors import CompetitionError


def plan(
    members: Sequence[Member],
    folds: Folds,
    train: Train,
    records: Records,
    *,
    weights_digest: str = "",
    keep: int = 0,
) -> list[dict[str, Any]]:
    """Make a training job for every `folds_per_task` folds of every member.

    Args:
        members: the recipes.
        folds: the section [folds].
        train: the section [train].
        records: the section [records]; its first size is the default size of a member.
        weights_digest: a digest of the weight and code files that members name; "" if not known.
        keep: how many classes predictions keep, 0 for all.

    Returns:
        the jobs, members in the order of the file, as plain JSON values with the keys
        `member`: all keys of the recipe, with the size filled in;
        `folds`: a list of fold numbers, or [NO_FOLD] for a member that trains on all images;
        `settings`: the section [train];
        `weights_digest`; and `keep`.

    Raises:
        CompetitionError: two members have the same name.
    """
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise CompetitionError(f"members: more than one is named {name!r}")
    size = train.folds_per_task
    chunks = [
        list(range(first, min(first + size, folds.count))) for first in range(0, folds.count, size)
    ]
    # The price of an hour changes no model: training must be reused when only the price changes.
    settings = asdict(replace(train, hourly_price=0.0))
    return [
        {
            "member": asdict(replace(member, size=member.size or records.sizes[0])),
            "folds": chunk,
            "settings": settings,
            "weights_digest": weights_digest,
            "keep": keep,
        }
        for member in members
        for chunk in ([[NO_FOLD]] if member.validation == "none" else chunks)
    ]
