"""Servers on this machine that speak what is used of Vertex AI, Cloud Logging and Kubeflow
Pipelines, for their own clients."""

import datetime
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote

from werkzeug import Request, Response
from werkzeug.datastructures import Headers

from tests.support.servers.http import serve

Answer = tuple[int, Any]
PLACE = "projects/[^/]+/locations/[^/]+"


@dataclass
class Call:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Headers
    body: Any


@dataclass
class Fault:
    """What is answered in place of a route, `times` times."""

    method: str
    path: str
    status: int
    body: Any
    times: int
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """Routes, and faults before them."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.routes: list[tuple[str, str, Callable[[re.Match[str], Call], Answer]]] = []
        self.http = serve(type(self).__name__, self.answer)
        self.url = self.http.url_for("").rstrip("/")

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise what went wrong while it answered."""
        if error is None:
            self.http.check()

    def fail(
        self,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        *,
        times: int = 10_000,
        **headers: str,
    ) -> None:
        """Answer so, where the path is found."""
        self.faults.append(Fault(method, path, status, body, times, headers))

    def called(self, method: str, path: str) -> list[Call]:
        """The requests to a path."""
        return [call for call in self.calls if call.method == method and re.search(path, call.path)]

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        call = Call(
            request.method,
            unquote(request.path),
            parse_qs(request.query_string.decode()),
            Headers(request.headers),
            _parsed(request.get_data()),
        )
        self.calls.append(call)
        headers: dict[str, str] = {}
        fault = next(
            (
                one
                for one in self.faults
                if one.times and one.method == call.method and re.search(one.path, call.path)
            ),
            None,
        )
        if fault is not None:
            fault.times -= 1
            status, body, headers = fault.status, fault.body, fault.headers
        else:
            status, body = self.routed(call)
        is_page = isinstance(body, str)
        return Response(
            body if is_page else "" if body is None else json.dumps(body),
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
            content_type="text/html" if is_page else "application/json",
        )

    def routed(self, call: Call) -> Answer:
        for method, path, route in self.routes:
            match = re.fullmatch(path, call.path)
            if method == call.method and match:
                return route(match, call)
        return 404, google_error(404, f"no route {call.method} {call.path}")


def _parsed(raw: bytes) -> Any:
    # A request for a token is a form.
    return json.loads(raw) if raw.startswith((b"{", b"[")) else raw


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def google_error(code: int, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """An error as Google's services write it."""
    return {"error": {"code": code, "message": message, "details": list(details)}}


def denied(permission: str) -> dict[str, Any]:
    """403, with the permission that is missing."""
    told = (
        f"Permission '{permission}' denied on resource '//aiplatform.googleapis.com/x' (or it may"
        " not exist)."
    )
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "domain": "aiplatform.googleapis.com",
        "metadata": {"permission": permission, "resource": "x"},
    }
    return google_error(403, told, info)


def over_quota(metric: str) -> dict[str, Any]:
    """429, of a quota."""
    violation = {
        "subject": "project:1",
        "description": f"Quota exceeded for quota metric '{metric}'",
    }
    detail = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    return google_error(429, f"The following quota metrics exceed quota limits: {metric}", detail)


