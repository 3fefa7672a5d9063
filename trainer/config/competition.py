"""The competition file: one TOML file per competition, typed and validated.

Each section is a frozen dataclass below; its fields are the keys of the section, with their types,
bounds and defaults. The sections are also the parameters of the pipeline, so the same code checks
the values that a user enters in the console.
"""

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.config import known_backbones
from trainer.config.data import BUCKET, Data, Folds, Records
from trainer.config.machine import Machine
from trainer.config.member import Member
from trainer.config.output import Blend, Leaderboard, Submission
from trainer.config.schema import Problem, name_problems, number, optional_text
from trainer.metrics import OF_CLASSES
from trainer.metrics import problem as metric_problem

# A multilabel target is stored as the bits of one int64 in parquet and numpy.
MOST_LABELS = 62
# Columns of the prediction tables that do not belong to a class.
RESERVED_COLUMNS = ("id", "target", "fold", "prediction")


@dataclass(frozen=True, kw_only=True)
class Train:
    """`[train]`: how training is split into jobs, and which backend runs it.

    folds_per_task: number of folds that one training job trains, 1 to 50 and at most folds.count;
        the job imports its libraries and compiles its network once for all of them.
    backend: `auto` uses TensorFlow on a CPU or a single GPU, and JAX on a TPU or several devices;
        `tensorflow` or `jax` forces that backend.
    checkpoint_seconds: seconds between two checkpoints of a training job, 0 to 86,400; a killed job
        loses at most that much work.
    checkpoints: `gs://bucket/prefix` to copy checkpoints to, for machines that may be taken away;
        "" uses the run's own bucket if it has one.
    hourly_price: price per hour of a training machine, 0 to 1,000,000 in any currency, for the cost
        in the report; 0 if it is unknown.
    """

    folds_per_task: int = number(1, low=1, high=50)
    backend: Literal["auto", "tensorflow", "jax"] = "auto"
    checkpoint_seconds: float = number(300.0, low=0, high=86_400)
    checkpoints: str = optional_text()
    hourly_price: float = number(0.0, low=0, high=1e6)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.checkpoints and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.checkpoints):
            yield Problem("checkpoints", f"= {self.checkpoints!r}: must be gs://bucket/prefix")


