"""Runs on Vertex AI or a Kubeflow Pipelines server."""

import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foldline.local import load
from foldline.result import RunResult
from pipelines.local import RUNS
from pipelines.remote.destination import Destination, launcher_for, remember
from pipelines.remote.launcher import FINISHED, RemoteRun
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import RemoteError

_POLL = 15.0


class Job:
    """A run that was submitted.

    Attributes:
        name: the name of the run, for `foldline status` and the like.
        console: the address of its page in the service's console.
    """

    def __init__(self, name: str, launcher: Any, console: str = "") -> None:
        """
        Args:
            name: the name of the run.
            launcher: of the service that runs it.
            console: the address of its page in the service's console.
        """
        self.name = name
        self.console = console
        self._launcher = launcher

    def state(self) -> str:
        """Return waiting, running, succeeded, failed or cancelled.

        Raises:
            RemoteError: the service cannot be reached, or does not know the run.
        """
        return self._get().state

    def wait(self, *, seconds_between: float = _POLL) -> str:
        """Wait until the run has ended, and return its state.

        Args:
            seconds_between: seconds between two requests.

        Raises:
            RemoteError: the run failed; the text says which step and why.
        """
        while (run := self._get()).state not in FINISHED:
            time.sleep(seconds_between)
        if run.state == "failed":
            steps = [step for step in run.tasks if step.state == "failed"]
            why = "; ".join(f"step {step.name}: {step.error}" for step in steps) or run.error
            raise RemoteError(f"run {self.name} failed: {why or 'the service gives no reason'}")
        return run.state

    def logs(self, *, step: str = "", lines: int = 50) -> Iterator[str]:
        """Yield the last log lines of the steps, each with the step's name before it.

        Args:
            step: only of this step; "" for all.
            lines: lines a step.
        """
        run = self._get()
        for one in run.tasks:
            if step in ("", one.name):
                for line in self._launcher.logs(run, one, lines=lines):
                    yield f"{one.name}: {line}"

    def cancel(self) -> None:
        """Ask the service to stop the run."""
        self._launcher.cancel(self.name)

    def fetch(
        self, out: str | Path | None = None, *, file: Competition | Gan | None = None
    ) -> RunResult:
        """Download the results of the run, when it has succeeded.

        Args:
            out: the folder; None for runs/<name of the competition>.
            file: the competition, to score the submission against its answers.

        Raises:
            RemoteError: the run has not succeeded.
            StorageError: an object is missing or cannot be read.
        """
        from pipelines.remote.fetch import fetch

        run = self._get()
        if run.state != "succeeded":
            raise RemoteError(f"run {self.name}: is {run.state}; only a succeeded run has results")
        folder = None if out is None else Path(out)
        _, found, metrics = fetch(run, file, folder, RUNS)
        return RunResult(found, metrics)

    def _get(self) -> RemoteRun:
        run: RemoteRun = self._launcher.get(self.name)
        return run


def submit(
    file: Competition | Gan | str | Path,
    destination: Destination,
    *,
    images: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    experiment: str = "",
    cache: bool = True,
    notify: str = "",
) -> Job:
    """Submit a run to Vertex AI or a Kubeflow Pipelines server; it costs money there.

    Args:
        file: as `load` returns it, or its path; its data must be in Cloud Storage.
        destination: where it runs: `Destination("vertex", ...)` with project, region, root (the
            bucket) and service_account, or `Destination("kfp", ...)` with host and root.
        images: container images by digest, with the keys `light` and `training`; None for those in
            the environment variables FOLDLINE_IMAGE_LIGHT and FOLDLINE_IMAGE_TRAINING.
        labels: labels for bills and lists.
        experiment: the experiment that groups the run; "" for none.
        cache: whether finished steps of other runs are reused.
        notify: who hears of a run that failed: on Vertex AI mail addresses, separated by commas; on
            a cluster a Kubernetes secret whose key `url` is a webhook; "" for nobody.

    Raises:
        CompetitionError: the file or the destination is wrong.
        RemoteError: the service refused the run.
    """
    from pipelines.remote import estimate
    from pipelines.remote.prepare import prepare
    from pipelines.targets.base import ContainerImages
    from trainer import runtime

    origin = "" if isinstance(file, Competition | Gan) else str(file)
    loaded = load(file) if not isinstance(file, Competition | Gan) else file
    named = dict(images or {})
    for kind, variable in runtime.IMAGES.items():
        named.setdefault(kind, os.environ.get(variable, ""))
    folder = RUNS / loaded.name
    launcher = launcher_for(destination)
    request = prepare(
        estimate.with_price(loaded, destination.target, estimate.prices(None)),
        Path(origin or loaded.name),
        destination,
        folder,
        images=ContainerImages(named["light"], named["training"]),
        labels=dict(labels or {}),
        experiment=experiment,
        cache=cache,
        notify=notify,
    )
    for text in launcher.check(loaded.machine):
        warnings.warn(text, stacklevel=2)
    # Before it is sent: a run that costs money must stay known.
    remember(destination, request.name, folder)
    run = launcher.submit(request)
    return Job(run.name, launcher, run.console)
