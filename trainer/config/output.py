"""The sections of the competition file that describe what happens to the models' predictions:
`[blend]`, `[submission]`, `[leaderboard]`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from trainer.config.schema import (
    Flag,
    Number,
    OrWord,
    Problem,
    Section,
    Text,
    Whole,
    Within,
    name_problems,
)
from trainer.metrics.names import HIGHER_IS_BETTER, OF_CLASSES

Method: TypeAlias = Literal[
    "auto", "mean", "rank_mean", "greedy", "weights", "logistic", "best_alpha"
]
# Classes up to which all are kept by default, how many are kept of more, and the fewest.
MOST_COMPLETE, KEPT, LEAST_KEPT = 1000, 20, 5
Values: TypeAlias = Literal["auto", "class", "index", "probability", "columns"]


@dataclass(frozen=True, kw_only=True)
class Predictions(Section):
    """`[[blend.external]]`: a member whose predictions come from another tool or run, as two tables
    (CSV, also gzip, or parquet).

    Both tables have a column of ids and one probability column per class, named like the class; for
    two classes a single column, the probability of the second, is enough. They may also have the
    columns `target` and `fold`.

    ```toml
    [[blend.external]]
    name = "other-tool"
    oof = "other/oof.csv"
    test = "other/test.csv"
    ```
    """

    name: Text
    """Name of the member, unique: lower-case letters, digits, _ and -."""
    oof: Text
    """Table of the out-of-fold predictions of the labelled images, relative to the competition
    file."""
    test: Text
    """Table of the predictions of the test images, relative to the competition file."""
    id: Text = "id"
    """Name of the id column in both tables."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        yield from name_problems(self.name)


@dataclass(frozen=True, kw_only=True)
class KeptPredictions(Section):
    """`[predictions]`: what is kept of the members' predictions.

    ```toml
    [predictions]
    keep = 20
    ```
    """

    keep: Annotated[Whole, OrWord("auto"), Within(0, 100_000, "classes")] = 0
    """How many of the most probable classes of an image are kept; the others share the rest of its
    probability equally. For thousands of classes: a table of 60,000 images and 15,501
    classes takes 3.7 GB for each member, the 20 most probable 10 MB. Requires task = "multiclass",
    a metric of classes, and a blend by `auto`, `mean`, `greedy`, `weights` or `best_alpha`. 0 or
    "auto" keeps all classes up to 1,000, and 20 of more where that is possible; as many as there
    are classes, or more, keeps all."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if 0 < self.keep < LEAST_KEPT:
            yield Problem("keep", f"= {self.keep}: must be 0 or at least {LEAST_KEPT}")


@dataclass(frozen=True, kw_only=True)
class Blend(Section):
    """`[blend]`: how the members' predictions are combined; fitted on out-of-fold rows and scored
    on folds that the fit did not use.

    ```toml
    [blend]
    method = "auto"
    calibration = "temperature"
    ```
    """

    method: Method = "auto"
    """How predictions are combined: `mean`; `rank_mean`, the mean of ranks; `greedy`, forward
    selection with replacement by the competition's metric; `weights`, those with the least log
    loss; `logistic`, regression on log probabilities; `best_alpha`, the best weighted mean of two
    members; `auto` chooses among these by nested cross-validation."""
    rounds: Annotated[Whole, Within(1, 1000)] = 50
    """Selection rounds of `greedy`."""
    penalty: Annotated[Number, Within(1e-6, 1e6)] = 1.0
    """Strength of the ridge penalty of `logistic`; larger values stay closer to the mean."""
    on_missing: Literal["error", "drop_rows", "impute_rank_mean"] = "error"
    """What happens if a member lacks rows: `error` stops; `drop_rows` leaves these rows out for all
    members; `impute_rank_mean` fills them with the member's own value at the mean rank that the
    other members give the row."""
    calibration: Literal["none", "temperature", "platt", "isotonic"] = "none"
    """Calibration of the blend's probabilities: `none`, `temperature`, `platt` or `isotonic`."""
    thresholds: Literal["none", "accuracy", "f1", "macro_f1", "weighted_f1", "quadratic_kappa"] = (
        "none"
    )
    """Metric that the decision thresholds maximise; `none` for no thresholds."""
    per_class: Flag = False
    """Give each class a threshold of its own; requires `thresholds`."""
    resamples: Annotated[Whole, Within(100, 100_000)] = 1000
    """Bootstrap resamples for the confidence interval of each score."""
    external: list[Predictions] = field(default_factory=list)
    """`[[blend.external]]`: predictions of other tools or runs."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.per_class and self.thresholds == "none":
            yield Problem("per_class", "= true: requires thresholds")


@dataclass(frozen=True, kw_only=True)
class Submission(Section):
    """`[submission]`: how the submission file is written.

    ```toml
    [submission]
    sample = "sample_submission.csv"
    values = "columns"
    ```
    """

    sample: Text = ""
    """Path of the sample submission, relative to `data.root`, which determines the header, the ids
    and their order; without one the columns are id and label (or the names of the classes), and the
    ids are in the order of the test images."""
    values: Values = "auto"
    """What is written for each id: `class`, the name of the predicted class; `index`, its number
    from 0; `probability`, that of the second of two classes; `columns`, the probability of each
    class in the column named like it. In a multilabel competition `class` and `index` write all
    predicted classes, and an empty cell if there are none. `auto` follows the metric: `class` if it
    scores classes, otherwise `probability` of two classes and `columns` of more."""
    separator: Text = " "
    """Text between the classes of one row in a multilabel competition."""
    digits: Annotated[Whole, Within(1, 17, "digits")] = 9
    """Significant digits of a probability; nine represent single precision exactly."""
    gzip: Flag = False
    """Write submission.csv.gz instead of submission.csv."""

    def written_names(self, classes: Sequence[str]) -> list[str]:
        """Return how the file names each class, in the order of `classes`: by its number if
        `values` is `index`, otherwise by its name."""
        return list(map(str, range(len(classes)))) if self.values == "index" else list(classes)


def values_for(metric: str, task: str) -> Values:
    """Return the values of a submission that a metric scores.

    Args:
        metric: name of the metric.
        task: `multiclass`, `binary` or `multilabel`.
    """
    if metric in OF_CLASSES or metric not in HIGHER_IS_BETTER:
        return "class"
    return "probability" if task == "binary" else "columns"


@dataclass(frozen=True, kw_only=True)
class Leaderboard(Section):
    """`[leaderboard]`: where the submission is scored.

    ```toml
    [leaderboard]
    competition = "digit-recognizer"
    ```
    """

    answers: Text = ""
    """Path of a file like the submission with the true answers, relative to `data.root`, which
    scores the run's submission; the pipeline never reads it. "" for none."""
    competition: Text = ""
    """Name of the competition on kaggle.com, the last part of its address; "" for none."""
    submit: Flag = False
    """Upload the submission at the end of `foldline run`; otherwise only `foldline leaderboard
    submit` does. Requires `competition`."""
    timeout_seconds: Annotated[Number, Within(1, 86_400, "seconds")] = 600.0
    """Time to wait for an answer of the service, and for the score."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.competition and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.competition):
            yield Problem(
                "competition",
                f"= {self.competition!r}: must be the last part of its address: lower-case letters,"
                " digits, -",
            )
        if self.submit and not self.competition:
            yield Problem("submit", "= true: requires competition, the name to submit to")
