"""The Kubernetes API as the step that launches a JobSet uses it, through the official client."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components import retry
from components.jobset.manifest import CONTAINER, GROUP, PLURAL, POD_LABEL, VERSION, Owner
from trainer.errors import RemoteError

# Log lines that are shown when a JobSet has ended.
TAIL = 200
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ROLE = (
    "kubectl apply -f infra/cluster/jobset-role.yaml, with your namespace and account, gives the"
    " account what it needs"
)


class Cluster:
    """The API server, in one namespace."""

    def __init__(self) -> None:
        from kubernetes import client, config

        # Inside a cluster: the account of the pod. Elsewhere: the user's kubeconfig.
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"))
        self.objects, self.core = client.CustomObjectsApi(), client.CoreV1Api()
        self.namespace = _namespace()

    def create(self, body: dict[str, Any]) -> bool:
        """Create a JobSet; False if one of its name exists."""
        from kubernetes.client import ApiException

        place = {"group": GROUP, "version": VERSION, "plural": PLURAL}
        try:
            self._call(
                self.objects.create_namespaced_custom_object,
                namespace=self.namespace,
                body=body,
                **place,
            )
        except ApiException as error:
            if error.status == 409:
                return False
            raise
        return True

    def get(self, name: str) -> dict[str, Any] | None:
        """A JobSet; None if there is none of that name."""
        from kubernetes.client import ApiException

        try:
            found: dict[str, Any] = self._call(
                self.objects.get_namespaced_custom_object, **self._place(name)
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return found

    def delete(self, name: str) -> None:
        """Delete a JobSet with its jobs and pods, if it exists."""
        from kubernetes.client import ApiException

        try:
            self._call(
                self.objects.delete_namespaced_custom_object,
                propagation_policy="Foreground",
                **self._place(name),
            )
        except ApiException as error:
            if error.status != 404:
                raise

    def owner(self) -> Owner:
        """The pod of this process."""
        # The host's name is cut at 63 characters; Kubeflow Pipelines also sets the complete name.
        name = os.environ.get("KFP_POD_NAME") or os.environ["HOSTNAME"]
        found = self._call(self.core.read_namespaced_pod, name=name, namespace=self.namespace)
        return Owner(
            found.metadata.name, found.metadata.uid, found.spec.service_account_name or "default"
        )

    def log(self, name: str) -> list[str]:
        """The last log lines of a JobSet: of the pod that failed, or else of the first host's.

        Of several attempts it is the newest. A log that cannot be read is one line that says so: it
        must not fail a training that has ended well.
        """
        from kubernetes.client import ApiException

        try:
            pods = self._pods(name)
            failed = [one for one in pods if one.status and one.status.phase == "Failed"]
            candidates = failed or [one for one in pods if _index(one) == 0]
            if not candidates:
                return []
            newest = max(candidates, key=lambda one: str(one.metadata.creation_timestamp))
            text = self._call(
                self.core.read_namespaced_pod_log,
                name=newest.metadata.name,
                namespace=self.namespace,
                container=CONTAINER,
                tail_lines=TAIL,
            )
        except ApiException as error:
            # The container has not started, its node is gone, or the account may not.
            return [f"(no log: {error.status} {error.reason})"]
        return str(text or "").splitlines()

    def trouble(self, name: str) -> str:
        """Why the pods of a JobSet do not start; "" if nothing is known."""
        if not (pods := self._pods(name)):
            return f"no pod yet: kubectl -n {self.namespace} describe jobs -l {POD_LABEL}={name}"
        for one in pods:
            for condition in (one.status and one.status.conditions) or []:
                if condition.type == "PodScheduled" and condition.status == "False":
                    return str(condition.message or condition.reason)
            for container in (one.status and one.status.container_statuses) or []:
                waiting = container.state and container.state.waiting
                if waiting:
                    return f"{waiting.reason}: {waiting.message or 'no message'}"
        return ""

    def _pods(self, name: str) -> list[Any]:
        found: list[Any] = self._call(
            self.core.list_namespaced_pod,
            namespace=self.namespace,
            label_selector=f"{POD_LABEL}={name}",
        ).items
        return found

    def _place(self, name: str) -> dict[str, str]:
        return {
            "group": GROUP,
            "version": VERSION,
            "plural": PLURAL,
            "namespace": self.namespace,
            "name": name,
        }

    def _call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        return retry.call(lambda: function(**arguments, _request_timeout=60), _is_transient)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the API server's errors into RemoteError."""
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        reason = f"{error.status} {error.reason}: {(error.body or '')[:500]}"
        advice = f"; {_ROLE}" if error.status == 403 else ""
        if error.status == 404 and "pods" not in (error.body or ""):
            advice = "; is JobSet installed in this cluster (infra/cluster/README.md)?"
        raise RemoteError(f"the Kubernetes API refuses ({reason}){advice}") from None
    except urllib3.exceptions.HTTPError as error:
        raise RemoteError(f"the Kubernetes API cannot be reached: {error}") from None


def _index(one: Any) -> int:
    annotations = one.metadata.annotations or {}
    return int(annotations.get("batch.kubernetes.io/job-completion-index", 0))


def _namespace() -> str:
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        from kubernetes import config

        _, active = config.list_kube_config_contexts(os.environ.get("KUBECONFIG"))
        return str(active["context"].get("namespace") or "default")


def _is_transient(error: Exception) -> bool:
    import urllib3
    from kubernetes.client import ApiException

    if isinstance(error, ApiException):
        return error.status in retry.TRANSIENT_STATUSES
    return isinstance(error, urllib3.exceptions.HTTPError)
