"""The sections of the competition file that describe what happens to the models' predictions:
`[blend]`, `[submission]`, `[leaderboard]`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from trainer.config.schema import Problem, name_problems, number, optional_text

Method: TypeAlias = Literal[
    "auto", "mean", "rank_mean", "greedy", "weights", "logistic", "best_alpha"
]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """`[[blend.external]]`: a member whose predictions come from another tool or run, as two tables
    (CSV, also gzip, or parquet).

    Both tables have a column of ids and one probability column per class, named like the class; for
    two classes a single column, the probability of the second, is enough. They may also have the
    columns `target` and `fold`.

    name: name of the member, unique; lower-case letters, digits, _ and -.
    oof: path of the out-of-fold predictions of the labelled images, relative to the competition
        file.
    test: path of the predictions of the test images, relative to the competition file.
    id: name of the id column in both tables.
    """

    name: str
    oof: str
    test: str
    id: str = "id"

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        yield from name_problems(self.name)


@dataclass(frozen=True, kw_only=True)
class Blend:
    """`[blend]`: how the members' predictions are combined; fitted on out-of-fold rows and scored
    on folds that the fit did not use.

    method: `mean`; `rank_mean`, the mean of ranks; `greedy`, forward selection with replacement by
        the competition's metric; `weights`, those with the least log loss; `logistic`, regression
        on log probabilities; `best_alpha`, the best weighted mean of two members; `auto` chooses
        among these.
    rounds: selection rounds of `greedy`, 1 to 1000.
    penalty: strength of the ridge penalty of `logistic`, 1e-6 to 1,000,000.
    on_missing: what happens if a member lacks rows: `error` stops; `drop_rows` leaves these rows
        out for all members; `impute_rank_mean` fills them with the member's own value at the mean
        rank that the other members give the row.
    calibration: calibration of the blend's probabilities: `none`, `temperature`, `platt` or
        `isotonic`.
    thresholds: metric that the decision thresholds maximise; `none` for no thresholds.
    per_class: whether each class has a threshold of its own; requires thresholds.
    resamples: bootstrap resamples for the interval of each score, 100 to 100,000.
    external: `[[blend.external]]`, predictions of other tools or runs.
    """

    method: Method = "auto"
    rounds: int = number(50, low=1, high=1000)
    penalty: float = number(1.0, low=1e-6, high=1e6)
    on_missing: Literal["error", "drop_rows", "impute_rank_mean"] = "error"
    calibration: Literal["none", "temperature", "platt", "isotonic"] = "none"
    thresholds: Literal["none", "accuracy", "f1", "macro_f1", "weighted_f1", "quadratic_kappa"] = (
        "none"
    )
    per_class: bool = False
    resamples: int = number(1000, low=100, high=100_000)
    external: list[Predictions] = field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that involve several keys, or the form of a value."""
        if self.per_class and self.thresholds == "none":
            yield Problem("per_class", "= true: requires thresholds")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """`[submission]`: how the submission file is written.

    sample: path of the sample submission, which determines the header, the ids and their order.
    values: what is written for each id: `class`, the name of the predicted class; `index`, its
        number from 0; `probability`, that of the second of two classes; `columns`, the probability
        of each class in the column named like it. In a multilabel competition `class` and `index`
        write all predicted classes, or the most probable one if there are none.
    separator: text between the classes of one row in a multilabel competition.
    digits: significant digits of a probability, 1 to 17; nine represent single precision exactly.
    gzip: whether to write submission.csv.gz instead of submission.csv.
    """

    sample: str
    values: Literal["class", "index", "probability", "columns"] = "class"
    separator: str = " "
    digits: int = number(9, low=1, high=17)
    gzip: bool = False


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """`[leaderboard]`: where the submission is scored.

    answers: path of a file like the submission that contains the true answers; the pipeline never
        reads it. "" for none.
    competition: name of the competition on kaggle.com, the last part of its address; "" for none.
    submit: whether `foldline run` uploads the submission at its end; otherwise only `foldline
        leaderboard submit` does. Requires competition.
    timeout_seconds: seconds to wait for an answer of the service, and for the score, 1 to 86,400.
    """

    answers: str = optional_text()
    competition: str = optional_text()
    submit: bool = False
    timeout_seconds: float = number(600.0, low=1, high=86_400)

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
