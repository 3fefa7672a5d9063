"""The light step that runs a training step as a JobSet: `python -m components.jobset.launch`.

It creates the JobSet, waits until it has finished, and shows the end of its log. If this process is
stopped, it deletes the JobSet.
"""

import contextlib
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components import retry
from components.jobset import pod
from components.jobset.manifest import (
    CONTAINER,
    GROUP,
    PLURAL,
    POD_LABEL,
    VERSION,
    Owner,
    Request,
    manifest,
)
from components.storage import objects
from trainer.errors import RemoteError, TrainingError
from trainer.events import emit, step_scope

# Seconds between two looks at the JobSet; tests shorten it.
POLL = 5.0
# Seconds after which pods that do not start are looked at.
PATIENCE = 60.0
# Log lines that are shown when it has ended.
TAIL = 200
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ROLE = (
    "kubectl apply -f infra/cluster/jobset-role.yaml, with your namespace and account, gives the"
    " account what it needs"
)


class Stopped(BaseException):
    """The process received SIGTERM."""


class Cluster:
    """The API server, through the official client."""

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


def launch(cluster: Cluster, request: Request, command: Sequence[str]) -> None:
    """Run a command as a JobSet until it has finished.

    If an earlier attempt of this step left a JobSet: one that has ended counts, and one that works
    is replaced, because its pods end when they see that their launcher is gone; the training
    resumes from its checkpoints.

    Args:
        cluster: the API server.
        request: the machines.
        command: the training step's own command, with its executor input.

    Raises:
        TrainingError: the JobSet failed; its log is printed.
        Stopped: the process received SIGTERM; the JobSet is deleted.
    """
    digest = hashlib.sha256("\0".join([request.text(), *command]).encode()).hexdigest()[:20]
    name = f"foldline-{digest}"
    owner = cluster.owner()
    # The pods end themselves when this step is gone without having been able to delete them.
    seconds = str(request.seconds)
    whole = ["python3", "-m", "components.jobset.pod", owner.name, seconds, "--", *command]
    body = manifest(name, request, whole, owner, cluster.namespace)
    with _sigterm():
        try:
            _create(cluster, name, body)
            failure = _wait(cluster, name)
        except Stopped:
            cluster.delete(name)
            emit("note", "train", f"JobSet {name} is deleted, because this step was stopped")
            raise
    for line in cluster.log(name):
        print(line, flush=True)
    if failure:
        raise TrainingError(
            f"JobSet {name} failed: {failure}; the end of its log is above; all of it:"
            f" kubectl -n {cluster.namespace} logs --tail=-1 --prefix -l {POD_LABEL}={name}"
        )


def _create(cluster: Cluster, name: str, body: dict[str, Any]) -> None:
    """Create the JobSet, in place of one of an earlier attempt that has not ended."""
    while not cluster.create(body):
        existing = cluster.get(name)
        if existing is not None and _ended(existing) is not None:
            return
        # Kubernetes deletes it when its pods have ended.
        cluster.delete(name)
        time.sleep(POLL)


def _wait(cluster: Cluster, name: str) -> str:
    """Wait until a JobSet has ended; returns why it failed, "" if it did not."""
    reported, since = "", time.monotonic()
    while True:
        found = cluster.get(name)
        if found is None:
            raise TrainingError(f"JobSet {name} was deleted while it worked, by somebody else")
        ended = _ended(found)
        if ended is not None:
            return ended
        state = _state(found)
        if state.startswith("starts") and time.monotonic() - since > PATIENCE:
            state = f"{state}: {cluster.trouble(name)}".removesuffix(": ")
        if state != reported:
            reported = state
            emit("note", "train", f"JobSet {name} {state}")
        time.sleep(POLL)


def _ended(found: dict[str, Any]) -> str | None:
    """Why a JobSet failed; "" if it completed, None if it has not ended."""
    for condition in found.get("status", {}).get("conditions", []):
        if condition.get("status") == "True" and condition.get("type") in ("Completed", "Failed"):
            if condition["type"] == "Completed":
                return ""
            return str(condition.get("message") or condition.get("reason") or "without a reason")
    return None


def _state(found: dict[str, Any]) -> str:
    """What a JobSet that has not ended does, in words."""
    status = found.get("status", {})
    if found["spec"].get("suspend"):
        return "waits in the queue"
    restarts = int(status.get("restarts", 0))
    jobs = status.get("replicatedJobsStatus", [])
    # A job counts as active as soon as it has a pod, which may wait for a node for hours.
    works = any(job.get("ready") for job in jobs)
    again = f", restart {restarts}" if restarts else ""
    return f"works{again}" if works else f"starts{again}"


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


@contextlib.contextmanager
def _sigterm() -> Iterator[None]:
    """Raise Stopped in this thread when SIGTERM comes."""

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
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


def main(arguments: list[str]) -> None:
    """Launch the JobSet: REQUEST -- COMMAND…

    Args:
        arguments: the request as text, `--`, and the training step's command.
    """
    text, separator, *command = arguments
    assert separator == "--"
    with step_scope("train"), _explained():
        launch(Cluster(), Request.of(text), command)
        # What kfp would have written in this pod, had the step run here.
        outputs = pod.Outputs.of(command)
        outputs.file.parent.mkdir(parents=True, exist_ok=True)
        if outputs.uri:
            outputs.file.write_bytes(objects.read(outputs.uri))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Stopped:
        sys.exit(143)
