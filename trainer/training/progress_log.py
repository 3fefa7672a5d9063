"""What a training task tells while it trains: lines, a history, and files that TensorBoard
reads."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.artifacts import tables
from trainer.config.member import Member
from trainer.events import clock, emit

_SECONDS_BETWEEN_STEPS = 1.0


class ProgressLog:
    """Tells of steps and epochs; knows how much of the task is left."""

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
            steps: of an epoch of each fold. metric: what is told of the held-out images.
            out: gets `tensorboard/`; None for a process that writes nothing.
        """
        self.member, self.folds, self.metric = member, list(folds), metric
        self.epochs = member.head_epochs + member.epochs
        self.steps = dict(steps)
        self.total = sum(self.steps[fold] for fold in self.folds) * self.epochs
        self.done = self.found = 0
        self.started = self.told = time.monotonic()
        self.out = out

    def skip(self, steps: int) -> None:
        """So many steps were done before this process began."""
        self.done += steps
        self.found += steps

    def step(self, fold: int, epoch: int, step: int) -> None:
        """After each step: a line now and then."""
        self.done += 1
        now = time.monotonic()
        if now - self.told < _SECONDS_BETWEEN_STEPS:
            return
        self.told = now
        text = (
            f"{self._where(fold, epoch)}  step {step + 1}/{self.steps[fold]}  {self._left()} left"
        )
        emit("epoch", "train", text, log=False)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """After each epoch, with its row of the history."""
        scores = "".join(
            f"  {name} {row[name]:.4f}"
            for name in ("loss", "val_loss", f"val_{self.metric}")
            if name in row
        )
        self.told = time.monotonic()
        emit(
            "epoch",
            "train",
            f"{self._where(row['fold'], row['epoch'] - 1)}{scores}  {self._left()} left",
        )

    def tensorboard(self, history: Sequence[Mapping[str, Any]], fold: int) -> None:
        """Write a fold's history where TensorBoard finds it, in place of what was there: a resumed
        run leaves one curve."""
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
            writer.add_event(
                Event(step=int(row["epoch"]), wall_time=time.time(), summary=Summary(value=values))
            )
        writer.close()

    def _where(self, fold: int, epoch: int) -> str:
        of = "all images" if fold == tables.NO_FOLD else f"fold {fold}"
        number = (
            f" ({self.folds.index(fold) + 1} of {len(self.folds)})" if len(self.folds) > 1 else ""
        )
        frozen = " (head only)" if epoch < self.member.head_epochs else ""
        return f"{self.member.name} {of}{number}  epoch {epoch + 1}/{self.epochs}{frozen}"

    def _left(self) -> str:
        worked = self.done - self.found
        return clock((time.monotonic() - self.started) / max(1, worked) * (self.total - self.done))
