"""Cut the training of all members into tasks."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from trainer.config.competition import Train
from trainer.config.data import NO_FOLD, Folds, Records
from trainer.config.member import Member
from trainer.errors import CompetitionError


def plan(
    members: Sequence[Member],
    folds: Folds,
    train: Train,
    records: Records,
    *,
    weights_digest: str = "",
) -> list[dict[str, Any]]:
    """A task for every `folds_per_task` folds of every member, members in the order of the file.

    Returns:
        for each task `member`, all keys of the recipe, its size filled in; `folds`, a list of fold
        numbers, NO_FOLD alone for a member that trains on all images; `settings`, the section
        `train`; and `weights_digest`. Plain JSON values: it is what the pipeline's loop runs over.
    """
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise CompetitionError(f"members: more than one is named {name!r}")
    step = train.folds_per_task
    chunks = [
        list(range(first, min(first + step, folds.count))) for first in range(0, folds.count, step)
    ]
    # What an hour costs changes no model: a new price must find the training done.
    settings = asdict(replace(train, hourly_price=0.0))
    return [
        {
            "member": asdict(replace(member, size=member.size or records.sizes[0])),
            "folds": chunk,
            "settings": settings,
            "weights_digest": weights_digest,
        }
        for member in members
        for chunk in ([[NO_FOLD]] if member.validation == "none" else chunks)
    ]
