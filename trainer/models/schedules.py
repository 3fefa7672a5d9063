"""Learning rates: plain functions of the place in the training. The compiled step gets the rate as
a number."""

import math
from dataclasses import dataclass

from trainer.config.member import Schedule
from trainer.metrics import better


def rate(schedule: Schedule, highest: float, *, epoch: float, epochs: int) -> float:
    """The learning rate at a place in the training.

    Args:
        schedule: of the recipe.
        highest: its highest value.
        epoch: how many epochs are done, with the part of the one under way; the ramp looks at whole
            ones only.
        epochs: how many there are in all.
    """
    if schedule.kind == "ramp":
        return highest * _ramp(schedule, math.floor(epoch))
    if epoch < schedule.warmup_epochs:
        return highest * (0.05 + 0.95 * epoch / schedule.warmup_epochs)
    if schedule.kind != "cosine":
        return highest
    # Half a cosine a cycle (Loshchilov and Hutter, arXiv:1608.03983, equation 5), all cycles of one
    # length.
    cycle = (epochs - schedule.warmup_epochs) / (schedule.restarts + 1)
    number = min(schedule.restarts, math.floor((epoch - schedule.warmup_epochs) / cycle))
    place = min(1.0, (epoch - schedule.warmup_epochs) / cycle - number)
    top = schedule.restart_decay**number
    return highest * (schedule.final + (top - schedule.final) * (1 + math.cos(math.pi * place)) / 2)


def _ramp(schedule: Schedule, epoch: int) -> float:
    """Ramp, sustain, decay, as a fraction of the highest rate."""
    if epoch < schedule.ramp_epochs:
        return schedule.start + (1 - schedule.start) * epoch / schedule.ramp_epochs
    late = max(0, epoch - schedule.ramp_epochs - schedule.sustain_epochs)
    return schedule.final + (1 - schedule.final) * schedule.decay**late


@dataclass
class Plateau:
    """The factor that a plateau of the monitored score has brought the rate to. Its fields are its
    whole state."""

    factor: float = 1.0
    best: float | None = None
    waited: int = 0

    def update(self, schedule: Schedule, metric: str, value: float) -> None:
        """After an epoch with this score; does nothing where the schedule is another."""
        if schedule.kind != "plateau":
            return
        if better(metric, value, self.best):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= schedule.patience:
            self.factor *= schedule.factor
            self.waited = 0
