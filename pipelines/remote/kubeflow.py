"""Runs on a Kubeflow Pipelines server, by kfp's own client.

Its lower layer where the upper one prints, waits for ever, or hides a status. A server of 2.x tells
no task's error, pod or outputs: logs are asked for by the name a pod must have, and artifacts are
found below the bucket."""

import contextlib
import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

from components.storage.objects import bucket_location
from pipelines.remote.cron import with_seconds
from pipelines.remote.destination import Destination
from pipelines.remote.kubeflow_run import STATES, UUID, artifacts, documents, name_of, tasks
from pipelines.remote.launcher import RemoteRun, RunRequest, RunStep
from trainer import runtime
from trainer.errors import CompetitionError, RemoteError

TIMEOUT = (5, 60)
PATIENCE = 60.0
FIRST_PAUSE = 1.0
_FALTERING = {429, 500, 502, 503, 504}


class KubeflowLauncher:
    """Pipelines of a Kubeflow Pipelines server; see `pipelines.remote.launcher.Launcher`."""

    def __init__(self, where: Destination, *, token: str = "") -> None:
        self.where = where
        self.client = _client(where, token)

    def check(self) -> list[str]:
        """Whether the bucket is there, and the server answers as one."""
        bucket_location(self.where.root)
        with self._explained("server"):
            health = self._again(self.client._healthz_api.healthz_service_get_healthz)
        if health.multi_user is None:
            raise RemoteError(
                f"server: {self.where.host} answers, and not as Kubeflow Pipelines: is it a sign-in"
                " page?"
            )
        if health.multi_user and not self.where.namespace:
            raise CompetitionError(
                "missing: --namespace (or FOLDLINE_NAMESPACE): this server has several users"
            )
        return []

    def body(self, request: RunRequest) -> dict[str, Any]:
        """The run of its REST interface. Labels go into the description: runs have none."""
        spec = (
            {"pipeline_spec": request.spec, "platform_spec": request.platforms}
            if request.platforms
            else request.spec
        )
        return {
            "display_name": request.name,
            "description": json.dumps(request.labels, sort_keys=True) if request.labels else "",
            "pipeline_spec": spec,
            "runtime_config": {"parameters": request.arguments, "pipeline_root": self.where.root},
            "service_account": self.where.service_account,
        }

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run; after a lost answer the run that is there by then is taken for it."""
        import urllib3
        from kfp_server_api import ApiException

        with self._explained(f"run {request.name}"):
            body = {
                **self.body(request),
                "experiment_id": self._experiment(request.experiment or "foldline"),
            }
            until, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
            while True:
                try:
                    run = self.client._run_api.run_service_create_run(
                        run=body, _request_timeout=TIMEOUT
                    )
                    break
                except (ApiException, urllib3.exceptions.HTTPError) as error:
                    if (
                        getattr(error, "status", 503) not in _FALTERING
                        or time.monotonic() + pause > until
                    ):
                        raise
                time.sleep(pause)
                pause = min(2 * pause, 20.0)
                if there := self._named(request.name):
                    run = there
                    break
        return self._run(_whole(run, "run_id", self.where.host))

    def get(self, name: str) -> RemoteRun:
        """A run by its name or id, with its tasks, and the URIs of its artifacts once it has
        ended."""
        with self._explained(f"run {name}"):
            by_id = self.client._run_api.run_service_get_run
            run = self._again(by_id, name) if UUID.fullmatch(name) else self._named(name)
        if run is None:
            raise RemoteError(f"run {name}: not found on {self.where.host}")
        return self._run(_whole(run, "run_id", self.where.host))

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs of our pipelines."""
        found: list[RemoteRun] = []
        token = ""
        with self._explained("runs"):
            while len(found) < limit:
                page = self._again(
                    self.client._run_api.run_service_list_runs,
                    namespace=self.where.namespace,
                    page_token=token,
                    page_size=100,
                    sort_by="created_at desc",
                )
                found += [
                    run for one in page.runs or [] if (run := self._run(one, outputs=False)).spec
                ]
                token = page.next_page_token
                if not token:
                    break
        return found[:limit]

    def cancel(self, name: str) -> None:
        """Ask a run to end."""
        id_ = self._id(name)
        with self._explained(f"run {name}"):
            self._again(self.client._run_api.run_service_terminate_run, id_)

    def logs(self, run: RemoteRun, task: RunStep, *, lines: int) -> Iterator[str]:
        """The last lines of a task's pod, as long as it is kept."""
        from kfp_server_api import ApiException

        id_ = self._id(run.name)
        with self._explained(f"log of {task.name}"):
            for pod in task.jobs:
                try:
                    text = self._text(f"/apis/v1alpha1/runs/{id_}/nodes/{pod}/log")
                except ApiException as error:
                    # What it says of a pod that is not there, or not any more.
                    if error.status in (404, 500):
                        continue
                    raise
                yield from text.splitlines()[-lines:]
                return
        namespace = self.where.namespace or "kubeflow"
        yield (
            f"(its pod is not found: kubectl -n {namespace} logs -l pipeline/runid={id_} -c main"
            f" --prefix --tail={lines})"
        )

    @property
    def schedules(self) -> str:
        return f"{self.where.host}/#/recurringruns"

    def schedule(self, request: RunRequest, cron: str) -> str:
        """A recurring run, one at a time."""
        trigger = {"cron_schedule": {"cron": with_seconds(cron)}}
        with self._explained("schedule"):
            body = self.body(request)
            made = self.client._recurring_run_api.recurring_run_service_create_recurring_run(
                recurring_run={
                    "display_name": f"foldline {request.competition.name}",
                    "experiment_id": self._experiment(request.experiment or "foldline"),
                    "pipeline_spec": body["pipeline_spec"],
                    "runtime_config": body["runtime_config"],
                    "service_account": body["service_account"],
                    "max_concurrency": 1,
                    "no_catchup": True,
                    "mode": "ENABLE",
                    "trigger": trigger,
                },
                _request_timeout=TIMEOUT,
            )
        return str(_whole(made, "recurring_run_id", self.where.host).recurring_run_id)

    def _id(self, name: str) -> str:
        if UUID.fullmatch(name):
            return name
        with self._explained(f"run {name}"):
            run = self._named(name)
        if run is None:
            raise RemoteError(f"run {name}: not found on {self.where.host}")
        return str(run.run_id)

    def _named(self, name: str) -> Any:
        wanted = {
            "predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]
        }
        page = self._again(
            self.client._run_api.run_service_list_runs,
            namespace=self.where.namespace,
            filter=json.dumps(wanted),
            page_size=2,
        )
        if not page.runs:
            return None
        # A list has no tasks.
        return self._again(self.client._run_api.run_service_get_run, page.runs[0].run_id)

    def _experiment(self, name: str) -> str:
        """Its id; made where it is not there."""
        from kfp_server_api import ApiException

        wanted = {
            "predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]
        }
        for attempt in range(2):
            page = self._again(
                self.client._experiment_api.experiment_service_list_experiments,
                filter=json.dumps(wanted),
                namespace=self.where.namespace,
            )
            if page.experiments:
                return str(page.experiments[0].experiment_id)
            try:
                made = self._again(
                    self.client._experiment_api.experiment_service_create_experiment,
                    experiment={"display_name": name, "namespace": self.where.namespace},
                )
                return str(_whole(made, "experiment_id", self.where.host).experiment_id)
            except ApiException as error:
                # Another was faster.
                if error.status != 409 or attempt:
                    raise
        raise RemoteError(f"experiment {name}: could be neither found nor made")

    def _run(self, run: Any, *, outputs: bool = True) -> RemoteRun:
        details = run.run_details.task_details or [] if run.run_details else []
        spec, given = documents(run.pipeline_spec)
        config = run.runtime_config
        found = RemoteRun(
            name=run.display_name or run.run_id,
            state=STATES.get(run.state or "", "running"),
            created=run.created_at.isoformat() if run.created_at else "",
            console=f"{self.where.host}/#/runs/details/{run.run_id}",
            error=run.error.message if run.error and run.error.message else "",
            tasks=tuple(tasks(details, given)),
            arguments=(config.parameters or {}) if config else {},
            spec=spec,
        )
        if (
            outputs
            and found.state == "succeeded"
            and config
            and (config.pipeline_root or "").startswith("gs://")
        ):
            found = RemoteRun(
                **{
                    **vars(found),
                    "outputs": artifacts(config.pipeline_root, name_of(spec), run.run_id),
                }
            )
        return found

    def _text(self, path: str) -> str:
        answer = self.client._run_api.api_client.call_api(
            path,
            "GET",
            header_params={"Accept": "*/*"},
            auth_settings=["Bearer"],
            _preload_content=False,
            _request_timeout=TIMEOUT,
        )
        try:
            data: bytes = answer.read()
        finally:
            answer.release_conn()
        return data.decode("utf-8", errors="replace")

    def _again(self, call: Any, *given: Any, **named: Any) -> Any:
        """Call the server, again and again where it falters."""
        import urllib3
        from kfp_server_api import ApiException

        until, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
        while True:
            try:
                return call(*given, **named, _request_timeout=TIMEOUT)
            except (ApiException, urllib3.exceptions.HTTPError) as error:
                if (
                    getattr(error, "status", 503) not in _FALTERING
                    or time.monotonic() + pause > until
                ):
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 20.0)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """The server's errors in the project's words."""
        import urllib3
        from kfp_server_api import ApiException

        try:
            yield
        except ApiException as error:
            told = _said(error)
            if error.status == 401:
                told = f"not signed in ({told}): put a token into {runtime.KFP_TOKEN}"
            elif error.status in (302, 303, 307):
                told = f"sends to a sign-in page: put a token into {runtime.KFP_TOKEN}"
            elif error.status == 403:
                place = (
                    f"namespace {self.where.namespace}" if self.where.namespace else "this server"
                )
                told = f"not allowed ({told}): ask for the role kubeflow-edit in {place}"
            elif error.status == 404:
                told = f"not found on {self.where.host} ({told})"
            elif error.status == 409:
                told = f"is there already ({told})"
            elif error.status in _FALTERING:
                told = f"{self.where.host} fails, also when asked again ({error.status}: {told})"
            raise RemoteError(f"{what}: {told}") from None
        except urllib3.exceptions.HTTPError as error:
            raise RemoteError(
                f"{what}: {self.where.host} cannot be reached:"
                f" {getattr(error, 'reason', None) or error}"
            ) from None


