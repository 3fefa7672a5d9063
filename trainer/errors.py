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


class FoldlineError(Exception):
    """Base of every error whose text is meant for the person who runs the pipeline."""


class CompetitionError(FoldlineError):
    """The competition file, or a pipeline parameter that holds a section of it, is wrong."""


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
