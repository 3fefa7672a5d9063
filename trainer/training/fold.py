"""One fold of one member: the training loop, from wherever it was left."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from trainer.artifacts import tables
from trainer.backends import program
from trainer.config.member import Member
from trainer.errors import Preempted, TrainingError
from trainer.input import batches as dataset
from trainer.input.batches import Images, Labels, Workers
from trainer.metrics import better, score
from trainer.models import losses
from trainer.models.schedules import Plateau, rate
from trainer.training import predict
from trainer.training.checkpoint import AllGather, Checkpoints
from trainer.training.progress_log import ProgressLog


@dataclass
class FoldState:
    """Where the training of a fold is: with the arrays of its network, all that a checkpoint holds.

    epoch, step: the next step's, epochs of the head included. losses: of the steps of the epoch
    under way. best, best_epoch: the best monitored score and the epoch it was reached in, from 1.
    waited: epochs since. ended: early. made_by: the devices, which decide the last bits and the
    steps of an epoch."""

    fold: int
    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    plateau: Plateau = field(default_factory=Plateau)
    best: float | None = None
    best_epoch: int = 0
    waited: int = 0
    ended: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    made_by: str = ""


class Engines(Protocol):
    """The two engines of a task's network, each compiled once."""

    def of(self, *, head_only: bool) -> program.Engine:
        """The one that trains the head only, or all."""

    def begin(self, weights: list[np.ndarray], *, head_only: bool) -> program.Engine:
        """The same with these weights, and an optimizer that has done nothing yet."""


@dataclass(frozen=True)
class FoldContext:
    """What the folds of a task share.

    rate_factor: what the number of devices multiplies the learning rate by. part: which process
    this is, of how many.
    together: for processes that train together: they write checkpoints, and stop, at the ends of
    epochs only, for no two clocks agree on a step. stopping: whether the process was asked to end.
    """

    member: Member
    images: Images
    targets: np.ndarray
    task: str
    metric: str
    batch: int
    rate_factor: float
    on_device: bool
    part: tuple[int, int]
    workers: Workers
    viewer: predict.Viewer
    checkpoints: Checkpoints
    checkpoint_seconds: float
    together: AllGather | None
    stopping: Callable[[], bool]
    watch: ProgressLog
    engines: "Engines"


def train(
    setting: FoldContext,
    place: FoldState,
    arrays: dict[str, list[np.ndarray]],
    labels: Labels,
    rows: np.ndarray,
    held_out: np.ndarray,
    seed: int,
) -> tuple[FoldState, list[np.ndarray]]:
    """Train a fold to its end.

    Args:
        place: where to go on from; of a fold that has not begun, its first step.
        arrays: `model` and `optimizer` at that place, and `best`, the weights of the best epoch so
            far, where there are any.
        labels: of all images, as this fold's training rows encode them.
        rows: that train. held_out: that do not; none where all train.

    Returns:
        the place at the end, and the weights that predict.

    Raises:
        TrainingError: the loss is not finite, or memory ran out.
        Preempted: the process was asked to end; a checkpoint is written.
    """
    member = setting.member
    steps = dataset.steps_per_epoch(len(rows), setting.batch)
    epochs = member.head_epochs + member.epochs
    best = arrays.get("best", [])
    if place.epoch == member.head_epochs > 0 and place.step == 0:
        # Between the head and everything: the optimizer that was kept is the head's, and everything
        # has one of its own.
        network = setting.engines.begin(arrays["model"], head_only=False)
    else:
        network = setting.engines.of(head_only=place.epoch < member.head_epochs)
        program.restore(network, arrays)
    setting.watch.skip(place.epoch * steps + place.step)
    batches = dataset.prefetch(
        dataset.training_batches(
            setting.images,
            labels,
            rows,
            augment=member.augment,
            batch_size=setting.batch,
            seed=seed,
            workers=setting.workers,
            start=(place.epoch, place.step),
            epochs=0 if place.ended else epochs,
            on_device=setting.on_device,
            part=setting.part,
        )
    )
    pending: list[Any] = []
    saved = resumed = time.monotonic()
    before = place.seconds

    def settle() -> None:
        """Wait for the losses of the steps so far, and stop where one is no number."""
        with out_of_memory_named(member, setting.batch):
            # JAX says it only here, where it is waited for.
            place.losses += [float(loss) for loss in pending]
        pending.clear()
        place.seconds = before + time.monotonic() - resumed
        if not np.isfinite(place.losses).all():
            raise TrainingError(_not_finite(member, place))

    def save() -> None:
        settle()
        kept = program.state(network)
        setting.checkpoints.save(
            {**kept, "best": best} if best else kept, dataclasses.asdict(place)
        )

    try:
        for epoch, step, batch in batches:
            head_only = epoch < member.head_epochs
            if step == 0 and epoch == member.head_epochs and epoch > 0:
                network = _unfrozen(setting, network)
            pending.append(
                _step(setting, network, batch, _rate(setting, place, epoch, step, steps, head_only))
            )
            setting.watch.step(place.fold, epoch, step)
            if step + 1 < steps:
                place.step = step + 1
            else:
                settle()
                place.epoch, place.step = epoch + 1, 0
                best = _end_epoch(setting, network, place, epoch, labels, held_out, best)
            asked, due = setting.stopping(), time.monotonic() - saved >= setting.checkpoint_seconds
            if setting.together is not None:
                # All at the same steps, and the same for all.
                asked, due = place.step == 0 and any(setting.together(int(asked))), place.step == 0
            if asked:
                save()
                raise Preempted(
                    f"{member.name}, fold {place.fold}: asked to end; a checkpoint is written:"
                    " start it again"
                )
            if place.ended:
                break
            if due:
                save()
                saved = time.monotonic()
    finally:
        batches.close()  # type: ignore[attr-defined]  # a generator
    if member.validation == "best":
        return place, best
    with program.averaged(network):
        return place, program.state(network)["model"]


