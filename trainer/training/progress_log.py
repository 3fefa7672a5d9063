"""What a training job reports while it works: lines, a history, and TensorBoard files."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.config.member import Member
from trainer.config.preparation import NO_FOLD
from trainer.events import clock, emit

_SECONDS_BETWEEN_STEPS = 1.0


class ProgressLog:
    """Reports steps and epochs, and estimates how long the rest of the job takes."""

    def __init__(
        self,
        member: Member,
        folds: Sequence[int],
        steps: Mapping[int, int],
        metric: str,
        out: Path | None,
    ) -> None:
        """
        Args:
            member: the recipe.
            folds: the folds of the job, in order.
            steps: per epoch, by fold.
            metric: which score of the held-out images is printed.
            out: gets `tensorboard/`; None for a process that writes nothing.
        """
        self.member, self.folds, self.metric = member, list(folds), metric
        self.epochs = member.head_epochs + member.epochs
        self.steps = dict(steps)
        self.total = sum(self.steps[fold] for fold in self.folds) * self.epochs
        self.done = self.skipped = 0
        self.started = self.reported = time.monotonic()
        self.out = out

    def skip(self, steps: int) -> None:
        """Count steps that an earlier process did."""
        self.done += steps
        self.skipped += steps

    def step(self, fold: int, epoch: int, step: int) -> None:
        """Count a step, and report it to a live display now and then."""
        self.done += 1
        now = time.monotonic()
        if now - self.reported < _SECONDS_BETWEEN_STEPS:
            return
        self.reported = now
        place = f"{self._place(fold, epoch)}  step {step + 1}/{self.steps[fold]}"
        emit("epoch", "train", f"{place}  {self._left()} left", log=False)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Report an epoch by its row of the history."""
        names = ("loss", "val_loss", f"val_{self.metric}")
        scores = "".join(f"  {name} {row[name]:.4f}" for name in names if name in row)
        self.reported = time.monotonic()
        place = self._place(row["fold"], row["epoch"] - 1)
        emit("epoch", "train", f"{place}{scores}  {self._left()} left")

    def tensorboard(self, history: Sequence[Mapping[str, Any]], fold: int) -> None:
        """Replace a fold's TensorBoard file: a resumed training has one curve."""
        if self.out is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self.out / "tensorboard" / f"fold{fold}"
        for old in folder.glob("events*"):
            old.unlink()
        writer = EventFileWriter(str(folder))
        for row in history:
            values = [
                Summary.Value(tag=name, simple_value=row[name])
                for name in row
                if name not in ("fold", "epoch")
            ]
            summary = Summary(value=values)
            writer.add_event(Event(step=int(row["epoch"]), wall_time=time.time(), summary=summary))
        writer.close()

    def _place(self, fold: int, epoch: int) -> str:
        name = "all images" if fold == NO_FOLD else f"fold {fold}"
        if len(self.folds) > 1:
            name += f" ({self.folds.index(fold) + 1} of {len(self.folds)})"
        frozen = " (head only)" if epoch < self.member.head_epochs else ""
        return f"{self.member.name} {name}  epoch {epoch + 1}/{self.epochs}{frozen}"

    def _left(self) -> str:
        worked = self.done - self.skipped
        seconds_per_step = (time.monotonic() - self.started) / max(1, worked)
        return clock(seconds_per_step * (self.total - self.done))
