"""Deal the labelled images into folds: stratified by class, identical images together."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from components.folds.audit import audit
from trainer import tables
from trainer.manifest import read_manifest, write_json
from trainer.progress import tell


def write_folds(
    records: str | Path, *, count: int, seed: int, classes: Sequence[str], out: str | Path, audit_out: str | Path
) -> None:
    """Assign a fold to each labelled image, audit the result, and write both.

    Args:
        records: a records folder, whole by its manifest.
        count: how many folds, at least 2.
        seed: of the competition.
        classes: the class names in order.
        out: `folds.csv`: id, fold.
        audit_out: the audit as JSON.

    Raises:
        DataError: the audit finds a leak, or a fold is empty.
    """
    read_manifest(records)
    examples = tables.read_examples(records)
    train = examples[examples["split"] == "train"].reset_index(drop=True)
    fold = assign(train["target"].to_numpy(), train["sha256"].to_numpy(), count=count, seed=seed)
    table = pd.DataFrame({"id": train["id"], "fold": fold})
    findings = audit(train, fold, count=count, classes=classes, test=examples[examples["split"] == "test"])
    tables.write_csv(out, table)
    write_json(audit_out, findings)
    for warning in findings["warnings"]:
        tell("note", "folds", f"warning: {warning}")
    tell(
        "note",
        "folds",
        f"{count} folds of {min(findings['images_a_fold'])} to {max(findings['images_a_fold'])} images, "
        f"{findings['duplicate_groups']} groups of identical images kept together, no leak",
    )


def assign(targets: np.ndarray, groups: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """A fold for each row: groups whole, classes spread as evenly as the groups allow.

    Greedy: the groups, large ones first and equals in seeded order, each go to the fold that holds the fewest images of the
    group's classes, then the fewest images; a fold's number breaks what ties are left.

    Args:
        targets: (n,) class indices.
        groups: (n,) labels of any one type; rows of one group get one fold.
        count: how many folds.
        seed: of the order among groups of one size.

    Returns:
        (n,) int64 folds, 0 to count - 1.
    """
    members: dict[object, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        members[group].append(row)
    order = np.random.default_rng(seed).permutation(len(members))
    shuffled = [list(members.values())[place] for place in order]
    shuffled.sort(key=len, reverse=True)
    held = np.zeros((count, int(targets.max(initial=0)) + 1), dtype=np.int64)
    sizes = np.zeros(count, dtype=np.int64)
    folds = np.empty(len(targets), dtype=np.int64)
    for rows in shuffled:
        present = np.bincount(targets[rows], minlength=held.shape[1])
        alike = held @ present
        # lexsort: the last key decides first, and it is stable, so the lowest fold wins a tie.
        best = int(np.lexsort((sizes, alike))[0])
        held[best] += present
        sizes[best] += len(rows)
        folds[rows] = best
    return folds
