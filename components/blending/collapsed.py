"""Members that have learnt, and still predict one class for nearly all images."""

from collections.abc import Sequence

import numpy as np

from components.blending.members.align import Members
from trainer.metrics.candidates import Targets, truth_of
from trainer.metrics.scores import decided

# Shares of the images that are predicted to be, and that may be, of the class; and the share of its
# first value that the training loss falls below.
_PREDICTED, _TRUE, _LOSS = 0.9, 0.5, 0.7


def collapsed(members: Members, targets: Targets, classes: Sequence[str]) -> list[str]:
    """Return a warning for each member that predicts one class for nearly all images, which few of
    them belong to, although its training loss has fallen.

    Args:
        members: all members.
        targets: of the labelled rows.
        classes: class names in order.
    """
    if targets.ndim == 2:
        return []
    truth, warnings = truth_of(targets), []
    for name, predictions in zip(members.scored, members.oof, strict=True):
        history = members.history[members.history["member"] == name]
        if not len(history):
            continue  # an external table
        found = np.bincount(decided(targets, predictions), minlength=len(classes))
        number = int(found.argmax())
        predicted, true = found[number] / len(truth), float((truth == number).mean())
        first, last = (
            float(history.groupby("fold")["loss"].nth(place).mean()) for place in (0, -1)
        )
        if predicted > _PREDICTED and true < _TRUE and last < _LOSS * first:
            warnings.append(
                f"{name} predicts {classes[number]!r} for {100 * predicted:.0f} % of the images,"
                f" of which {100 * true:.0f} % are, although its training loss fell from"
                f" {first:.2f} to {last:.2f}: lower optimizer.learning_rate, set"
                " schedule.warmup_epochs, or train for more epochs; if the backbone is your own,"
                " lower the momentum of its batch normalisation"
            )
    return warnings
