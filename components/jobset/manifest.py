"""The JobSet of a training step, as the Kubernetes API takes it.

Its form is that of jobset.x-k8s.io/v1alpha2 (sigs.k8s.io/jobset). The labels of Google's TPU nodes
are those of cloud.google.com/kubernetes-engine/docs/how-to/tpus.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

GROUP, VERSION, PLURAL = "jobset.x-k8s.io", "v1alpha2", "jobsets"
# Labels and annotations have another prefix than the API (api/jobset/v1alpha2/jobset_types.go).
_PREFIX = "jobset.sigs.k8s.io"
# The label of the pods of a JobSet, and that of the queue that Kueue admits it from.
POD_LABEL = f"{_PREFIX}/jobset-name"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
# One JobSet has one kind of job, with one container.
JOB = CONTAINER = "train"
# Exit status of a pod that was asked to stop, and that of one that SIGTERM ended before.
_STOPPED = [75, 143]
_SECRET = "/var/run/foldline"
_NO_PROXY = {"sidecar.istio.io/inject": "false"}
# Kubernetes deletes a finished JobSet after a day: until then, its pods' logs can be read.
_KEPT_SECONDS = 86_400


@dataclass(frozen=True)
class Request:
    """What a step asks for when the pipeline is compiled.

    Attributes:
        image: the training image.
        hosts: how many pods train together.
        chips: how many chips of `resource` each pod gets.
        resource: the resource's name, google.com/tpu.
        selectors: labels that the nodes must have.
        tolerations: taints of the nodes that the pods tolerate, value by key; "" for any value.
        seconds: how long the training may work.
        wait_seconds: how long the pods may wait for their nodes, in addition.
        restarts: how often it starts again after a failure. A node that is taken away is none.
        queue: the local queue of Kueue; "" for none.
        environment: environment variables.
        secret: a Kubernetes secret with the `key.json` of a Google account; "" for none.
    """

    image: str
    hosts: int
    chips: int
    resource: str
    selectors: Mapping[str, str]
    tolerations: Mapping[str, str]
    seconds: int
    wait_seconds: int
    restarts: int
    queue: str
    environment: Mapping[str, str]
    secret: str

    def text(self) -> str:
        """The request as one argument of a command."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def of(cls, text: str) -> "Request":
        """The request that `text` wrote."""
        return cls(**json.loads(text))


class Owner(NamedTuple):
    """The pod of the step that creates the JobSet.

    Attributes:
        name: its name.
        uid: its uid: Kubernetes deletes the JobSet together with this pod.
        account: its service account, which the JobSet's pods use as well.
    """

    name: str
    uid: str
    account: str


def manifest(
    name: str, request: Request, command: Sequence[str], owner: Owner, namespace: str
) -> dict[str, Any]:
    """The JobSet.

    Args:
        name: its name.
        request: what the step asks for.
        command: the command of every pod.
        owner: the pod that creates it.
        namespace: the namespace of both.
    """
    reference = {"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": owner.uid}
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "foldline"},
        "ownerReferences": [reference],
    }
    spec: dict[str, Any] = {
        # A node that is taken away does not count; a failure of the training does.
        "failurePolicy": {
            "maxRestarts": request.restarts,
            "rules": [
                {
                    "name": "disruption",
                    "action": "RestartJobSetAndIgnoreMaxRestarts",
                    "onJobFailureReasons": ["PodFailurePolicy"],
                }
            ],
        },
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "replicatedJobs": [
            {"name": JOB, "replicas": 1, "template": {"spec": _job(request, command, owner)}}
        ],
    }
    if request.queue:
        metadata["labels"][QUEUE_LABEL] = request.queue
        # Kueue starts it.
        spec["suspend"] = True
    if request.hosts > 1:
        # All hosts of a slice are in one node pool, and no other job is.
        metadata["annotations"] = {
            f"alpha.{_PREFIX}/exclusive-topology": "cloud.google.com/gke-nodepool"
        }
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": spec,
    }


def _job(request: Request, command: Sequence[str], owner: Owner) -> dict[str, Any]:
    """The job: all hosts start together, and fail together."""
    return {
        "parallelism": request.hosts,
        "completions": request.hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        # It counts from the start of the job, when its nodes need not exist yet; the pod itself
        # counts the work.
        "activeDeadlineSeconds": request.seconds + request.wait_seconds,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                },
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": _STOPPED,
                    },
                },
            ]
        },
        "template": {
            # With a proxy of Istio beside it, which never ends, a pod would never complete.
            "metadata": {"labels": dict(_NO_PROXY), "annotations": dict(_NO_PROXY)},
            "spec": _pod(request, command, owner),
        },
    }


def _pod(request: Request, command: Sequence[str], owner: Owner) -> dict[str, Any]:
    resources = {request.resource: str(request.chips)}
    environment = dict(request.environment)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": request.image,
        "command": list(command),
        "resources": {"limits": resources, "requests": resources},
        # A TPU's driver locks memory and opens device files that belong to root.
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": owner.account,
        "nodeSelector": dict(request.selectors),
        "tolerations": [
            {"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"}
            if value
            else {"key": key, "operator": "Exists", "effect": "NoSchedule"}
            for key, value in request.tolerations.items()
        ],
        "containers": [container],
        # A training that is stopped writes a checkpoint first.
        "terminationGracePeriodSeconds": 120,
    }
    if request.secret:
        container["volumeMounts"] = [{"name": "key", "mountPath": _SECRET, "readOnly": True}]
        pod["volumes"] = [{"name": "key", "secret": {"secretName": request.secret}}]
        environment["GOOGLE_APPLICATION_CREDENTIALS"] = f"{_SECRET}/key.json"
    container["env"] = [
        {"name": name, "value": value} for name, value in sorted(environment.items())
    ]
    return pod
