"""The errors that people read. Each text names the file, key, row or id, and what to do.

FoldlineError
├── CompetitionError   the competition file (or a pipeline parameter) is wrong
├── DataError          images or tables are not what the competition file says
├── IntegrityError     an artifact of an earlier step is missing, damaged or incomplete
├── StorageError       Cloud Storage refused or failed
├── LeaderboardError   the leaderboard refused a submission or cannot be reached
├── RemoteError        Vertex AI or a Kubeflow Pipelines server refused or failed
├── TrainingError      a model cannot be trained as its recipe says
├── Preempted          the process was asked to stop: start it again to resume
└── RunError           a step of a pipeline run failed
"""

from collections.abc import Sequence
from typing import NamedTuple

# Ids that a message names.
SHOWN = 20


def shown(ids: Sequence[str]) -> str:
    """Return the first ids as text for a message, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(map(repr, ids[:SHOWN])) + more


class FoldlineError(Exception):
    """Base of every error whose text is meant for the person who runs the pipeline."""


class FileProblem(NamedTuple):
    """One problem of a competition file.

    Attributes:
        file: the file, or the parameter that holds a section of it.
        line: the line of the key, from 1; None if it is unknown.
        key: the key with its section, such as `members[0].epochs`.
        message: the rest of a sentence that starts with the key.
        value: the value of the key, None if it is missing.
        allowed: the values or keys that are allowed, in words; "" if the message says it.
        close: an allowed key with nearly the same name, or "".
    """

    file: str
    line: int | None
    key: str
    message: str
    value: object = None
    allowed: str = ""
    close: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.key} {self.message}"


class CompetitionError(FoldlineError):
    """The competition file, or a pipeline parameter that holds a section of it, is wrong.

    Attributes:
        problems: the problems of its keys, as far as it has such; the text has them all.
    """

    problems: Sequence[FileProblem] = ()

    @classmethod
    def of(cls, problems: Sequence[FileProblem]) -> "CompetitionError":
        """Return the error of several problems, one per line of its text."""
        error = cls("\n".join(map(str, problems)))
        error.problems = problems
        return error


class DataError(FoldlineError):
    """An input file does not hold what the competition file says it holds."""


class IntegrityError(FoldlineError):
    """A file that an earlier step wrote is missing, damaged or not the one in its manifest."""


class StorageError(FoldlineError):
    """An object in Cloud Storage is missing or not accessible, or the service kept failing."""


class LeaderboardError(FoldlineError):
    """The leaderboard refused a submission or cannot be reached; the text has its reason."""


class RemoteError(FoldlineError):
    """Vertex AI or a Kubeflow Pipelines server refused or failed; the text has its reason."""


class TrainingError(FoldlineError):
    """A recipe does not work on this data; the text says what to change."""


class Preempted(FoldlineError):
    """The process received SIGTERM and wrote a checkpoint: start it again to resume."""


class RunError(FoldlineError):
    """A step of a run failed.

    Attributes:
        step: the name of the step.
        tail: the last lines that it printed.
    """

    def __init__(self, step: str, message: str, tail: list[str] | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.tail = tail or []
