"""The JobSet against the project's own models of it, which are made from its CRD."""

from typing import Any

import pytest

from components.jobset.manifest import Owner, Request, manifest
from pipelines.targets import machines
from trainer.config.machine import Machine

OWNER = Owner("launcher", "uid-1", "pipeline-runner")


def request(name: str = "v5e-8", **changes: Any) -> Request:
    machine = Machine(tpu=name, when="spot")
    node = machines.on_gke(machine)
    values: dict[str, Any] = {
        "image": "r.example/training@sha256:0",
        "hosts": machines.hosts(machine),
        "chips": node.count,
        "resource": node.resource,
        "selectors": node.selectors,
        "tolerations": node.tolerations,
        "seconds": 3600,
        "wait_seconds": 7200,
        "restarts": 5,
        "queue": "",
        "environment": {"B": "2", "A": "1"},
        "secret": "",
    }
    return Request(**{**values, **changes})


def made(asked: Request) -> dict[str, Any]:
    return manifest("foldline-0", asked, ["python3", "-m", "x"], OWNER, "kubeflow")


@pytest.mark.parametrize(
    "asked",
    [request(), request("v5e-16"), request(queue="tpus"), request("v6e-64", secret="google-key")],
)
def test_it_has_the_form_of_its_definition(asked: Request) -> None:
    """A key that the model does not know would be dropped, and a value of another type refused."""
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason="needs kubeflow-trainer-api: make install"
    )
    body = made(asked)
    parsed = models.JobsetV1alpha2JobSet.from_dict(body)
    assert parsed.to_dict() == body


def test_a_request_survives_the_command_line() -> None:
    asked = request(queue="q", secret="s")
    assert Request.of(asked.text()) == asked


def test_one_host_gets_all_chips_of_its_node_as_root() -> None:
    body = made(request())
    job = body["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (1, 1, 0)
    # Its nodes need not exist when the job starts.
    assert job["activeDeadlineSeconds"] == 3600 + 7200
    assert job["template"]["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert container["resources"]["limits"] == {"google.com/tpu": "8"}
    assert container["securityContext"] == {"privileged": True, "runAsUser": 0}
    assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "2x4"
    assert {one["key"]: one["operator"] for one in pod["tolerations"]} == {
        "google.com/tpu": "Exists",
        "cloud.google.com/gke-spot": "Equal",
    }
    assert pod["serviceAccountName"] == "pipeline-runner"
    assert "annotations" not in body["metadata"]
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_hosts_of_a_slice_start_together_in_one_node_pool() -> None:
    body = made(request("v6e-16"))
    job = body["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert (job["parallelism"], job["completions"], job["completionMode"]) == (4, 4, "Indexed")
    container = job["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"google.com/tpu": "4"}
    assert body["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }


def test_a_node_that_is_taken_away_does_not_count_as_a_failure() -> None:
    body = made(request())
    policy = body["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 5
    assert policy["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    job = body["spec"]["replicatedJobs"][0]["template"]["spec"]
    disruption, stopped = job["podFailurePolicy"]["rules"]
    assert disruption["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert stopped["onExitCodes"]["values"] == [75, 143]


def test_kueue_starts_what_is_in_its_queue() -> None:
    body = made(request(queue="tpus"))
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "tpus"
    assert body["spec"]["suspend"] is True
    assert "suspend" not in made(request())["spec"]


def test_a_cluster_without_accounts_for_pods_has_a_key() -> None:
    pod = made(request(secret="google-key"))["spec"]["replicatedJobs"][0]["template"]["spec"][
        "template"
    ]["spec"]
    assert pod["volumes"] == [{"name": "key", "secret": {"secretName": "google-key"}}]
    assert pod["containers"][0]["env"][-1] == {
        "name": "GOOGLE_APPLICATION_CREDENTIALS",
        "value": "/var/run/foldline/key.json",
    }