@dataclass(frozen=True, kw_only=True)
class Competition:
    """A complete competition file.

    `trainer.config.load.load` returns it with absolute paths.

    name: name of the competition, for file names and titles; lower-case letters, digits, _ and -.
    task: `multiclass` (one class per image), `binary` (two classes, the positive one second) or
        `multilabel` (any number of classes per image).
    metric: metric of the competition, a name listed in trainer/metrics.py.
    classes: class names in the order of the class indices; at least two, at most 62 for multilabel.
    seed: seed of folds, initial weights, image order and augmentation, 0 to 2**31 - 1.
    data: `[data]`, where the images are.
    records: `[records]`, how the images are stored.
    folds: `[folds]`, how the labelled images are split.
    train: `[train]`, how training is split into jobs.
    members: `[[members]]`, the models of the ensemble; at least one.
    blend: `[blend]`, how the members' predictions are combined.
    submission: `[submission]`, how the submission file is written.
    leaderboard: `[leaderboard]`, where the submission is scored.
    machine: `[machine]`, what a training job runs on if it does not run on this machine.
    """

    name: str
    task: Literal["multiclass", "binary", "multilabel"]
    metric: str
    classes: list[str]
    data: Data
    records: Records
    members: list[Member]
    submission: Submission
    seed: int = number(0, low=0, high=2**31 - 1)
    folds: Folds = field(default_factory=Folds)
    train: Train = field(default_factory=Train)
    blend: Blend = field(default_factory=Blend)
    leaderboard: Leaderboard = field(default_factory=Leaderboard)
    machine: Machine = field(default_factory=Machine)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several sections."""
        yield from name_problems(self.name)
        if error := metric_problem(self.metric, self.task):
            yield Problem("metric", error)
        key, pattern = self.data.tests()
        if not pattern:
            yield Problem(f"data.{key}", f"is missing: source = {self.data.source!r} requires it")
        yield from self._class_problems()
        yield from self._submission_problems()
        if self.submission.values == "probability" and self.task != "binary":
            yield Problem("submission.values", "= 'probability': only applies to task = 'binary'")
        class_values = self.submission.values in ("class", "index")
        if self.leaderboard.answers and class_values and self.metric not in OF_CLASSES:
            yield Problem(
                "leaderboard.answers",
                f"cannot be scored with {self.metric} from class names: submit probabilities",
            )
        if not self.members:
            yield Problem("members", "is empty: add at least one [[members]] section")
        names = [m.name for m in self.members]
        names += [external.name for external in self.blend.external]
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield Problem("members", f"and blend.external have more than one member named {name!r}")
        for index, member in enumerate(self.members):
            for key, message in self._member_problems(member):
                yield Problem(f"members[{index}].{key}", message)
        yield from self._blend_problems(len(names))
        columns = {*self.data.numeric, *self.data.categorical}
        for name in self.folds.strata:
            if name not in columns:
                yield Problem(
                    "folds.strata",
                    f"names {name!r}, which is in neither data.numeric nor data.categorical",
                )
        if self.train.folds_per_task > self.folds.count:
            yield Problem(
                "train.folds_per_task",
                f"= {self.train.folds_per_task}: must be at most folds.count = {self.folds.count}",
            )

    def _class_problems(self) -> Iterator[Problem]:
        """Yield the problems of `classes`, alone, with the task, and with data.target_parts."""
        if len(self.classes) < 2:
            yield Problem("classes", f"= {self.classes!r}: name at least two classes")
        if self.task == "binary" and len(self.classes) != 2:
            yield Problem(
                "classes",
                f"= {self.classes!r}: task = 'binary' requires two, the positive one second",
            )
        if self.task == "multilabel" and len(self.classes) > MOST_LABELS:
            yield Problem(
                "classes",
                f"has {len(self.classes)}: task = 'multilabel' allows at most {MOST_LABELS}",
            )
        if self.task == "multilabel" and self.data.target_parts:
            yield Problem(
                "data.target_parts",
                "cannot be combined with task = 'multilabel': parts give each image one class",
            )
        for name in sorted({c for c in self.classes if self.classes.count(c) > 1}):
            yield Problem("classes", f"names {name!r} more than once")
        for name in sorted(set(self.classes) & set(RESERVED_COLUMNS)):
            yield Problem(
                "classes",
                f"has {name!r}, a reserved column of the prediction tables: rename the class",
            )
        parts = [part.count() for part in self.data.target_parts]
        if parts and math.prod(parts) != len(self.classes):
            product = " × ".join(map(str, parts))
            yield Problem(
                "data.target_parts",
                f"make {product} = {math.prod(parts)} classes, but classes has {len(self.classes)}",
            )

    def _submission_problems(self) -> Iterator[Problem]:
        """Yield a problem if a list of classes in the submission could not be split again."""
        submission = self.submission
        if self.task != "multilabel" or submission.values not in ("class", "index"):
            return
        names = (
            [str(index) for index in range(len(self.classes))]
            if submission.values == "index"
            else self.classes
        )
        ambiguous = [name for name in names if submission.separator in name]
        if ambiguous:
            yield Problem(
                "submission.separator",
                f"= {submission.separator!r}: occurs in {ambiguous[0]!r}, so lists of classes"
                " could not be split again: choose another separator",
            )

    def _blend_problems(self, members: int) -> Iterator[Problem]:
        """Yield the problems of the blend with the rest of the file.

        Args:
            members: number of members, external ones included.
        """
        blend = self.blend
        if any(member.validation == "none" for member in self.members):
            if blend.method != "mean":
                yield Problem(
                    "blend.method",
                    f"= {blend.method!r}: a member with validation = 'none' has no out-of-fold"
                    " predictions; use method = 'mean'",
                )
            for key in ("calibration", "thresholds"):
                if getattr(blend, key) != "none":
                    yield Problem(
                        f"blend.{key}",
                        "cannot be combined with validation = 'none': no out-of-fold rows cover"
                        " all members",
                    )
        if blend.method == "best_alpha" and members != 2:
            yield Problem(
                "blend.method", f"= 'best_alpha': requires two members, but there are {members}"
            )
        if blend.thresholds != "none":
            if error := metric_problem(blend.thresholds, self.task):
                yield Problem("blend.thresholds", error)
            if self.task == "multiclass" and not blend.per_class:
                yield Problem(
                    "blend.per_class",
                    "= false: one threshold for all classes changes no decision if there are more"
                    " than two",
                )

    def _member_problems(self, member: Member) -> Iterator[Problem]:
        """Yield the problems of a member with the rest of the file."""
        size = member.size or (self.records.sizes or [0])[0]
        if member.size and member.size not in self.records.sizes:
            yield Problem(
                "size", f"= {member.size}: must be one of records.sizes = {self.records.sizes}"
            )
        if not member.size and (
            error := known_backbones.problem(member.backbone, member.augment.crop or size)
        ):
            yield Problem("backbone", f"= {member.backbone!r}: {error}")
        if member.loss.alpha and self.task == "multiclass":
            yield Problem(
                "loss.alpha",
                f"= {member.loss.alpha:g}: only applies to task = 'binary' or 'multilabel'; use"
                " loss.weights",
            )
        if member.augment.crop > size:
            yield Problem(
                "augment.crop", f"= {member.augment.crop}: is larger than the stored size, {size}"
            )
        for name in member.tabular.columns:
            if name not in (*self.data.numeric, *self.data.categorical):
                yield Problem(
                    "tabular.columns",
                    f"names {name!r}, which is in neither data.numeric nor data.categorical",
                )
        column = member.loss.sample_weight
        if column and column not in self.data.numeric:
            yield Problem("loss.sample_weight", f"= {column!r}: is not in data.numeric")
        if member.loss.weights and len(member.loss.weights) != len(self.classes):
            yield Problem(
                "loss.weights",
                f"has {len(member.loss.weights)} values for {len(self.classes)} classes",
            )

    def pipeline_arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline as plain JSON values.

        Left out are the leaderboard, because the pipeline must not see the answers, and the
        machine, because it is chosen when the pipeline is compiled.
        """
        values = dataclasses.asdict(self)
        del values["leaderboard"], values["machine"]
        return values