def _rate(
    setting: FoldContext, place: FoldState, epoch: int, step: int, steps: int, head_only: bool
) -> float:
    member = setting.member
    if head_only:
        return member.head_learning_rate * setting.rate_factor
    since = epoch - member.head_epochs + step / steps
    scheduled = rate(
        member.schedule, member.optimizer.learning_rate, epoch=since, epochs=member.epochs
    )
    return scheduled * place.plateau.factor * setting.rate_factor


def _unfrozen(setting: FoldContext, network: program.Engine) -> program.Engine:
    """From the head to everything: the weights stay, the optimizer begins anew."""
    weights = program.state(network)["model"]
    return setting.engines.begin(weights, head_only=False)


def _step(
    setting: FoldContext, network: program.Engine, batch: dataset.Batch, learning_rate: float
) -> Any:
    with out_of_memory_named(setting.member, setting.batch):
        return network.step(batch, learning_rate)


@contextmanager
def out_of_memory_named(member: Member, batch: int) -> Iterator[None]:
    """Say what to change where memory runs out.

    Raises:
        TrainingError: it did.
    """
    with memory_named(
        f"member {member.name!r}: out of memory with {batch} images of {member.side()} pixels a"
        " batch: lower batch_size (and raise optimizer.accumulate by as much), or take a smaller"
        " size or backbone"
    ):
        yield


@contextmanager
def memory_named(advice: str) -> Iterator[None]:
    """As `out_of_memory_named`, in other words."""
    try:
        yield
    except Exception as error:
        # TensorFlow has an exception of its own for it, JAX only a word in the text.
        said = f"{type(error).__name__} {error}"
        if not isinstance(error, MemoryError) and not any(
            word in said for word in ("ResourceExhausted", "RESOURCE_EXHAUSTED")
        ):
            raise
        raise TrainingError(advice) from None


def _end_epoch(
    setting: FoldContext,
    network: program.Engine,
    place: FoldState,
    epoch: int,
    labels: Labels,
    held_out: np.ndarray,
    best: list[np.ndarray],
) -> list[np.ndarray]:
    """Score the epoch, write it down, and keep its weights where they are the best so far; the best
    weights."""
    member = setting.member
    steps = len(place.losses)
    last = _rate(setting, place, epoch, steps - 1, steps, epoch < member.head_epochs)
    row: dict[str, Any] = {
        "fold": place.fold,
        "epoch": epoch + 1,
        "loss": float(np.mean(place.losses)),
    }
    place.losses = []
    monitor = member.monitor or setting.metric
    if len(held_out):
        with program.averaged(network):
            scores = evaluate(
                setting, network, labels, held_out, sorted({setting.metric, monitor} - {"loss"})
            )
            row |= {f"val_{name}": value for name, value in scores.items()}
            if member.validation == "best":
                if better(monitor, scores[monitor], place.best):
                    place.best, place.best_epoch, place.waited = scores[monitor], epoch + 1, 0
                    best = program.state(network)["model"]
                else:
                    place.waited += 1
                # The head's epochs are no sign of what everything will learn.
                place.waited = 0 if epoch < member.head_epochs else place.waited
                place.ended = bool(member.patience) and place.waited >= member.patience
        if epoch >= member.head_epochs:
            place.plateau.seen(member.schedule, monitor, scores[monitor])
    row |= {"learning_rate": last, "seconds": round(place.seconds, 3)}
    place.history.append(row)
    setting.watch.epoch(row)
    setting.watch.tensorboard(place.history, place.fold)
    return best


def evaluate(
    setting: FoldContext,
    network: program.Engine,
    labels: Labels,
    rows: np.ndarray,
    metrics: list[str],
) -> dict[str, float]:
    """The loss of images as they are, never augmented, and their scores, over all rows at once."""
    parts = [
        setting.viewer.logits(network, setting.images, labels.tabular, some, stored, 0)
        for some, stored in setting.viewer.chunks(setting.images, rows)
    ]
    logits = np.concatenate(parts)
    row_loss = losses.of_rows(setting.member.loss, exclusive=setting.task == "multiclass")
    values = np.asarray(row_loss(labels.targets[rows], logits), dtype=np.float64)
    probabilities = predict.squashing(setting.task)(logits)
    scores = {metric: score(metric, setting.targets[rows], probabilities) for metric in metrics}
    return {"loss": float(values.mean()), **scores}


def _not_finite(member: Member, place: FoldState) -> str:
    of = "all images" if place.fold == tables.NO_FOLD else f"fold {place.fold}"
    lower = (
        f"optimizer.learning_rate ({member.optimizer.learning_rate:g}), or set"
        " schedule.warmup_epochs"
    )
    if place.epoch < member.head_epochs:
        lower = f"head_learning_rate ({member.head_learning_rate:g})"
    bad = next(loss for loss in place.losses if not math.isfinite(loss))
    half = " and precision = 'float32'" if member.precision == "mixed_float16" else ""
    return (
        f"member {member.name!r}, {of}, epoch {place.epoch + 1}: the loss is {bad}: lower {lower}, "
        f"or set optimizer.clip_norm = 1{half}"
    )
