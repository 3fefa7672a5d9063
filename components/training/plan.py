"""Cut the training of all members into tasks."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from trainer.competition import Member, Train
from trainer.data import Folds, Records
from trainer.errors import CompetitionError
from trainer.progress import tell


def plan(members: Sequence[Member], folds: Folds, train: Train, records: Records) -> list[dict[str, Any]]:
    """A task for every `folds_per_task` folds of every member, members in the order of the file.

    Returns:
        for each task `member`, all keys of the recipe, its size filled in, and `folds`, a list of fold numbers. Plain JSON
        values: it is what the pipeline's loop runs over.
    """
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise CompetitionError(f"members: more than one is named {name!r}")
    step = train.folds_per_task
    chunks = [list(range(first, min(first + step, folds.count))) for first in range(0, folds.count, step)]
    sized = [replace(member, size=member.size or records.sizes[0]) for member in members]
    tasks = [{"member": asdict(member), "folds": chunk} for member in sized for chunk in chunks]
    tell("note", "plan", f"{len(members)} members × {folds.count} folds in {len(tasks)} training tasks")
    return tasks
