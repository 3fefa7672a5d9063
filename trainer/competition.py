"""The competition file: one TOML a competition, typed and validated.

Each section is a frozen dataclass below; its fields are the keys that the section may hold, with their types, bounds and
defaults. The sections are also the parameters of the pipeline, so the same readers check what a console user typed in.
"""

import dataclasses
import math
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trainer.data import Data, Folds, Records
from trainer.errors import CompetitionError
from trainer.schema import NAME, Problem, number, optional_text, parse

METRICS = ("accuracy", "macro_f1")
Metric = Literal["accuracy", "macro_f1"]
# Columns of the prediction tables that are no class.
RESERVED_COLUMNS = ("id", "target", "fold")


@dataclass(frozen=True, kw_only=True)
class Train:
    """`[train]`: how training is cut into tasks. A task imports TensorFlow once for `folds_per_task` folds."""

    folds_per_task: int = number(1, low=1, high=50)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """`[members.augment]`: each image is warped by values drawn uniformly from ± these bounds.

    rotation, shear in degrees; zoom as a fraction (0.1: 0.9 to 1.1, each axis its own); shift as a fraction of the side.
    """

    rotation: float = number(0.0, low=0, high=180)
    shear: float = number(0.0, low=0, high=60)
    zoom: float = number(0.0, low=0, high=0.9)
    shift: float = number(0.0, low=0, high=1)


@dataclass(frozen=True, kw_only=True)
class Member:
    """`[[members]]`: one model of the ensemble and how it is trained.

    size: one of records.sizes; 0 for the first of them.
    """

    name: str
    backbone: Literal["cnn"] = "cnn"
    filters: list[int] = field(default_factory=lambda: [24, 32, 64, 64], metadata={"low": 1, "high": 4096})
    strides: list[int] = field(default_factory=lambda: [2, 1, 2, 1], metadata={"low": 1, "high": 4})
    first_kernel: int = number(5, low=1, high=15)
    pooling: Literal["flatten", "average"] = "flatten"
    dropout: float = number(0.3, low=0, high=0.95)
    epochs: int = number(low=1, high=10_000)
    batch_size: int = number(64, low=1, high=65_536)
    learning_rate: float = number(3e-3, low=1e-8, high=10)
    warmup_epochs: float = number(2.0, low=0, high=1000)
    weight_decay: float = number(0.01, low=0, high=1)
    label_smoothing: float = number(0.05, low=0, high=0.9)
    size: int = number(0, low=0, high=1024)
    augment: Augment = field(default_factory=Augment)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not NAME.fullmatch(self.name):
            yield Problem("name", f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at most 63")
        if not self.filters or len(self.filters) != len(self.strides):
            yield Problem(
                "strides",
                f"has {len(self.strides)} values and filters has {len(self.filters)}: "
                "a convolution takes one of each, and there must be at least one",
            )
        if self.warmup_epochs >= self.epochs:
            yield Problem("warmup_epochs", f"= {self.warmup_epochs:g}: must be below epochs = {self.epochs}")


@dataclass(frozen=True, kw_only=True)
class Blend:
    """`[blend]`: how the members' predictions become one. `weights` are found on the out-of-fold rows."""

    method: Literal["mean", "weights"] = "weights"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """`[submission]`: `sample` decides header, ids and their order; a class name is written for each id."""

    sample: str


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """`[leaderboard]`: `answers` is a file like the submission with the truth in it; the pipeline never sees it."""

    answers: str = optional_text()


@dataclass(frozen=True, kw_only=True)
class Competition:
    """A whole competition file. `file` is where it was read from; every path in it is absolute by then."""

    name: str
    task: Literal["multiclass"]
    metric: Metric
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

    def problems(self) -> Iterator[Problem]:
        """What no single section shows."""
        if not NAME.fullmatch(self.name):
            yield Problem("name", f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at most 63")
        if len(self.classes) < 2:
            yield Problem("classes", f"= {self.classes!r}: name at least two classes")
        for name in sorted({c for c in self.classes if self.classes.count(c) > 1}):
            yield Problem("classes", f"names {name!r} more than once")
        for name in sorted(set(self.classes) & set(RESERVED_COLUMNS)):
            yield Problem("classes", f"has {name!r}, which is a column of the prediction tables: rename the class")
        if not self.members:
            yield Problem("members", "is empty: add at least one [[members]] section")
        names = [m.name for m in self.members]
        for name in sorted({n for n in names if names.count(n) > 1}):
            yield Problem("members", f"has more than one member named {name!r}")
        for index, member in enumerate(self.members):
            if member.size and member.size not in self.records.sizes:
                yield Problem(f"members[{index}].size", f"= {member.size}: must be one of records.sizes = {self.records.sizes}")
        parts = [part.count() for part in self.data.target_parts]
        if parts and math.prod(parts) != len(self.classes):
            made = " × ".join(map(str, parts))
            yield Problem("data.target_parts", f"make {made} = {math.prod(parts)} classes, and classes has {len(self.classes)}")
        columns = {*self.data.numeric, *self.data.categorical}
        for name in self.folds.strata:
            if name not in columns:
                yield Problem("folds.strata", f"names {name!r}, which data.numeric and data.categorical do not")
        if self.train.folds_per_task > self.folds.count:
            yield Problem(
                "train.folds_per_task", f"= {self.train.folds_per_task}: must be at most folds.count = {self.folds.count}"
            )

    def pipeline_arguments(self) -> dict[str, Any]:
        """What the pipeline takes, as plain JSON values: all but the answers, which it must not see, and `task`, of which
        there is one."""
        values = dataclasses.asdict(self)
        del values["leaderboard"], values["task"]
        return values


def load(path: str | Path) -> Competition:
    """Read and check a competition file; relative paths in it are taken from the folder it stands in.

    Raises:
        CompetitionError: every problem found, a line each, with file, key, value and what is allowed.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CompetitionError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:
        # Besides what TOML forbids: a number of thousands of digits, brackets nested thousands deep, a path that is none.
        raise CompetitionError(f"{path}: not valid TOML: {error}") from None
    except FileNotFoundError:
        raise CompetitionError(f"{path}: no such competition file") from None
    except OSError as error:
        raise CompetitionError(f"{path}: cannot be read: {error.strerror}") from None
    competition = parse(Competition, table, str(path))
    return _absolute(competition, path.parent)


def _absolute(competition: Competition, folder: Path) -> Competition:
    """The competition with every path made whole: by its root, and that by the folder of the file."""
    data = competition.data
    root = data.root.rstrip("/") if data.root.startswith("gs://") else os.path.abspath(folder / data.root)

    def below(path: str) -> str:
        # Not os.path.join alone: a gs:// path is whole already, and the system does not know.
        return path if not path or path.startswith("gs://") else f"{root}/{path}" if not path.startswith("/") else path

    return dataclasses.replace(
        competition,
        data=dataclasses.replace(
            data,
            root=root,
            train=below(data.train),
            test=below(data.test),
            external=[dataclasses.replace(external, train=below(external.train)) for external in data.external],
        ),
        submission=dataclasses.replace(competition.submission, sample=below(competition.submission.sample)),
        folds=dataclasses.replace(
            competition.folds, file=below(competition.folds.file), exclude_file=below(competition.folds.exclude_file)
        ),
        leaderboard=dataclasses.replace(competition.leaderboard, answers=below(competition.leaderboard.answers)),
    )
