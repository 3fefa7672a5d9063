"""The competition file: one TOML a competition, typed and validated.

Each section is a frozen dataclass below; its fields are the keys that the section may hold, with
their types, bounds and defaults. The sections are also the parameters of the pipeline, so the same
readers check what a console user typed in."""

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
from trainer.config.schema import NAME, Problem, number, optional_text
from trainer.metrics import OF_CLASSES
from trainer.metrics import problem as metric_problem

MOST_LABELS = 62  # bits of a number that parquet and numpy hold
# Columns of the prediction tables that are no class.
RESERVED_COLUMNS = ("id", "target", "fold", "prediction")


@dataclass(frozen=True, kw_only=True)
class Train:
    """`[train]`: how training is cut into tasks, and where it runs.

    folds_per_task: a task imports its libraries once and compiles a network once for so many folds.
    backend: `auto` is TensorFlow on a CPU or a single GPU, JAX on a TPU or several devices.
    checkpoint_seconds: how often a task writes down where it is; a killed one loses no more than
        that. checkpoints: `gs://bucket/prefix` that these are copied to, for machines that may be
        taken away.
    hourly_price: of a training machine, in any currency, for the report's cost; 0 where it is not
    known."""

    folds_per_task: int = number(1, low=1, high=50)
    backend: Literal["auto", "tensorflow", "jax"] = "auto"
    checkpoint_seconds: float = number(300.0, low=0, high=86_400)
    checkpoints: str = optional_text()
    hourly_price: float = number(0.0, low=0, high=1e6)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if self.checkpoints and not re.fullmatch(BUCKET + r"(/[^/]+)+", self.checkpoints):
            yield Problem("checkpoints", f"= {self.checkpoints!r}: must be gs://bucket/prefix")