class VertexServer(Server):
    """Vertex AI Pipelines and Cloud Logging."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.schedules: list[dict[str, Any]] = []
        self.contexts: dict[str, list[str]] = {}
        self.entries: list[dict[str, Any]] = []
        self.page = 1000
        # Called with a job before the response is sent, so that a test can let time pass.
        self.passing: Callable[[dict[str, Any]], None] = lambda job: None
        store = f"/v1/(?P<place>{PLACE})/metadataStores/default/contexts"
        self.routes = [
            ("POST", f"/v1/(?P<place>{PLACE})/pipelineJobs", self.create),
            ("POST", f"/v1/(?P<place>{PLACE})/metadataStores", self.new_store),
            ("GET", f"/v1/(?P<place>{PLACE})/pipelineJobs", self.listed),
            ("GET", f"/v1/(?P<name>{PLACE}/pipelineJobs/[^/:]+)", self.told),
            ("POST", f"/v1/(?P<name>{PLACE}/pipelineJobs/[^/:]+):cancel", self.cancel),
            ("GET", f"/v1/(?P<place>{PLACE})/schedules", self.all_schedules),
            ("DELETE", f"/v1/(?P<name>{PLACE}/schedules/[^/:]+)", self.deleted_schedule),
            (
                "POST",
                f"/v1/(?P<name>{PLACE}/schedules/[^/:]+):(?P<action>pause|resume)",
                self.changed_schedule,
            ),
            ("POST", f"/v1/(?P<place>{PLACE})/schedules", self.scheduled),
            ("POST", store, self.context),
            ("POST", f"{store}/(?P<name>[^/:]+):addContextChildren", self.children),
            ("POST", "/v2/entries:list", self.logged),
            # Where a service account's key is exchanged for a token.
            (
                "POST",
                "/token",
                lambda match, call: (
                    200,
                    {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"},
                ),
            ),
        ]

    def create(self, match: re.Match[str], call: Call) -> Answer:
        name = f"{match['place']}/pipelineJobs/{call.query['pipelineJobId'][0]}"
        if name in self.jobs:
            return 409, google_error(409, f"{name} already exists.")
        context = {
            "name": f"{match['place']}/metadataStores/default/contexts/{name.rpartition('/')[2]}"
        }
        self.jobs[name] = {
            **call.body,
            "name": name,
            "state": "PIPELINE_STATE_PENDING",
            "createTime": now(),
            "jobDetail": {"pipelineRunContext": context, "taskDetails": []},
        }
        return 200, self.jobs[name]

    def told(self, match: re.Match[str], call: Call) -> Answer:
        if match["name"] not in self.jobs:
            return 404, google_error(404, f"The PipelineJob does not exist: {match['name']}")
        self.passing(self.jobs[match["name"]])
        return 200, self.jobs[match["name"]]

    def listed(self, match: re.Match[str], call: Call) -> Answer:
        label = re.fullmatch(r"labels\.(\w+):\*", call.query["filter"][0])
        assert label is not None
        wanted = [job for job in self.jobs.values() if label[1] in job.get("labels", {})][::-1]
        first = int(call.query.get("pageToken", ["0"])[0])
        size = min(self.page, int(call.query["pageSize"][0]))
        kept = ("name", "state", "displayName", "createTime")
        shown = [
            {key: job[key] for key in kept if key in job} for job in wanted[first : first + size]
        ]
        return 200, {
            "pipelineJobs": shown,
            **({"nextPageToken": str(first + size)} if first + size < len(wanted) else {}),
        }

    def cancel(self, match: re.Match[str], call: Call) -> Answer:
        if match["name"] not in self.jobs:
            return 404, google_error(404, f"The PipelineJob does not exist: {match['name']}")
        self.jobs[match["name"]]["state"] = "PIPELINE_STATE_CANCELLED"
        return 200, {}

    def scheduled(self, match: re.Match[str], call: Call) -> Answer:
        schedule = {
            **call.body,
            "name": f"{match['place']}/schedules/{len(self.schedules) + 1}",
            "state": "ACTIVE",
            "nextRunTime": "2026-12-07T05:00:00Z",
        }
        self.schedules.append(schedule)
        return 200, schedule

    def all_schedules(self, match: re.Match[str], call: Call) -> Answer:
        return 200, {"schedules": self.schedules}

    def changed_schedule(self, match: re.Match[str], call: Call) -> Answer:
        for schedule in self.schedules:
            if schedule["name"] == match["name"]:
                schedule["state"] = {"pause": "PAUSED", "resume": "ACTIVE"}[match["action"]]
                return 200, {}
        return 404, google_error(404, "no such schedule")

    def deleted_schedule(self, match: re.Match[str], call: Call) -> Answer:
        left = [one for one in self.schedules if one["name"] != match["name"]]
        if len(left) == len(self.schedules):
            return 404, google_error(404, "no such schedule")
        self.schedules[:] = left
        done = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        return 200, {"name": f"{match['name']}/operations/1", "done": True, "response": done}

    def new_store(self, match: re.Match[str], call: Call) -> Answer:
        store = f"{match['place']}/metadataStores/{call.query['metadataStoreId'][0]}"
        kind = "type.googleapis.com/google.cloud.aiplatform.v1.MetadataStore"
        made = {"@type": kind, "name": store}
        return 200, {"name": f"{store}/operations/1", "done": True, "response": made}

    def context(self, match: re.Match[str], call: Call) -> Answer:
        name = call.query["contextId"][0]
        if not re.fullmatch("[a-z0-9][a-z0-9-]{0,127}", name):
            return 400, google_error(400, f"invalid context id {name}")
        if name in self.contexts:
            return 409, google_error(409, f"{name} already exists")
        self.contexts[name] = []
        return 200, {"name": name, **call.body}

    def children(self, match: re.Match[str], call: Call) -> Answer:
        self.contexts[match["name"]] += call.body["childContexts"]
        return 200, {}

    def logged(self, match: re.Match[str], call: Call) -> Answer:
        jobs = set(re.findall(r'"(\d+)"', call.body["filter"].partition(" AND timestamp")[0]))
        newest = [one for one in self.entries if one["resource"]["labels"]["job_id"] in jobs][::-1]
        first = int(call.body.get("pageToken", 0))
        size = min(self.page, call.body["pageSize"])
        return 200, {
            "entries": newest[first : first + size],
            **({"nextPageToken": str(first + size)} if first + size < len(newest) else {}),
        }


class KfpServer(Server):
    """A Kubeflow Pipelines server, of a single user."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, str] = {}
        self.recurring: list[dict[str, Any]] = []
        self.logs: dict[str, str] = {}
        self.health: dict[str, Any] = {"multi_user": False, "tag_name": "2.17.0"}
        self.passing: Callable[[dict[str, Any]], None] = lambda run: None
        api = "/apis/v2beta1"
        self.routes = [
            ("GET", f"{api}/healthz", lambda match, call: (200, self.health)),
            ("GET", f"{api}/experiments", self.found_experiments),
            ("POST", f"{api}/experiments", self.new_experiment),
            ("POST", f"{api}/runs", self.create),
            ("GET", f"{api}/runs", self.listed),
            ("GET", f"{api}/runs/(?P<id>[^/:]+)", self.told),
            ("POST", f"{api}/runs/(?P<id>[^/:]+):terminate", self.terminate),
            ("POST", f"{api}/recurringruns", self.again),
            ("GET", f"{api}/recurringruns", self.all_recurring),
            ("DELETE", f"{api}/recurringruns/(?P<id>[^/:]+)", self.change_recurring),
            (
                "POST",
                f"{api}/recurringruns/(?P<id>[^/:]+):(?P<action>enable|disable)",
                self.change_recurring,
            ),
            ("GET", "/apis/v1alpha1/runs/(?P<id>[^/]+)/nodes/(?P<pod>[^/]+)/log", self.logged),
        ]

    def found_experiments(self, match: re.Match[str], call: Call) -> Answer:
        name = json.loads(call.query["filter"][0])["predicates"][0]["stringValue"]
        if name not in self.experiments:
            return 200, {}
        return 200, {
            "experiments": [{"experiment_id": self.experiments[name], "display_name": name}]
        }

    def new_experiment(self, match: re.Match[str], call: Call) -> Answer:
        self.experiments[call.body["display_name"]] = str(uuid.uuid4())
        return 200, {"experiment_id": self.experiments[call.body["display_name"]], **call.body}

    def create(self, match: re.Match[str], call: Call) -> Answer:
        run = {**call.body, "run_id": str(uuid.uuid4()), "state": "PENDING", "created_at": now()}
        self.runs[run["run_id"]] = run
        return 200, run

    def listed(self, match: re.Match[str], call: Call) -> Answer:
        wanted = list(self.runs.values())[::-1]
        if "filter" in call.query:
            name = json.loads(call.query["filter"][0])["predicates"][0]["stringValue"]
            wanted = [run for run in wanted if run["display_name"] == name]
        return 200, {"runs": wanted} if wanted else {}

    def told(self, match: re.Match[str], call: Call) -> Answer:
        if match["id"] not in self.runs:
            return 404, {"error": "not found", "code": 5, "message": f"Run {match['id']} not found"}
        self.passing(self.runs[match["id"]])
        return 200, self.runs[match["id"]]

    def terminate(self, match: re.Match[str], call: Call) -> Answer:
        self.runs[match["id"]]["state"] = "CANCELED"
        return 200, {}

    def again(self, match: re.Match[str], call: Call) -> Answer:
        made = {"recurring_run_id": str(uuid.uuid4()), "status": "ENABLED"}
        self.recurring.append({**call.body, **made})
        return 200, {**self.recurring[-1], "max_concurrency": "1"}

    def all_recurring(self, match: re.Match[str], call: Call) -> Answer:
        return 200, {"recurringRuns": [{**run, "max_concurrency": "1"} for run in self.recurring]}

    def change_recurring(self, match: re.Match[str], call: Call) -> Answer:
        for run in self.recurring:
            if run["recurring_run_id"] == match["id"]:
                if call.method == "DELETE":
                    self.recurring.remove(run)
                else:
                    run["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[match["action"]]
                return 200, {}
        return 404, {"message": "no such recurring run"}

    def logged(self, match: re.Match[str], call: Call) -> Answer:
        if match["pod"] not in self.logs:
            return 500, {"error_message": "pod not found", "error_details": "pod not found"}
        return 200, self.logs[match["pod"]]
