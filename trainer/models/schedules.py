"""Learning rates: plain functions of the position in the training. The compiled step receives the
rate as a number."""

import math
from dataclasses import dataclass

from trainer.config.member import Schedule


def rate(schedule: Schedule, highest: float, *, epoch: float, epochs: int) -> float:
    """Return the learning rate at a position in the training.

    Args:
        schedule: the section `[members.schedule]`.
        highest: the highest learning rate.
        epoch: number of epochs done, with the fraction of the current one; the ramp uses only the
            whole number.
        epochs: number of epochs in total.
    """
    if schedule.kind == "ramp":
        return highest * _ramp(schedule, math.floor(epoch))
    if epoch < schedule.warmup_epochs:
        return highest * (0.05 + 0.95 * epoch / schedule.warmup_epochs)
    if schedule.kind != "cosine":
        return highest
    # Half a cosine per cycle (Loshchilov and Hutter, arXiv:1608.03983, equation 5); all cycles have
    # the same length.
    cycle = (epochs - schedule.warmup_epochs) / (schedule.restarts + 1)
    number = min(schedule.restarts, math.floor((epoch - schedule.warmup_epochs) / cycle))
    phase = min(1.0, (epoch - schedule.warmup_epochs) / cycle - number)
    top = schedule.restart_decay**number
    return highest * (schedule.final + (top - schedule.final) * (1 + math.cos(math.pi * phase)) / 2)


def _ramp(schedule: Schedule, epoch: int) -> float:
    """Return the rate of ramp, sustain and decay as a fraction of the highest rate."""
    if epoch < schedule.ramp_epochs:
        return schedule.start + (1 - schedule.start) * epoch / schedule.ramp_epochs
    decayed = max(0, epoch - schedule.ramp_epochs - schedule.sustain_epochs)
    return schedule.final + (1 - schedule.final) * schedule.decay**decayed


@dataclass
class Plateau:
    """The factor by which a plateau of the monitored score has reduced the learning rate.

    Attributes:
        factor: the product of the reductions so far.
        best: the best score so far; None before the first epoch.
        waited: epochs since the best score or the last reduction.
    """

    factor: float = 1.0
    best: float | None = None
    waited: int = 0

    def update(self, schedule: Schedule, value: float, *, rises: bool) -> None:
        """Record the score of an epoch; does nothing for another kind of schedule.

        Args:
            schedule: the section `[members.schedule]`.
            value: the score.
            rises: whether a higher score is better.
        """
        if schedule.kind != "plateau":
            return
        best = self.best
        if best is None or (value > best if rises else value < best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= schedule.patience:
            self.factor *= schedule.factor
            self.waited = 0
