"""Runs on Vertex AI Pipelines, through Google's own client library over REST.

This module calls the library's lower layer: `aiplatform.PipelineJob` also looks up the bucket's
project at an address that cannot be configured, creates a missing bucket, and prints.
"""

import contextlib
import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from components import retry
from components.storage.objects import bucket_location
from pipelines.remote.destination import Destination
from pipelines.remote.launcher import (
    SCHEDULE_TITLE,
    RemoteRun,
    RemoteSchedule,
    RunRequest,
    RunStep,
)
from pipelines.remote.vertex.errors import explained
from pipelines.remote.vertex.experiment import TIMEOUT, Experiments, patiently
from pipelines.remote.vertex.job import run_of, text_of
from pipelines.remote.vertex.schedules import Schedules
from pipelines.targets.machines import is_custom_job
from trainer.config.machine import Machine
from trainer.errors import CompetitionError, RemoteError

# The label of every run of this project.
LABEL = "foldline"
_CONSOLE = "https://console.cloud.google.com"


class VertexLauncher:
    """Launches runs in a project and region; see `pipelines.remote.launcher.Launcher`."""

    def __init__(self, where: Destination) -> None:
        self.where = where
        self.parent = f"projects/{where.project}/locations/{where.region}"
        self.endpoint = where.endpoint or f"https://{where.region}-aiplatform.googleapis.com"
        self.credentials = _credentials()

    def check(self, machine: Machine) -> list[str]:
        """Check that the bucket exists, and that the run can work with it.

        Args:
            machine: what training runs on.

        Returns:
            a warning if the bucket is in another region than the run.

        Raises:
            CompetitionError: training jobs cannot use the bucket.
        """
        location = bucket_location(self.where.root)
        if location == self.where.region:
            return []
        # A location without a digit covers several regions, and so does nam4 or eur4.
        several = not re.fullmatch(r"[a-z]+-[a-z]+\d+", location)
        if several and is_custom_job(machine):
            # cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
            raise CompetitionError(
                f"{self.where.root} is in several regions ({location}), and training jobs on"
                f" accelerators or spot machines cannot use such a bucket: use one in"
                f" {self.where.region}"
            )
        if several and _continent(self.where.region) == location:
            return []
        return [
            f"{self.where.root} is in {location}, but the run is in {self.where.region}: it will be"
            " slower, and the traffic is billed"
        ]

    def body(self, request: RunRequest) -> dict[str, Any]:
        """The PipelineJob of Vertex AI's REST interface."""
        vertex = request.vertex
        resources: dict[str, Any] = {}
        # For the plain steps; custom jobs have the same in their own defaults.
        if vertex.network:
            resources["network"] = vertex.network
        if vertex.encryption_key:
            resources["encryptionSpec"] = {"kmsKeyName": vertex.encryption_key}
        if vertex.network_attachment:
            attachment = {"networkAttachment": vertex.network_attachment}
            resources["pscInterfaceConfig"] = attachment
        return {
            **resources,
            "displayName": request.title,
            "labels": {LABEL: request.title[:63], **request.labels},
            "serviceAccount": self.where.service_account,
            "runtimeConfig": {
                "gcsOutputDirectory": self.where.root,
                "parameterValues": request.arguments,
                # If a step fails, the steps that run in parallel finish, and the next run reuses
                # them.
                "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_SLOW",
            },
            "pipelineSpec": request.spec,
        }

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run. If the answer is lost, a run of the same name counts as the one started."""
        from google.api_core.exceptions import Conflict

        job = self._job(request)
        request.send_files()
        if request.experiment:
            # Before the run: if this is rejected, nothing has cost money yet.
            with self._explained(f"experiment {request.experiment}"):
                self._experiments().make(request.experiment)
        calls = 0

        def create(**options: Any) -> Any:
            nonlocal calls
            calls += 1
            return self._pipelines().create_pipeline_job(
                parent=self.parent, pipeline_job=job, pipeline_job_id=request.name, **options
            )

        with self._explained(f"run {request.name}"):
            try:
                created = patiently(create)
            except Conflict:
                if calls == 1:
                    raise
                created = self._get_job(request.name)
        warning = ""
        if request.experiment:
            try:
                with self._explained(f"experiment {request.experiment}"):
                    context = self._run_context(created.name, request.experiment)
                    self._experiments().join(request.experiment, context)
            except RemoteError as error:
                warning = f"the run continues, but could not be added to the experiment: {error}"
        return dataclasses.replace(run_of(created, self._console(created)), warning=warning)

    def get(self, name: str) -> RemoteRun:
        """A run with its steps and the URIs of its artifacts."""
        with self._explained(f"run {name}"):
            job = self._get_job(name)
        return run_of(job, self._console(job))

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs with this project's label, those of schedules included."""
        from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest
        from google.protobuf.field_mask_pb2 import FieldMask

        fields = ["name", "state", "display_name", "create_time", "error"]
        request = ListPipelineJobsRequest(
            parent=self.parent,
            filter=f"labels.{LABEL}:*",
            order_by="create_time desc",
            page_size=min(limit, 100),
            read_mask=FieldMask(paths=fields),
        )
        with self._explained("runs"):
            runs = []
            # The library uses `retry` and `timeout` for the request of each page.
            for job in self._pipelines().list_pipeline_jobs(
                request=request, retry=retry.policy(retry.is_transient), timeout=TIMEOUT
            ):
                runs.append(run_of(job, self._console(job)))
                if len(runs) == limit:
                    break
            return runs

    def cancel(self, name: str) -> None:
        """Request that a run ends; its steps end soon after."""
        with self._explained(f"run {name}"):
            patiently(
                lambda **options: self._pipelines().cancel_pipeline_job(
                    name=self._name(name), **options
                )
            )

    def logs(self, run: RemoteRun, step: RunStep, *, lines: int) -> Iterator[str]:
        """The last lines that the step's machines wrote to Cloud Logging, oldest first."""
        if not step.jobs:
            return
        ids = " OR ".join(f'"{job}"' for job in step.jobs)
        since = f' AND timestamp>="{step.started}"' if step.started else ""
        query = {
            "resourceNames": [f"projects/{self.where.project}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id=({ids}){since}',
            "orderBy": "timestamp desc",
            "pageSize": min(lines, 1000),
        }
        newest: list[str] = []
        with self._explained(f"log of {step.name}"):
            while len(newest) < lines:
                page = patiently(lambda **options: self._entries(query, **options))
                newest += [text for entry in page.get("entries", []) if (text := text_of(entry))]
                if not page.get("nextPageToken"):
                    break
                query["pageToken"] = page["nextPageToken"]
        yield from reversed(newest[:lines])

    def schedules(self) -> list[RemoteSchedule]:
        """The schedules of this project's pipelines."""
        with self._explained("schedules"):
            return list(Schedules(self.parent, self._options()).all())

    def change_schedule(self, name: str, action: str) -> None:
        """Pause, resume or delete a schedule."""
        with self._explained(f"schedule {name}"):
            Schedules(self.parent, self._options()).change(name, action)

    @property
    def schedules_page(self) -> str:
        return f"{_CONSOLE}/vertex-ai/pipelines/schedules?project={self.where.project}"

    def schedule(self, request: RunRequest, cron: str) -> str:
        """Create a schedule of runs that never overlap; returns its name."""
        from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient
        from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule

        if request.experiment:
            raise CompetitionError(
                "--experiment cannot be combined with schedule: Vertex AI adds no run of a schedule"
                " to an experiment"
            )
        request.send_files()
        client = ScheduleServiceClient(**self._options())
        body = Schedule(
            display_name=f"{SCHEDULE_TITLE}{request.title}",
            cron=cron,
            max_concurrent_run_count=1,
            create_pipeline_job_request=CreatePipelineJobRequest(
                parent=self.parent, pipeline_job=self._job(request)
            ),
        )
        with self._explained("schedule"):
            # Not retried: a schedule has no name of ours by which a duplicate would be rejected.
            name = client.create_schedule(parent=self.parent, schedule=body, timeout=TIMEOUT).name
        return str(name)

    def _job(self, request: RunRequest) -> Any:
        from google.cloud.aiplatform_v1.types import PipelineJob
        from google.protobuf import json_format

        message = PipelineJob()
        json_format.ParseDict(self.body(request), PipelineJob.pb(message))
        return message

    def _get_job(self, name: str) -> Any:
        """The PipelineJob of a run."""
        return patiently(
            lambda **options: self._pipelines().get_pipeline_job(name=self._name(name), **options)
        )

    def _name(self, run: str) -> str:
        if not re.fullmatch(r"[a-z0-9][-a-z0-9]{0,127}", run):
            raise CompetitionError(
                f"{run}: is not a name of a run on Vertex AI: use lower-case letters, digits and -"
            )
        return f"{self.parent}/pipelineJobs/{run}"

    def _pipelines(self) -> Any:
        from google.cloud.aiplatform_v1.services.pipeline_service import PipelineServiceClient

        return PipelineServiceClient(**self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "transport": "rest",
            "client_options": {"api_endpoint": self.endpoint},
            "credentials": self.credentials,
        }

    def _experiments(self) -> Experiments:
        return Experiments(self.parent, self._options())

    def _console(self, job: Any) -> str:
        return (
            f"{_CONSOLE}/vertex-ai/locations/{self.where.region}/pipelines/runs/"
            f"{job.name.rpartition('/')[2]}?project={self.where.project}"
        )

    def _entries(self, query: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        """A page of log entries."""
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        address = self.where.logging or "https://logging.googleapis.com"
        with contextlib.closing(AuthorizedSession(self.credentials)) as session:
            answer = session.post(f"{address}/v2/entries:list", json=query, timeout=timeout)
        if answer.status_code != 200:
            raise from_http_response(answer)
        page: dict[str, Any] = answer.json()
        return page

    def _run_context(self, job: str, experiment: str) -> str:
        """The metadata context of a run; the service creates it shortly after the run."""
        until = time.monotonic() + retry.PATIENCE
        while not (
            context := self._get_job(job.rpartition("/")[2]).job_detail.pipeline_run_context.name
        ):
            if time.monotonic() > until:
                raise RemoteError(
                    f"experiment {experiment}: the service created no context for the run"
                )
            time.sleep(retry.FIRST_PAUSE)
        return str(context)

    def _explained(self, what: str) -> contextlib.AbstractContextManager[None]:
        return explained(what, f"{self.where.project}, {self.where.region}", self.endpoint)


def _credentials() -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        credentials, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
    except DefaultCredentialsError as error:
        raise CompetitionError(
            f"no Google account ({error}): run `gcloud auth application-default login`"
        ) from None
    return credentials


def _continent(region: str) -> str:
    return {"us": "us", "europe": "eu", "asia": "asia"}.get(region.partition("-")[0], "")
