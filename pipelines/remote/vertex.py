"""Runs on Vertex AI Pipelines, by Google's own client library over REST.

The library's lower layer: `aiplatform.PipelineJob` also looks for the bucket's project at an
address that cannot be chosen, makes a bucket that is missing, and prints."""

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.storage.errors import role
from components.storage.objects import bucket_location
from pipelines.remote.destination import Destination
from pipelines.remote.launcher import RemoteRun, RunRequest, RunStep
from pipelines.remote.vertex_job import run_of, text_of
from trainer.errors import CompetitionError, RemoteError

# Seconds that one call may take, and that a faltering service is asked again.
TIMEOUT, PATIENCE = 60.0, 60.0
FIRST_PAUSE = 1.0
LABEL = "foldline"
_CONSOLE = "https://console.cloud.google.com"
# What an account lacks who may not: the smallest role that has it. docs/security.md says who needs
# which.
_ROLES = {
    "aiplatform.": "roles/aiplatform.user",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser on the run's service account",
    "logging.": "roles/logging.viewer",
    "artifactregistry.": "roles/artifactregistry.reader on the repository",
}


class VertexLauncher:
    """Pipelines of a project and region; see `pipelines.remote.launcher.Launcher`."""

    def __init__(self, where: Destination) -> None:
        self.where = where
        self.parent = f"projects/{where.project}/locations/{where.region}"
        self.endpoint = where.endpoint or f"https://{where.region}-aiplatform.googleapis.com"
        self.credentials = _credentials()

    def check(self) -> list[str]:
        """Whether the bucket is there, and near."""
        place = bucket_location(self.where.root)
        near = place == self.where.region or (
            place in ("us", "eu", "asia") and _continent(self.where.region) == place
        )
        if near:
            return []
        return [
            f"{self.where.root} lies in {place}, and the run in {self.where.region}: slower, and"
            " its traffic costs"
        ]

    def body(self, request: RunRequest) -> dict[str, Any]:
        """The PipelineJob of its REST interface."""
        return {
            "displayName": request.competition.name,
            "labels": {LABEL: request.competition.name[:63], **request.labels},
            "serviceAccount": self.where.service_account,
            "runtimeConfig": {
                "gcsOutputDirectory": self.where.root,
                "parameterValues": request.arguments,
                # What runs beside a task that failed is finished, and reused by the next run.
                "failurePolicy": "PIPELINE_FAILURE_POLICY_FAIL_SLOW",
            },
            "pipelineSpec": request.spec,
        }

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run; after a lost answer the run that is there by then is taken for it."""
        from google.api_core.exceptions import Conflict

        job = self._job(request)
        if request.experiment:
            # Before the run: what is refused here costs nothing.
            self._make_experiment(request.experiment)
        calls = 0

        def create(**options: Any) -> Any:
            nonlocal calls
            calls += 1
            return self._pipelines().create_pipeline_job(
                parent=self.parent, pipeline_job=job, pipeline_job_id=request.name, **options
            )

        with self._explained(f"run {request.name}"):
            try:
                made = _patiently(create)
            except Conflict:
                if calls == 1:
                    raise
                made = self._found(request.name)
        warning = ""
        if request.experiment:
            try:
                self._join_experiment(made.name, request.experiment)
            except RemoteError as error:
                warning = f"the run goes on, and is in no experiment: {error}"
        return dataclasses.replace(run_of(made, self._console(made)), warning=warning)

    def get(self, name: str) -> RemoteRun:
        """A run with its tasks and the URIs of its artifacts."""
        with self._explained(f"run {name}"):
            job = self._found(name)
        return run_of(job, self._console(job))

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs that bear our label, also those of schedules."""
        from google.cloud.aiplatform_v1.types import ListPipelineJobsRequest
        from google.protobuf.field_mask_pb2 import FieldMask

        fields = ["name", "state", "display_name", "create_time", "error"]
        wanted = ListPipelineJobsRequest(
            parent=self.parent,
            filter=f"labels.{LABEL}:*",
            order_by="create_time desc",
            page_size=min(limit, 100),
            read_mask=FieldMask(paths=fields),
        )
        with self._explained("runs"):
            found = []
            # The library asks for each page with it.
            for job in self._pipelines().list_pipeline_jobs(
                request=wanted, retry=_patience(), timeout=TIMEOUT
            ):
                found.append(run_of(job, self._console(job)))
                if len(found) == limit:
                    break
            return found

    def cancel(self, name: str) -> None:
        """Ask a run to end; its tasks are ended soon after."""
        with self._explained(f"run {name}"):
            _patiently(
                lambda **options: self._pipelines().cancel_pipeline_job(
                    name=self._name(name), **options
                )
            )

    def logs(self, run: RemoteRun, task: RunStep, *, lines: int) -> Iterator[str]:
        """The last lines that the task's machines wrote to Cloud Logging."""
        if not task.jobs:
            return
        ids = " OR ".join(f'"{job}"' for job in task.jobs)
        since = f' AND timestamp>="{task.started}"' if task.started else ""
        wanted = {
            "resourceNames": [f"projects/{self.where.project}"],
            "filter": f'resource.type="ml_job" AND resource.labels.job_id=({ids}){since}',
            "orderBy": "timestamp desc",
            "pageSize": min(lines, 1000),
        }
        newest: list[str] = []
        with self._explained(f"log of {task.name}"):
            while len(newest) < lines:
                page = _patiently(lambda **options: self._entries(wanted, **options))
                newest += [text for entry in page.get("entries", []) if (text := text_of(entry))]
                if not page.get("nextPageToken"):
                    break
                wanted["pageToken"] = page["nextPageToken"]
        yield from reversed(newest[:lines])

    @property
    def schedules(self) -> str:
        return f"{_CONSOLE}/vertex-ai/pipelines/schedules?project={self.where.project}"

    def schedule(self, request: RunRequest, cron: str) -> str:
        """A schedule that starts the run again and again, one at a time."""
        from google.cloud.aiplatform_v1.services.schedule_service import ScheduleServiceClient
        from google.cloud.aiplatform_v1.types import CreatePipelineJobRequest, Schedule

        if request.experiment:
            raise CompetitionError(
                "--experiment goes with submit: Vertex AI puts no run of a schedule into an"
                " experiment"
            )
        client = ScheduleServiceClient(**self._options())
        made = Schedule(
            display_name=f"foldline {request.competition.name}",
            cron=cron,
            max_concurrent_run_count=1,
            create_pipeline_job_request=CreatePipelineJobRequest(
                parent=self.parent, pipeline_job=self._job(request)
            ),
        )
        with self._explained("schedule"):
            # Not tried again: a schedule has no name of ours by which a second one would be
            # refused.
            name = client.create_schedule(parent=self.parent, schedule=made, timeout=TIMEOUT).name
        return str(name)

    def _job(self, request: RunRequest) -> Any:
        from google.cloud.aiplatform_v1.types import PipelineJob
        from google.protobuf import json_format

        message = PipelineJob()
        json_format.ParseDict(self.body(request), PipelineJob.pb(message))
        return message

    def _found(self, name: str) -> Any:
        return _patiently(
            lambda **options: self._pipelines().get_pipeline_job(name=self._name(name), **options)
        )

    def _name(self, run: str) -> str:
        if not re.fullmatch(r"[a-z0-9][-a-z0-9]{0,127}", run):
            raise CompetitionError(
                f"{run}: is no name of a run on Vertex AI: lower-case letters, digits and -"
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

    def _console(self, job: Any) -> str:
        return (
            f"{_CONSOLE}/vertex-ai/locations/{self.where.region}/pipelines/runs/{job.name.rpartition('/')[2]}"
            f"?project={self.where.project}"
        )

    def _entries(self, wanted: Mapping[str, Any], *, timeout: float) -> dict[str, Any]:
        from google.api_core.exceptions import from_http_response
        from google.auth.transport.requests import AuthorizedSession

        address = self.where.logging or "https://logging.googleapis.com"
        with contextlib.closing(AuthorizedSession(self.credentials)) as session:
            answer = session.post(f"{address}/v2/entries:list", json=wanted, timeout=timeout)
        if answer.status_code != 200:
            raise from_http_response(answer)
        page: dict[str, Any] = answer.json()
        return page

    def _make_experiment(self, experiment: str) -> None:
        """An experiment, as the console's tables of comparison want it, where there is none of its
        name."""
        from google.api_core.exceptions import Conflict
        from google.cloud.aiplatform_v1.types import Context

        made = Context(
            display_name=experiment,
            schema_title="system.Experiment",
            schema_version="0.0.1",
            metadata={"experiment_deleted": False},
        )
        with self._explained(f"experiment {experiment}"), contextlib.suppress(Conflict):
            _patiently(
                lambda **options: self._metadata().create_context(
                    parent=self._store(), context_id=experiment, context=made, **options
                )
            )

    def _join_experiment(self, job: str, experiment: str) -> None:
        """Put a run into an experiment."""
        with self._explained(f"experiment {experiment}"):
            until = time.monotonic() + PATIENCE
            # The service makes the run's context a moment after the run.
            while not (
                context := self._found(job.rpartition("/")[2]).job_detail.pipeline_run_context.name
            ):
                if time.monotonic() > until:
                    raise RemoteError(f"experiment {experiment}: the run got no context")
                time.sleep(FIRST_PAUSE)
            _patiently(
                lambda **options: self._metadata().add_context_children(
                    context=f"{self._store()}/contexts/{experiment}",
                    child_contexts=[context],
                    **options,
                )
            )

    def _metadata(self) -> Any:
        from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient

        return MetadataServiceClient(**self._options())

    def _store(self) -> str:
        return f"{self.parent}/metadataStores/default"

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """The service's errors in the project's words."""
        import requests
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        try:
            yield
        except (GoogleAuthError, exceptions.Unauthorized) as error:
            told = _said(error) if isinstance(error, exceptions.Unauthorized) else error
            raise RemoteError(
                f"{what}: not signed in ({told}): run `gcloud auth application-default login`"
            ) from None
        except exceptions.Forbidden as error:
            raise RemoteError(f"{what}: not allowed: {_said(error)}{_role(error)}") from None
        except exceptions.NotFound as error:
            raise RemoteError(
                f"{what}: not found in {self.where.project}, {self.where.region}: {_said(error)}"
            ) from None
        except exceptions.Conflict as error:
            raise RemoteError(f"{what}: is there already: {_said(error)}") from None
        except exceptions.TooManyRequests as error:
            raise RemoteError(f"{what}: {_said(error)}{_quota(error)}") from None
        except exceptions.RetryError as error:
            cause = error.cause if isinstance(error.cause, exceptions.GoogleAPICallError) else None
            told = f"{_said(cause)}{_quota(cause)}" if cause is not None else str(error.cause)
            raise RemoteError(f"{what}: Vertex AI failed for {PATIENCE:g} s: {told}") from None
        except exceptions.GoogleAPICallError as error:
            raise RemoteError(f"{what}: {_said(error)}") from None
        except requests.RequestException as error:
            raise RemoteError(f"{what}: {self.endpoint} cannot be reached: {error}") from None


def _credentials() -> Any:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        raise CompetitionError(
            f"no Google account ({error}): run `gcloud auth application-default login`"
        ) from None
    return found


def _continent(region: str) -> str:
    return {"us": "us", "europe": "eu", "asia": "asia"}.get(region.partition("-")[0], "")


def _patiently(call: Callable[..., Any]) -> Any:
    """Call a function with the time it may take, again and again where the service falters or asks
    for patience."""
    return _patience()(call)(timeout=TIMEOUT)


def _patience() -> Any:
    import requests
    from google.api_core import exceptions
    from google.api_core.retry import Retry
    from google.auth.exceptions import GoogleAuthError, TransportError

    faltering = (
        exceptions.TooManyRequests,
        exceptions.InternalServerError,
        exceptions.BadGateway,
        exceptions.ServiceUnavailable,
        exceptions.GatewayTimeout,
        requests.ConnectionError,
        requests.Timeout,
        # A token is fetched anew each hour.
        TransportError,
    )

    def again(error: Exception) -> bool:
        return isinstance(error, faltering) or (
            isinstance(error, GoogleAuthError) and error.retryable
        )

    return Retry(
        predicate=again, initial=FIRST_PAUSE, maximum=20.0, multiplier=2.0, timeout=PATIENCE
    )


def _said(error: Any) -> str:
    """What the service says, without the address that the library puts before it."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, ValueError, KeyError, TypeError):
        return str(error.message)


def _role(error: Any) -> str:
    permission = (
        (error.metadata or {}).get("permission", "")
        if error.reason == "IAM_PERMISSION_DENIED"
        else ""
    )
    named = permission or next(
        iter(re.findall(r"'?([a-z]+\.[A-Za-z]+\.[A-Za-z]+)'?", _said(error))), ""
    )
    if named.startswith("storage."):
        return f" (lacks {named}, which {role(named)} has)"
    return next(
        (
            f" (lacks {named}, which {has} has)"
            for begin, has in _ROLES.items()
            if named.startswith(begin)
        ),
        "",
    )


def _quota(error: Any) -> str:
    violations = [
        violation
        for detail in error.details
        if isinstance(detail, Mapping)
        and str(detail.get("@type", "")).endswith("google.rpc.QuotaFailure")
        for violation in detail.get("violations", [])
    ]
    told = "; ".join(
        f"{one.get('subject', '')} {one.get('description', '')}".strip() for one in violations
    )
    ask = (
        "ask for more at console.cloud.google.com/iam-admin/quotas, take another region, or a"
        " smaller machine"
    )
    return f" ({told}): {ask}" if told else ""