def _client(where: Destination, token: str) -> Any:
    import urllib3

    with warnings.catch_warnings():
        # It says of every version that it works with that one only.
        warnings.simplefilter("ignore", FutureWarning)
        import kfp

        # With any namespace it does not ask the server now, five times, hiding what that answers.
        client = kfp.Client(
            host=where.host, existing_token=token or None, namespace=where.namespace or "-"
        )
    client._context_setting["namespace"] = where.namespace
    # No redirect to a sign-in page is followed, and no pause of an hour that a server asks for is
    # made.
    pool = client._run_api.api_client.rest_client.pool_manager.connection_pool_kw
    pool["retries"] = urllib3.Retry(
        0, redirect=0, raise_on_redirect=False, respect_retry_after_header=False
    )
    return client


def _whole(answer: Any, key: str, host: str) -> Any:
    """An answer that has what it must have: the client takes any page for an empty one."""
    if not getattr(answer, key):
        raise RemoteError(f"{host} answers, and not as Kubeflow Pipelines: is it a sign-in page?")
    return answer


def _said(error: Any) -> str:
    body = error.body if isinstance(error.body, str) else ""
    try:
        told = json.loads(body)
        return str(told.get("message") or told.get("error") or told.get("error_message") or body)[
            :500
        ]
    except (ValueError, AttributeError):
        return (body or str(error.reason))[:500]
