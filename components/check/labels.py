"""Checks that labels are classes, and that there are enough images of each."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from components.records.source import LabelUse
from trainer.config.competition import Competition
from trainer.config.data import Data
from trainer.config.gan import Gan
from trainer.errors import SHOWN, CompetitionError, shown
from trainer.metrics.names import needs_every_class

# Classes that a label which is none of them is compared with.
_COMPARED = 1000


def check_labels(
    file: Competition | Gan, origin: str, labels: Mapping[str | int, LabelUse]
) -> None:
    """Check that every label is a class, and every class has images.

    Args:
        file: as loaded.
        origin: the path of the file, for messages.
        labels: how each label is used, as `source.look` returns it.

    Raises:
        CompetitionError: labels are no classes: all of them, with what they may mean; or classes
            have no image, or fewer than the metric needs.
    """
    task = getattr(file, "task", "multiclass")
    known, counts = set(file.classes), Counter[str]()
    unknown: dict[str, LabelUse] = {}
    for label, use in labels.items():
        if isinstance(label, int):
            # Composed of parts, or the number of a class.
            names = [file.classes[label]] if 0 <= label < len(file.classes) else [str(label)]
        elif task == "multilabel":
            names = sorted({part.strip() for part in label.split(file.data.separator)} - {""})
        else:
            names = [label]
        for name in names:
            counts[name] += use.held_out
            if name not in known:
                before = unknown.get(name, LabelUse(0, 0, use.where))
                unknown[name] = before._replace(images=before.images + use.images)
    if unknown:
        raise CompetitionError(_unknown(file, origin, unknown, sorted(counts)))
    missing = [name for name in file.classes if not counts[name]]
    if missing:
        raise CompetitionError(
            f"{origin}: classes: no image of {shown(missing)}: remove them from `classes`, or add"
            " images of them"
        )
    if isinstance(file, Competition) and _is_scored(file) and needs_every_class(file.metric):
        held_out = sum(use.held_out for use in labels.values())
        always = [name for name in file.classes if counts[name] == held_out]
        if always:
            raise CompetitionError(
                f"{origin}: metric = {file.metric!r}: every image is of class {always[0]!r}, so its"
                " images cannot be ordered by it: remove the class, or use another metric"
            )
        single = [name for name in file.classes if counts[name] < 2]
        if single:
            raise CompetitionError(
                f"{origin}: metric = {file.metric!r}: class {single[0]!r} has a single image"
                f" ({len(single)} such classes), so no model can both train on the class and be"
                " scored on it: remove the class, or use another metric"
            )


def _is_scored(file: Competition) -> bool:
    """Return whether any member has out-of-fold predictions."""
    return any(member.validation != "none" for member in file.members) or bool(file.blend.external)


def _unknown(
    file: Competition | Gan, origin: str, unknown: Mapping[str, LabelUse], found: Sequence[str]
) -> str:
    """Return the message about labels that are no classes; `found` are all labels."""
    where = _column(file.data)
    lines = [
        f"{where}: {name!r} is not a class ({use.images} images, first {use.where})"
        f"{_hint(name, file)}"
        for name, use in sorted(unknown.items(), key=lambda item: -item[1].images)[:SHOWN]
    ]
    # Thousands of classes are no list that a person copies.
    kind = "labels" if file.data.train else "folders"
    listed = f"; the {kind} are {found}" if len(found) <= SHOWN else ""
    more = f", {SHOWN} of them above" if len(unknown) > SHOWN else ""
    return "\n".join(
        [
            *lines,
            f"{origin}: classes: {len(unknown)} labels are no classes{more}; classes are"
            f" {', '.join(file.classes[:SHOWN])}{', …' if len(file.classes) > SHOWN else ''}"
            f"{listed}",
        ]
    )


def _column(data: Data) -> str:
    if not data.train:
        return f"folders of {data.images}"
    return f"{data.train}, column {data.target!r}" if data.target else data.train


def _hint(name: str, file: Competition | Gan) -> str:
    """Return what a label that is no class may mean."""
    if not name:
        return ": an empty cell: write a class, or delete the row"
    if not file.data.train:
        test = PurePath(file.data.test_images or "").parts
        if name in test[:-1]:
            return (
                f": this folder has the test images (data.test_images = {file.data.test_images!r}):"
                " put the folders of the classes into one of their own, as in train/{class}/{id}.*"
            )
    meant = _meant(name, file.classes)
    return f": did you mean {meant!r}?" if meant else ""


def _meant(name: str, classes: Sequence[str]) -> str:
    """Return the class that a label may mean, "" if none is near."""
    folded = {one.strip().casefold(): one for one in classes}
    if name.strip().casefold() in folded:
        return folded[name.strip().casefold()]
    try:
        value = float(name)
    except ValueError:
        # One label takes half a second among thousands of classes.
        close = difflib.get_close_matches(name, classes if len(classes) <= _COMPARED else [], n=1)
        return close[0] if close else ""
    for one in classes:
        try:
            if float(one) == value:
                return one
        except ValueError:
            continue
    return ""
