"""The competition file: one TOML file per competition, typed and validated.

Each section is a frozen dataclass below; its fields are the keys of the section, with their types,
bounds and defaults. The sections are also the parameters of the pipeline, so the same code checks
the values that a user enters in the console.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from trainer.config import known_backbones
from trainer.config.data import Data
from trainer.config.machine import Machine, Train, Vertex
from trainer.config.member import Member
from trainer.config.output import (
    KEPT,
    MOST_COMPLETE,
    Blend,
    KeptPredictions,
    Leaderboard,
    Submission,
    values_for,
)
from trainer.config.preparation import Folds, Records
from trainer.config.schema import (
    Problem,
    Section,
    Text,
    Whole,
    Within,
    name_problems,
    repeated_classes,
)
from trainer.metrics.names import candidates_suffice
from trainer.metrics.names import problem as metric_problem

# A multilabel target is stored as the bits of one int64 in parquet and numpy.
MOST_LABELS = 62
# How far a grader lets the probabilities of a row sum to anything but 1: numpy.isclose.
MOST_SUM_ERROR = 1e-5
# Columns of the prediction tables that do not belong to a class.
RESERVED_COLUMNS = ("id", "target", "fold", "prediction")


@dataclass(frozen=True, kw_only=True)
class Competition(Section):
    """The keys at the top of a competition file, before its sections.

    ```toml
    name = "digits"
    task = "multiclass"
    metric = "accuracy"
    classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    seed = 42
    ```
    """

    name: Text
    """Name of the competition, for file names and titles: lower-case letters, digits, _ and -; the
    first must be a letter."""
    task: Literal["multiclass", "binary", "multilabel"]
    """What is predicted for an image: `multiclass` (one of several classes), `binary` (one of two,
    the positive class second) or `multilabel` (any number of classes)."""
    metric: Text
    """Metric of the competition, by which members and blends are compared: `accuracy`, `f1`,
    `macro_f1`, `weighted_f1`, `precision`, `recall`, `quadratic_kappa`, `roc_auc`,
    `average_precision`, `log_loss`, `brier`, `calibration_error`, or `partial_auc_80` for a
    true-positive rate of at least 80 % (any from `partial_auc_1` to `partial_auc_99`)."""
    classes: list[Text]
    """Names of the classes as they are in the labels, in the order of the class indices: at least
    two, at most 62 for multilabel."""
    data: Data
    """`[data]`: where the images and labels are."""
    records: Records
    """`[records]`: how the images are stored."""
    members: list[Member]
    """`[[members]]`: the models of the ensemble; at least one."""
    seed: Annotated[Whole, Within(0, 2**31 - 1)] = 0
    """Seed of folds, initial weights, image order and augmentation. The same seed gives the same
    result on the same kind of device."""
    folds: Folds = field(default_factory=Folds)
    """`[folds]`: how the labelled images are split for cross-validation."""
    train: Train = field(default_factory=Train)
    """`[train]`: how training is split into jobs, and which library computes."""
    predictions: KeptPredictions = field(default_factory=KeptPredictions)
    """`[predictions]`: what is kept of the members' predictions."""
    blend: Blend = field(default_factory=Blend)
    """`[blend]`: how the members' predictions are combined."""
    submission: Submission = field(default_factory=Submission)
    """`[submission]`: how the submission file is written."""
    leaderboard: Leaderboard = field(default_factory=Leaderboard)
    """`[leaderboard]`: where the submission is scored."""
    machine: Machine = field(default_factory=Machine)
    """`[machine]`: what a training job runs on if it does not run on this machine."""
    vertex: Vertex = field(default_factory=Vertex)
    """`[vertex]`: resources of your project that a run on Vertex AI uses."""

    def __post_init__(self) -> None:
        if self.submission.values == "auto":
            values = values_for(self.metric, self.task)
            resolved = dataclasses.replace(self.submission, values=values)
            object.__setattr__(self, "submission", resolved)

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
        if self.leaderboard.competition and not self.submission.sample:
            yield Problem("submission.sample", "is missing: leaderboard.competition requires it")
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
        if self.predictions.keep:
            for key, value in self._requires_all():
                yield Problem(
                    "predictions.keep",
                    f"= {self.predictions.keep}: {key} = {value!r} requires the probabilities of"
                    " all classes: leave one of the two out",
                )
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
                f"has {len(self.classes)}: task = 'binary' requires two, the positive one second",
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
        yield from repeated_classes(self.classes)
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
        """Yield the problems of `submission` with the metric, the task and the classes."""
        submission, count = self.submission, len(self.classes)
        fitting = values_for(self.metric, self.task)
        if submission.values in ("class", "index") and fitting != "class":
            yield Problem(
                "submission.values",
                f"= {submission.values!r}: {self.metric} scores probabilities: leave it out, or use"
                f" {fitting!r}",
            )
        if submission.values == "index" and all(map(str.isdecimal, self.classes)):
            positions = [str(position) for position in range(count)]
            if self.classes != positions:
                yield Problem(
                    "submission.values",
                    "= 'index': writes the positions of the classes from 0, but these classes are"
                    " numbers themselves: leave it out, or use 'class', to write them",
                )
        if submission.values == "columns" and self.task != "multilabel":
            # Half a unit in the last digit of each column.
            error = 0.5 * count * 10.0**-submission.digits
            if error > MOST_SUM_ERROR:
                needed = math.ceil(math.log10(0.5 * count / MOST_SUM_ERROR))
                yield Problem(
                    "submission.digits",
                    f"= {submission.digits}: after rounding, the {count} columns of a row sum to 1"
                    f" only within {error:.1g}, which graders refuse: use at least {needed}",
                )
        if self.task != "multilabel" or submission.values not in ("class", "index"):
            return
        names = submission.written_names(self.classes)
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
        if member.sampler == "balanced" and self.task == "multilabel":
            yield Problem("sampler", "= 'balanced': cannot be combined with task = 'multilabel'")
        if member.monitor not in ("", "loss") and (
            error := metric_problem(member.monitor, self.task)
        ):
            yield Problem("monitor", error)
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

    def kept_classes(self) -> int:
        """Return how many of the most probable classes predictions keep; 0 for all."""
        keep, count = self.predictions.keep, len(self.classes)
        if not keep and count > MOST_COMPLETE and not list(self._requires_all()):
            keep = KEPT
        return keep if keep < count else 0

    def _requires_all(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys, with their values, that need the probabilities of all classes."""
        blend = self.blend
        if self.task != "multiclass":
            yield "task", self.task
        if not candidates_suffice(self.metric):
            yield "metric", self.metric
        if self.submission.values not in ("class", "index"):
            yield "submission.values", self.submission.values
        if blend.method in ("rank_mean", "logistic"):
            yield "blend.method", blend.method
        if blend.on_missing == "impute_rank_mean":
            yield "blend.on_missing", blend.on_missing
        for key in ("calibration", "thresholds"):
            if getattr(blend, key) != "none":
                yield f"blend.{key}", getattr(blend, key)
        if blend.external:
            yield "blend.external", [entry.name for entry in blend.external]
        for index, member in enumerate(self.members):
            if member.monitor not in ("", "loss") and not candidates_suffice(member.monitor):
                yield f"members[{index}].monitor", member.monitor

    def pipeline_arguments(self) -> dict[str, Any]:
        """Return the arguments of the pipeline as plain JSON values.

        Left out are the leaderboard, because the pipeline must not see the answers, and the
        sections machine and vertex, because they are chosen when the pipeline is compiled.
        """
        values = dataclasses.asdict(self)
        del values["leaderboard"], values["machine"], values["vertex"]
        return values