@dataclass(frozen=True, kw_only=True)
class Competition:
    """A whole competition file. `file` is where it was read from; every path in it is absolute by
    then."""

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
        """What no single section shows."""
        if not NAME.fullmatch(self.name):
            yield Problem(
                "name",
                f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at"
                " most 63",
            )
        if found := metric_problem(self.metric, self.task):
            yield Problem("metric", found)
        key, named = self.data.tests()
        if not named:
            yield Problem(f"data.{key}", f"is missing: source = {self.data.source!r} needs it")
        if len(self.classes) < 2:
            yield Problem("classes", f"= {self.classes!r}: name at least two classes")
        if self.task == "binary" and len(self.classes) != 2:
            yield Problem(
                "classes", f"= {self.classes!r}: task = 'binary' takes two, the positive one second"
            )
        if self.task == "multilabel" and len(self.classes) > MOST_LABELS:
            yield Problem(
                "classes",
                f"has {len(self.classes)}: task = 'multilabel' takes at most {MOST_LABELS}",
            )
        if self.task == "multilabel" and self.data.target_parts:
            yield Problem(
                "data.target_parts",
                "goes without task = 'multilabel': each image would have one class",
            )
        yield from self._problems_of_submission()
        if self.submission.values == "probability" and self.task != "binary":
            yield Problem("submission.values", "= 'probability': goes with task = 'binary' only")
        decides = self.submission.values in ("class", "index")
        if self.leaderboard.answers and decides and self.metric not in OF_CLASSES:
            yield Problem(
                "leaderboard.answers",
                f"cannot be scored by {self.metric} from class names: submit probabilities",
            )
        for name in sorted({c for c in self.classes if self.classes.count(c) > 1}):
            yield Problem("classes", f"names {name!r} more than once")
        for name in sorted(set(self.classes) & set(RESERVED_COLUMNS)):
            yield Problem(
                "classes",
                f"has {name!r}, which is a column of the prediction tables: rename the class",
            )
        if not self.members:
            yield Problem("members", "is empty: add at least one [[members]] section")
        names = [m.name for m in self.members]
        names += [external.name for external in self.blend.external]
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield Problem("members", f"and blend.external have more than one member named {name!r}")
        for index, member in enumerate(self.members):
            for key, message in self._problems_of(member):
                yield Problem(f"members[{index}].{key}", message)
        yield from self._problems_of_blend(len(names))
        parts = [part.count() for part in self.data.target_parts]
        if parts and math.prod(parts) != len(self.classes):
            made = " × ".join(map(str, parts))
            yield Problem(
                "data.target_parts",
                f"make {made} = {math.prod(parts)} classes, and classes has {len(self.classes)}",
            )
        columns = {*self.data.numeric, *self.data.categorical}
        for name in self.folds.strata:
            if name not in columns:
                yield Problem(
                    "folds.strata",
                    f"names {name!r}, which data.numeric and data.categorical do not",
                )
        if self.train.folds_per_task > self.folds.count:
            yield Problem(
                "train.folds_per_task",
                f"= {self.train.folds_per_task}: must be at most folds.count = {self.folds.count}",
            )

    def _problems_of_submission(self) -> Iterator[Problem]:
        """Lists of classes that could not be taken apart again."""
        submission = self.submission
        if self.task != "multilabel" or submission.values not in ("class", "index"):
            return
        names = (
            [str(index) for index in range(len(self.classes))]
            if submission.values == "index"
            else self.classes
        )
        joined = [name for name in names if submission.separator in name]
        if joined:
            yield Problem(
                "submission.separator",
                f"= {submission.separator!r}: stands in {joined[0]!r}, so that a list of classes"
                " cannot be taken apart again",
            )

    def _problems_of_blend(self, members: int) -> Iterator[Problem]:
        """Where the blend does not fit the rest of the file."""
        blend = self.blend
        if any(member.validation == "none" for member in self.members):
            if blend.method != "mean":
                yield Problem(
                    "blend.method",
                    f"= {blend.method!r}: a member with validation = 'none' has no out-of-fold"
                    " rows; use method = 'mean'",
                )
            for key in ("calibration", "thresholds"):
                if getattr(blend, key) != "none":
                    yield Problem(
                        f"blend.{key}",
                        "goes without validation = 'none': nothing scores all members together",
                    )
        if blend.method == "best_alpha" and members != 2:
            yield Problem(
                "blend.method", f"= 'best_alpha': is of two members, and there are {members}"
            )
        if blend.thresholds != "none":
            if found := metric_problem(blend.thresholds, self.task):
                yield Problem("blend.thresholds", found)
            if self.task == "multiclass" and not blend.per_class:
                yield Problem(
                    "blend.per_class",
                    "= false: one threshold for all of more than two classes changes no decision",
                )

    def _problems_of(self, member: Member) -> Iterator[Problem]:
        """Where a member does not fit the rest of the file."""
        size = member.size or (self.records.sizes or [0])[0]
        if member.size and member.size not in self.records.sizes:
            yield Problem(
                "size", f"= {member.size}: must be one of records.sizes = {self.records.sizes}"
            )
        if not member.size and (
            found := known_backbones.problem(member.backbone, member.augment.crop or size)
        ):
            yield Problem("backbone", f"= {member.backbone!r}: {found}")
        if member.loss.alpha and self.task == "multiclass":
            yield Problem(
                "loss.alpha",
                f"= {member.loss.alpha:g}: goes with task = 'binary' or 'multilabel'; use"
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
                    f"names {name!r}, which data.numeric and data.categorical do not",
                )
        weighing = member.loss.sample_weight
        if weighing and weighing not in self.data.numeric:
            yield Problem("loss.sample_weight", f"= {weighing!r}: is not in data.numeric")
        if member.loss.weights and len(member.loss.weights) != len(self.classes):
            yield Problem(
                "loss.weights",
                f"has {len(member.loss.weights)} values for {len(self.classes)} classes",
            )

    def pipeline_arguments(self) -> dict[str, Any]:
        """What the pipeline takes, as plain JSON values: all but the answers, which it must not
        see, and the machines, which are chosen when it is compiled."""
        values = dataclasses.asdict(self)
        del values["leaderboard"], values["machine"]
        return values
