"""Sections of the competition file about what is made of the models' predictions: blend,
submission, leaderboard."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from trainer.config.schema import NAME, Problem, number, optional_text

Method: TypeAlias = Literal[
    "auto", "mean", "rank_mean", "greedy", "weights", "logistic", "best_alpha"
]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """`[[blend.external]]`: a member whose predictions were made elsewhere, as two tables (CSV,
    also gzip, or parquet).

    Both have a column of ids and one a class, by its name; of two classes a single one, the
    second's probability, is enough. Columns `target` and `fold` may stand there."""

    name: str
    oof: str
    test: str
    id: str = "id"

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if not NAME.fullmatch(self.name):
            yield Problem(
                "name",
                f"= {self.name!r}: use lower-case letters, digits, _ and -, a letter first, at"
                " most 63",
            )


@dataclass(frozen=True, kw_only=True)
class Blend:
    """`[blend]`: how the members' predictions become one, fitted on out-of-fold rows and scored on
    folds it has not seen.

    method: `mean`; `rank_mean`; `greedy` selection with replacement, by the competition's metric;
        `weights` of least log loss; `logistic` regression on log probabilities; `best_alpha`, of
        two members; `auto` chooses among these.
    rounds: of `greedy`. penalty: of `logistic`.
    on_missing: where a member lacks rows: stop, leave these rows out for all members, or fill them
        with the value that has the rank which the other members give the row.
    calibration: of the blend's probabilities. thresholds: of its decisions, the metric they are to
        be best in; per_class: one for each class.
    resamples: of the bootstrap that gives every score its interval.
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
        """What no single key shows."""
        if self.per_class and self.thresholds == "none":
            yield Problem("per_class", "= true: goes with thresholds")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """`[submission]`: `sample` decides header, ids and their order.

    values: what is written for each id: the name of the decided class (`class`), or its number from
        0 (`index`); the `probability` of the second of two; or `columns`, the probability of each
        class in the column that bears its name. Of a multilabel competition `class` and `index` are
        all decided ones, with `separator` between them, and the most probable one where there are
        none.
    digits: significant digits of a probability; nine carry single precision exactly. gzip: write
    submission.csv.gz."""

    sample: str
    values: Literal["class", "index", "probability", "columns"] = "class"
    separator: str = " "
    digits: int = number(9, low=1, high=17)
    gzip: bool = False


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """`[leaderboard]`: `answers` is a file like the submission with the truth in it; the pipeline
    never sees it.

    competition: its name on kaggle.com, the last part of its address. submit: whether `foldline
        run` uploads the submission at its end; without it only `foldline leaderboard submit` does.
        timeout_seconds: how long to wait for the service to answer, and for the score.
    """

    answers: str = optional_text()
    competition: str = optional_text()
    submit: bool = False
    timeout_seconds: float = number(600.0, low=1, high=86_400)

    def problems(self) -> Iterator[Problem]:
        """What no single key shows."""
        if self.competition and not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.competition):
            yield Problem(
                "competition",
                f"= {self.competition!r}: is the last part of its address: small letters,"
                " digits, -",
            )
        if self.submit and not self.competition:
            yield Problem("submit", "= true: goes with competition, which says where to")
