"""The official client creates, follows and deletes JobSets on a server on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import retry
from components.jobset import launch as launching
from components.jobset.cluster import Cluster
from components.jobset.launch import launch, main
from tests.components.jobset.test_manifest import request
from tests.support.servers.kubernetes import LAUNCHER, KubernetesServer, refusal
from trainer import runtime
from trainer.errors import RemoteError, TrainingError

pytest.importorskip("kubernetes", reason="needs the official client: make install")
COMMAND = ["sh", "-ec", "exec python3", "--executor_input", json.dumps({"outputs": {}})]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesServer]:
    monkeypatch.setattr(launching, "POLL", 0.01)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setenv("HOSTNAME", LAUNCHER)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with KubernetesServer() as found:
        assert isinstance(found, KubernetesServer)
        monkeypatch.setenv("KUBECONFIG", str(found.kubeconfig(tmp_path)))
        yield found


def condition(kind: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "message": message}


def through(*states: dict[str, Any]) -> Any:
    """A JobSet passes through these states, one at each look."""
    left = list(states)

    def passing(jobset: dict[str, Any]) -> None:
        state = left.pop(0) if len(left) > 1 else left[0]
        jobset["spec"]["suspend"] = state.get("suspend", False)
        jobset["status"] = state

    return passing


ACTIVE = {"replicatedJobsStatus": [{"name": "train", "active": 1, "ready": 1}]}
PENDING = {"replicatedJobsStatus": [{"name": "train", "active": 1, "ready": 0}]}
DONE = {"conditions": [condition("Completed", "all jobs completed")]}


def test_it_waits_until_the_jobset_is_done_and_shows_its_log(
    server: KubernetesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.passing = through({"suspend": True}, PENDING, ACTIVE, {**ACTIVE, "restarts": 2}, DONE)
    server.logs = {
        "pod-a-0": "[train] old",
        "pod-b-0": "[train] epoch 1\n[train] done",
        "c-1": "no",
    }
    launch(Cluster(), request(), COMMAND)
    (body,) = [call.body for call in server.called("POST", "jobsets$")]
    assert body["metadata"]["ownerReferences"][0]["name"] == LAUNCHER
    container = body["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    own = ["python3", "-m", "components.jobset.pod", LAUNCHER, "3600", "--"]
    assert container["command"] == [*own, *COMMAND]
    name = body["metadata"]["name"]
    assert capsys.readouterr().out.splitlines() == [
        f"[train] JobSet {name} waits in the queue",
        f"[train] JobSet {name} starts",
        f"[train] JobSet {name} works",
        f"[train] JobSet {name} works, restart 2",
        "[train] epoch 1",
        "[train] done",
    ]
    # Its pods' logs stay readable.
    assert name in server.jobsets
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer planted-token"}


def test_a_failure_has_its_reason_and_its_log(
    server: KubernetesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.passing = through(ACTIVE, {"conditions": [condition("Failed", "jobset failed 6 times")]})
    server.logs = {"pod-0": "TrainingError: the loss is not finite"}
    with pytest.raises(TrainingError, match="failed: jobset failed 6 times; the end of its log is"):
        launch(Cluster(), request(), COMMAND)
    assert "the loss is not finite" in capsys.readouterr().out


def test_a_step_that_was_started_again_replaces_what_works(server: KubernetesServer) -> None:
    """Pods of the earlier JobSet end by themselves: their launcher is another pod."""
    server.passing = through(DONE)
    launch(Cluster(), request(), COMMAND)
    (jobset,) = server.jobsets.values()
    jobset["status"] = ACTIVE
    server.passing = through(ACTIVE, DONE)
    launch(Cluster(), request(), COMMAND)
    assert len(server.called("DELETE", "jobsets/")) == 1
    assert len(server.called("POST", "jobsets$")) == 3
    # Another command is another JobSet.
    launch(Cluster(), request(), [*COMMAND, "other"])
    assert len(server.jobsets) == 2


def test_what_has_ended_is_not_trained_again(server: KubernetesServer) -> None:
    """The launcher may fail after the JobSet, and is then started again."""
    server.passing = through(DONE)
    launch(Cluster(), request(), COMMAND)
    launch(Cluster(), request(), COMMAND)
    server.passing = through({"conditions": [condition("Failed", "six times")]})
    for _ in range(2):
        with pytest.raises(TrainingError, match="six times"):
            launch(Cluster(), request(), [*COMMAND, "other"])
    assert not server.called("DELETE", "jobsets/")
    assert len(server.jobsets) == 2


def test_a_jobset_that_somebody_deletes(server: KubernetesServer) -> None:
    def deleted(jobset: dict[str, Any]) -> None:
        server.jobsets.clear()

    server.passing = deleted
    with pytest.raises(TrainingError, match="was deleted while it worked"):
        launch(Cluster(), request(), COMMAND)


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_log_that_cannot_be_read_fails_no_training(
    server: KubernetesServer, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    server.passing = through(DONE)
    server.logs = {"pod-0": "x"}
    server.fail("GET", "/log$", status, refusal(status, "Gone"))
    launch(Cluster(), request(), COMMAND)
    assert f"(no log: {status} " in capsys.readouterr().out


def test_the_log_is_that_of_the_host_that_failed(
    server: KubernetesServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.passing = through({"conditions": [condition("Failed", "once")]})
    server.logs = {"pod-0": "all is well", "pod-3": "out of memory", "pod-1": "all is well"}
    server.statuses = {"pod-3": {"phase": "Failed"}}
    with pytest.raises(TrainingError):
        launch(Cluster(), request("v5e-16"), COMMAND)
    assert "out of memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "starts: no pod yet: kubectl -n kubeflow describe jobs -l jobset.sigs.k8s.io/"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes have TPUs"}
                ],
            },
            "starts: 0/3 nodes have TPUs",
        ),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {
                        "name": "train",
                        "image": "x",
                        "imageID": "",
                        "ready": False,
                        "restartCount": 0,
                        "state": {
                            "waiting": {"reason": "ErrImagePull", "message": "no such image"}
                        },
                    }
                ],
            },
            "starts: ErrImagePull: no such image",
        ),
    ],
)
def test_pods_that_do_not_start_have_a_reason(
    server: KubernetesServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: dict[str, Any] | None,
    words: str,
) -> None:
    monkeypatch.setattr(launching, "PATIENCE", -1.0)
    server.passing = through(PENDING, DONE)
    if status is not None:
        server.logs, server.statuses = {"pod-0": ""}, {"pod-0": status}
    launch(Cluster(), request(), COMMAND)
    assert words in capsys.readouterr().out


def test_a_server_that_fails_for_a_moment_is_asked_again(server: KubernetesServer) -> None:
    server.fail("POST", "jobsets$", 503, refusal(503, "ServiceUnavailable"), times=2)
    server.fail("GET", "jobsets/", 500, refusal(500, "InternalError"), times=2)
    server.passing = through(DONE)
    launch(Cluster(), request(), COMMAND)
    assert len(server.called("POST", "jobsets$")) == 3


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (403, "Forbidden", "(?i)403 forbidden.*kubectl apply -f infra/cluster/jobset-role.yaml"),
        (404, "NotFound", "404 .*is JobSet installed in this cluster"),
    ],
)
def test_what_the_server_refuses_says_what_to_do(
    server: KubernetesServer, status: int, reason: str, words: str
) -> None:
    server.fail("POST", "jobsets$", status, refusal(status, reason))
    with pytest.raises(RemoteError, match=words):
        main([request().text(), "--", *COMMAND])


def test_a_step_that_is_stopped_deletes_the_jobset(
    server: KubernetesServer, tmp_path: Path
) -> None:
    server.passing = through(ACTIVE)
    outputs = {"outputs": {"outputFile": str(tmp_path / "o.json")}}
    command = ["sh", "--executor_input", json.dumps(outputs)]
    process = subprocess.Popen(
        [sys.executable, "-m", "components.jobset.launch", request().text(), "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, runtime.EVENTS: str(tmp_path / "events.jsonl")},
    )
    deadline = time.monotonic() + 60
    while not server.called("GET", "jobsets/") and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert "is deleted, because this step was stopped" in said
    assert server.jobsets == {}
    assert len(server.called("DELETE", "jobsets/")) == 1


def test_a_step_runs_in_a_pod_of_its_jobset(
    server: KubernetesServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server does with the JobSet what a cluster does: it runs its command."""
    from components.storage import objects

    mount = f"{tmp_path}/gcs/"
    monkeypatch.setattr(objects, "MOUNT", mount)
    source = tmp_path / "a.txt"
    source.write_text("6")
    objects.put(source, f"{bucket}/in/folder/a.txt")
    executor_input = {
        "inputs": {"artifacts": {"images": {"artifacts": [{"uri": f"{bucket}/in/folder"}]}}},
        "outputs": {
            "artifacts": {"predictions": {"artifacts": [{"uri": f"{bucket}/run/predictions"}]}},
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }
    folder, out = (f"{mount}{bucket[5:]}/{name}" for name in ("in/folder", "run/predictions"))
    code = (
        "import pathlib, sys; "
        f"value = int(pathlib.Path({folder!r}, 'a.txt').read_text()); "
        f"out = pathlib.Path({out!r}); out.mkdir(parents=True); "
        "(out / 'oof.txt').write_text(str(value * 7)); "
        f"pathlib.Path({executor_input['outputs']['outputFile']!r}).write_text('{{\"a\": 1}}')"
    )
    command = [sys.executable, "-c", code, "--executor_input", json.dumps(executor_input)]
    started: list[threading.Thread] = []

    def cluster(jobset: dict[str, Any]) -> None:
        from components.jobset import pod

        def work() -> None:
            asked = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
            arguments = asked["containers"][0]["command"]
            assert arguments[:3] == ["python3", "-m", "components.jobset.pod"]
            status = pod.main(arguments[3:])
            (tmp_path / "executor_output.json").unlink()
            jobset["status"] = DONE if status == 0 else {"conditions": [condition("Failed")]}

        if not started:
            # In this process, for the path of the mount is changed here; signals are the main
            # thread's.
            monkeypatch.setattr(signal, "signal", lambda number, handler: handler)
            started.append(threading.Thread(target=work))
            started[0].start()

    server.passing = cluster
    main([request().text(), "--", *command])
    assert objects.read(f"{bucket}/run/predictions/oof.txt") == b"42"
    # The task's own pod has what kfp's launcher reads.
    assert json.loads((tmp_path / "executor_output.json").read_text()) == {"a": 1}
