"""Runs on a Kubeflow Pipelines server, through kfp's own client.

This module calls the client's lower layer, because the upper one prints, waits for ever or hides a
status. A 2.x server reports no error, pod or outputs of a step: logs are requested by the name that
the pod must have, and artifacts are looked up in the bucket.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from components import retry
from components.storage.objects import bucket_location
from pipelines.remote.cron import with_seconds
from pipelines.remote.destination import Destination
from pipelines.remote.kubeflow.client import TIMEOUT, KubeflowClient, checked, is_transient
from pipelines.remote.kubeflow.run import STATES, UUID, artifacts, documents, name_of, tasks
from pipelines.remote.launcher import (
    SCHEDULE_TITLE,
    RemoteRun,
    RemoteSchedule,
    RunRequest,
    RunStep,
)
from trainer import runtime
from trainer.config.machine import Machine
from trainer.errors import CompetitionError, RemoteError

# The oldest server that runs these pipelines. 2.14.0 is the first that collects the artifacts of a
# loop (kubeflow/pipelines#11725), 2.16.0 the first that finds them in every case (#12808).
OLDEST = (2, 16, 0)


_SCHEDULE_STATES = {"ENABLED": "active", "DISABLED": "paused"}


class KubeflowLauncher:
    """Launches runs on a Kubeflow Pipelines server; see `pipelines.remote.launcher.Launcher`."""

    def __init__(self, where: Destination, *, token: str = "", token_command: str = "") -> None:
        self.where = where
        self.client = KubeflowClient(where, token, token_command)

    def check(self, machine: Machine) -> list[str]:
        """Check that the bucket exists and that the server is a Kubeflow Pipelines server."""
        bucket_location(self.where.root)
        with self.client.explained("server"):
            health = self.client.health()
        if health.multi_user and not self.where.namespace:
            raise CompetitionError(
                f"missing: --namespace (or {runtime.NAMESPACE}): a multi-user server requires it"
            )
        return _version_warnings(health.version, self.where.host)

    def body(self, request: RunRequest) -> dict[str, Any]:
        """The body of the server's REST request. Labels go into the description: runs have none."""
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
        """Start a run. If the answer is lost, a run of the same name counts as the one started."""
        attempts = 0

        def create() -> Any:
            nonlocal attempts
            attempts += 1
            if attempts > 1 and (existing := self._named(request.name)):
                return existing
            return self.client.runs.run_service_create_run(run=body, _request_timeout=TIMEOUT)

        request.send_files()
        with self.client.explained(f"run {request.name}"):
            experiment = self._experiment(request.experiment or "foldline")
            body = {**self.body(request), "experiment_id": experiment}
            run = retry.call(create, is_transient)
        return self._run(checked(run, "run_id", self.where.host))

    def get(self, name: str) -> RemoteRun:
        """A run by its name or id, with its steps.

        A run that succeeded has the URIs of its artifacts.
        """
        with self.client.explained(f"run {name}"):
            by_id = self.client.runs.run_service_get_run
            run = self.client.call(by_id, name) if UUID.fullmatch(name) else self._named(name)
        if run is None:
            raise RemoteError(f"run {name}: not found on {self.where.host}")
        return self._run(checked(run, "run_id", self.where.host))

    def latest(self, *, limit: int) -> list[RemoteRun]:
        """The latest runs of this project's pipelines, newest first."""
        runs: list[RemoteRun] = []
        token = ""
        with self.client.explained("runs"):
            while len(runs) < limit:
                page = self.client.call(
                    self.client.runs.run_service_list_runs,
                    namespace=self.where.namespace,
                    page_token=token,
                    page_size=100,
                    sort_by="created_at desc",
                )
                runs += [
                    run for item in page.runs or [] if (run := self._run(item, outputs=False)).spec
                ]
                token = page.next_page_token
                if not token:
                    break
        return runs[:limit]

    def cancel(self, name: str) -> None:
        """Request that a run ends."""
        id_ = self._id(name)
        with self.client.explained(f"run {name}"):
            self.client.call(self.client.runs.run_service_terminate_run, id_)

    def logs(self, run: RemoteRun, step: RunStep, *, lines: int) -> Iterator[str]:
        """The last log lines of a step's pod, as long as the cluster keeps the pod."""
        from kfp_server_api import ApiException

        id_ = self._id(run.name)
        with self.client.explained(f"log of {step.name}"):
            for pod in step.jobs:
                try:
                    text = self.client.text(f"/apis/v1alpha1/runs/{id_}/nodes/{pod}/log")
                except ApiException as error:
                    # The server's answers for a pod that does not exist, or no longer exists.
                    if error.status in (404, 500):
                        continue
                    raise
                yield from text.splitlines()[-lines:]
                return
        namespace = self.where.namespace or "kubeflow"
        yield (
            f"(pod not found; try: kubectl -n {namespace} logs -l pipeline/runid={id_} -c main"
            f" --prefix --tail={lines})"
        )

    def schedules(self) -> list[RemoteSchedule]:
        """The schedules of this project's pipelines."""
        found: list[RemoteSchedule] = []
        token = ""
        with self.client.explained("schedules"):
            while True:
                page = self.client.call(
                    self.client.recurring_runs.recurring_run_service_list_recurring_runs,
                    namespace=self.where.namespace,
                    page_token=token,
                    page_size=100,
                )
                for run in page.recurring_runs or []:
                    if (run.display_name or "").startswith(SCHEDULE_TITLE):
                        cron = run.trigger.cron_schedule if run.trigger else None
                        found.append(
                            RemoteSchedule(
                                name=run.recurring_run_id,
                                title=run.display_name.removeprefix(SCHEDULE_TITLE),
                                cron=(cron.cron or "") if cron else "",
                                state=_SCHEDULE_STATES.get(run.status or "", "unknown"),
                            )
                        )
                token = page.next_page_token
                if not token:
                    return found

    def change_schedule(self, name: str, action: str) -> None:
        """Pause, resume or delete a schedule."""
        service = self.client.recurring_runs
        call = {
            "pause": service.recurring_run_service_disable_recurring_run,
            "resume": service.recurring_run_service_enable_recurring_run,
            "delete": service.recurring_run_service_delete_recurring_run,
        }[action]
        with self.client.explained(f"schedule {name}"):
            self.client.call(call, name)

    @property
    def schedules_page(self) -> str:
        return f"{self.where.host}/#/recurringruns"

    def schedule(self, request: RunRequest, cron: str) -> str:
        """Create a recurring run that never overlaps itself; returns its id."""
        trigger = {"cron_schedule": {"cron": with_seconds(cron)}}
        request.send_files()
        with self.client.explained("schedule"):
            body = self.body(request)
            created = self.client.recurring_runs.recurring_run_service_create_recurring_run(
                recurring_run={
                    "display_name": f"{SCHEDULE_TITLE}{request.title}",
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
        return str(checked(created, "recurring_run_id", self.where.host).recurring_run_id)

    def _id(self, name: str) -> str:
        """The id of a run, by its name or id."""
        if UUID.fullmatch(name):
            return name
        with self.client.explained(f"run {name}"):
            run = self._named(name)
        if run is None:
            raise RemoteError(f"run {name}: not found on {self.where.host}")
        return str(run.run_id)

    def _named(self, name: str) -> Any:
        """The server's run of a name, with its steps; None if there is none."""
        filters = {
            "predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]
        }
        page = self.client.call(
            self.client.runs.run_service_list_runs,
            namespace=self.where.namespace,
            filter=json.dumps(filters),
            page_size=2,
        )
        if not page.runs:
            return None
        # A run from a list has no steps.
        return self.client.call(self.client.runs.run_service_get_run, page.runs[0].run_id)

    def _experiment(self, name: str) -> str:
        """The id of an experiment; creates it if it does not exist."""
        from kfp_server_api import ApiException

        filters = {
            "predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]
        }
        for attempt in range(2):
            page = self.client.call(
                self.client.experiments.experiment_service_list_experiments,
                filter=json.dumps(filters),
                namespace=self.where.namespace,
            )
            if page.experiments:
                return str(page.experiments[0].experiment_id)
            try:
                created = self.client.call(
                    self.client.experiments.experiment_service_create_experiment,
                    experiment={"display_name": name, "namespace": self.where.namespace},
                )
                return str(checked(created, "experiment_id", self.where.host).experiment_id)
            except ApiException as error:
                # 409: someone else has created it since.
                if error.status != 409 or attempt:
                    raise
        raise RemoteError(f"experiment {name}: could be neither found nor created")

    def _run(self, run: Any, *, outputs: bool = True) -> RemoteRun:
        """Turn a run of the server into a RemoteRun.

        Args:
            run: the server's answer.
            outputs: whether to look up the artifacts of a run that succeeded.
        """
        details = run.run_details.task_details or [] if run.run_details else []
        spec, step_names = documents(run.pipeline_spec)
        config = run.runtime_config
        remote_run = RemoteRun(
            name=run.display_name or run.run_id,
            state=STATES.get(run.state or "", "running"),
            created=run.created_at.isoformat() if run.created_at else "",
            console=f"{self.where.host}/#/runs/details/{run.run_id}",
            error=run.error.message if run.error and run.error.message else "",
            tasks=tuple(tasks(details, step_names)),
            arguments=(config.parameters or {}) if config else {},
            spec=spec,
        )
        if (
            outputs
            and remote_run.state == "succeeded"
            and config
            and (config.pipeline_root or "").startswith("gs://")
        ):
            remote_run = RemoteRun(
                **{
                    **vars(remote_run),
                    "outputs": artifacts(config.pipeline_root, name_of(spec), run.run_id),
                }
            )
        return remote_run


def _version_warnings(version: str, host: str) -> list[str]:
    """Check the version of a server.

    Args:
        version: as the server reports it; "" if it does not.
        host: its address.

    Returns:
        a warning if the version is not a number, such as that of a server built from source.

    Raises:
        RemoteError: the server is too old.
    """
    oldest = ".".join(map(str, OLDEST))
    number = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if number is None:
        return [
            f"{host} does not report its version ({version or 'none'}): the pipelines need Kubeflow"
            f" Pipelines {oldest} or newer"
        ]
    if tuple(map(int, number.groups())) < OLDEST:
        raise RemoteError(
            f"server: {host} is Kubeflow Pipelines {version}, which cannot collect the results of a"
            f" loop reliably: upgrade it to {oldest} or newer (infra/cluster/README.md)"
        )
    return []
