"""A Kubernetes API server as far as a JobSet needs one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.servers.loopback import Answer, Call, Server

NAMESPACE = "kubeflow"
LAUNCHER = "kfold-abc12-system-container-impl-123"


def refusal(status: int, reason: str) -> dict[str, Any]:
    """An error as the API server writes it."""
    return {"kind": "Status", "status": "Failure", "code": status, "reason": reason}


class KubernetesServer(Server):
    """Keeps JobSets; what becomes of one is decided by `passing`, which each look at it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.jobsets: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.statuses: dict[str, dict[str, Any]] = {}
        self.passing: Callable[[dict[str, Any]], None] = lambda jobset: None
        sets = f"/apis/jobset.x-k8s.io/v1alpha2/namespaces/{NAMESPACE}/jobsets"
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self.routes = [
            ("POST", sets, self.create),
            ("GET", f"{sets}/(?P<name>[^/]+)", self.look),
            ("DELETE", f"{sets}/(?P<name>[^/]+)", self.delete),
            ("GET", f"{pods}/{LAUNCHER}", self.launcher),
            ("GET", pods, self.pods),
            ("GET", f"{pods}/(?P<name>[^/]+)/log", self.log),
        ]

    def kubeconfig(self, folder: Path) -> Path:
        """Write a file that leads the official client here."""
        path = folder / "kubeconfig"
        context = {"cluster": "here", "user": "me", "namespace": NAMESPACE}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                    "users": [{"name": "me", "user": {"token": "planted-token"}}],
                    "contexts": [{"name": "here", "context": context}],
                }
            )
        )
        return path

    def create(self, match: re.Match[str], call: Call) -> Answer:
        name = call.body["metadata"]["name"]
        if name in self.jobsets:
            return 409, refusal(409, "AlreadyExists")
        self.jobsets[name] = {**call.body, "status": {}}
        return 201, self.jobsets[name]

    def look(self, match: re.Match[str], call: Call) -> Answer:
        if match["name"] not in self.jobsets:
            return 404, refusal(404, "NotFound")
        self.passing(self.jobsets[match["name"]])
        if match["name"] not in self.jobsets:
            return 404, refusal(404, "NotFound")
        return 200, self.jobsets[match["name"]]

    def delete(self, match: re.Match[str], call: Call) -> Answer:
        if self.jobsets.pop(match["name"], None) is None:
            return 404, refusal(404, "NotFound")
        return 200, {"kind": "Status", "status": "Success"}

    def launcher(self, match: re.Match[str], call: Call) -> Answer:
        metadata = {"name": LAUNCHER, "uid": "uid-1", "namespace": NAMESPACE}
        return 200, {
            "metadata": metadata,
            "spec": {"serviceAccountName": "pipeline-runner", "containers": []},
        }

    def pods(self, match: re.Match[str], call: Call) -> Answer:
        (selector,) = call.query["labelSelector"]
        name = selector.removeprefix("jobset.sigs.k8s.io/jobset-name=")
        return 200, {
            "items": [
                {
                    "metadata": {
                        "name": pod,
                        "creationTimestamp": f"2026-11-30T06:00:{number:02d}Z",
                        "annotations": {"batch.kubernetes.io/job-completion-index": pod[-1]},
                    },
                    "spec": {"containers": []},
                    "status": self.statuses.get(pod, {"phase": "Running"}),
                }
                for number, pod in enumerate(self.logs)
                if name in self.jobsets
            ]
        }

    def log(self, match: re.Match[str], call: Call) -> Answer:
        if match["name"] not in self.logs:
            return 404, refusal(404, "NotFound")
        return 200, self.logs[match["name"]]
