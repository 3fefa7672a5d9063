"""What can go wrong, as a tree: each error's text says which file, key, row or id, and what to do.

FoldlineError
├── CompetitionError   the competition file (or a pipeline parameter) says something impossible
├── DataError          the user's images or tables are not what the competition file says they are
├── IntegrityError     an artifact of an earlier step is missing, damaged or half-written
├── StorageError       Cloud Storage did not give or take an object
├── LeaderboardError   the leaderboard did not take a submission, with its reason
├── RemoteError        Vertex AI or a Kubeflow Pipelines server refused something, with its reason
├── TrainingError      a model cannot be trained as its recipe says
├── Preempted          the machine is taken away: start again, and it goes on
└── RunError           a step of a pipeline run failed
"""


class FoldlineError(Exception):
    """Base of every error whose text is meant for the person who runs the pipeline."""


class CompetitionError(FoldlineError):
    """The competition file, or a pipeline parameter that stands for a section of it, is wrong."""


class DataError(FoldlineError):
    """An input file does not hold what the competition file says it holds."""


class IntegrityError(FoldlineError):
    """A file that an earlier step wrote is missing, damaged or not the one its manifest names."""


class StorageError(FoldlineError):
    """An object of Cloud Storage is not there, may not be touched, or the service failed for too long."""


class LeaderboardError(FoldlineError):
    """The leaderboard did not take a submission, or could not be asked: its reason is in the text."""


class RemoteError(FoldlineError):
    """Vertex AI or a Kubeflow Pipelines server did not do what was asked: its reason, and who may help, are in the text."""


class TrainingError(FoldlineError):
    """A recipe does not work on this data: what to change is in the text."""


class Preempted(FoldlineError):
    """The process was asked to end (SIGTERM) and has written down where it was: start it again."""


class RunError(FoldlineError):
    """A step of a run failed; `step` is its name and `tail` the last lines it printed."""

    def __init__(self, step: str, message: str, tail: list[str] | None = None) -> None:
        super().__init__(message)
        self.step = step
        self.tail = tail or []
