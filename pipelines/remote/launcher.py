"""What every launcher does, and the data types of a request and a run."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.records.source import SourceSummary
from components.storage import objects
from trainer.config.machine import Machine, Vertex

# The states of a run that has ended.
FINISHED = {"succeeded", "failed", "cancelled"}


@dataclass(frozen=True)
class RunRequest:
    """A run that is checked but not sent yet.

    Attributes:
        name: the name of the run.
        title: the name of the competition.
        spec: the compiled pipeline.
        platforms: its second YAML document, with settings for Kubernetes; {} if there is none.
        arguments: the value of each pipeline parameter.
        labels: the labels of the run.
        experiment: the experiment that groups the run; "" for none.
        file: the compiled pipeline's YAML file.
        found: how many images there are; None if the run has no data.
        vertex: resources of the user's project that the run uses on Vertex AI.
        files: the contents of the objects that the run reads and `send_files` writes, by URI.
    """

    name: str
    title: str
    spec: dict[str, Any]
    platforms: dict[str, Any]
    arguments: dict[str, Any]
    labels: dict[str, str]
    experiment: str
    file: Path
    found: SourceSummary | None = None
    vertex: Vertex = field(default_factory=Vertex)
    files: Mapping[str, str] = field(default_factory=dict)

    def send_files(self) -> None:
        """Write `files`; a launcher does so before it sends the request.

        Raises:
            StorageError: an object cannot be written.
        """
        for uri, text in self.files.items():
            with tempfile.TemporaryDirectory(prefix="foldline-") as scratch:
                path = Path(scratch) / "contents"
                path.write_text(text, encoding="utf-8")
                objects.put(path, uri)


@dataclass(frozen=True)
class RunStep:
    """A step of a run.

    Attributes:
        name: the name of the step; the same for all iterations of a loop.
        state: waiting, running, succeeded, failed, reused or another word of the service.
        error: why it failed; "" if it did not, or the service gives no reason.
        jobs: the names under which its log is looked up: custom jobs or pods.
        started: when it started, in ISO 8601; "" if it did not.
    """

    name: str
    state: str
    error: str = ""
    jobs: tuple[str, ...] = ()
    started: str = ""


@dataclass(frozen=True)
class RemoteRun:
    """A run as its service reports it.

    Attributes:
        name: the name of the run.
        state: waiting, running, succeeded, failed or cancelled.
        created: when it was created, in ISO 8601.
        console: the address of its page in the service's console.
        error: why it failed; "" if it did not, or the service gives no reason.
        tasks: its steps.
        arguments: the value of each pipeline parameter.
        spec: its pipeline; {} if that is not a pipeline of this project.
        outputs: the URIs of its artifacts, by (step, output); several for a step in a loop.
        warning: what went wrong when it was submitted, though it runs; "" for nothing.
    """

    name: str
    state: str
    created: str
    console: str
    error: str = ""
    tasks: tuple[RunStep, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    warning: str = ""


# The start of the names of schedules that this project's commands create.
SCHEDULE_TITLE = "foldline "


@dataclass(frozen=True)
class RemoteSchedule:
    """A schedule as its service reports it.

    Attributes:
        name: its name, by which it is paused or deleted.
        title: the name of the competition.
        cron: when its runs start.
        state: active, paused or another word of the service.
        next_run: when the next run starts, in ISO 8601; "" if the service does not tell.
    """

    name: str
    title: str
    cron: str
    state: str
    next_run: str = ""


class Launcher(Protocol):
    """A service that runs pipelines. Every method raises RemoteError if the service fails."""

    def check(self, machine: Machine) -> list[str]:
        """Check that the destination exists, and that a `machine` can use it; returns warnings."""

    def body(self, request: RunRequest) -> dict[str, Any]:
        """What `submit` would send."""

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run."""

    def get(self, name: str) -> RemoteRun:
        """A run with its steps."""

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs of this project's pipelines, newest first; without their steps."""

    def cancel(self, name: str) -> None:
        """Request that a run ends."""

    def logs(self, run: RemoteRun, step: RunStep, *, lines: int) -> Iterator[str]:
        """The last lines of a step's log, oldest first."""

    @property
    def schedules_page(self) -> str:
        """The address of the page where schedules are paused and deleted."""

    def schedules(self) -> list[RemoteSchedule]:
        """The schedules of this project's pipelines."""

    def change_schedule(self, name: str, action: str) -> None:
        """Pause, resume or delete a schedule, by its name."""

    def schedule(self, request: RunRequest, cron: str) -> str:
        """Start runs on a schedule; returns the schedule's name."""
