"""`foldline doctor`: here, and as a run on services that are on this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.doctor import look as looking
from pipelines.cli.main import main
from pipelines.definitions import registry
from pipelines.definitions.compilation import TARGETS, compile_pipeline, target
from tests.pipelines.remote.test_kubeflow import DIGEST, IMAGES, node
from tests.pipelines.remote.test_kubeflow import server as kfp_server
from tests.pipelines.remote.test_vertex import private_key
from tests.pipelines.remote.test_vertex import server as vertex_server
from tests.support.driver_types import problems
from tests.support.servers.loopback import KfpServer, VertexServer
from trainer import runtime
from trainer.config.machine import Machine

__all__ = ["kfp_server", "private_key", "vertex_server"]


@pytest.fixture(autouse=True)
def no_metadata_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "_METADATA", "http://127.0.0.1:9/none")


def test_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    assert "ok  outputs     runs: " in capsys.readouterr().out
    monkeypatch.setenv(runtime.EXPECTS, "gpu:1")
    assert main(["doctor", "--json"]) == 1
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert not findings["promise"]["good"]
    assert main(["doctor", "--gpu=L4"]) == 2
    assert "require --target vertex or --target kfp" in capsys.readouterr().err


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("machine", [Machine(), Machine(gpu="L4"), Machine(tpu="v5e-8")])
def test_its_pipeline_runs_where_training_does(tmp_path: Path, kind: str, machine: Machine) -> None:
    path = compile_pipeline(tmp_path / "p.yaml", registry.DOCTOR, {}, target(kind, machine))
    spec = next(yaml.safe_load_all(path.read_text()))
    assert problems(spec, lambda task, output: "STRUCT") == []
    assert list(spec["root"]["dag"]["tasks"]) == ["doctor"]


def ends(state: str) -> Any:
    def passing(run: dict[str, Any]) -> None:
        run["state"] = state

    return passing


def test_on_a_kubeflow_server(
    kfp_server: KfpServer, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def passing(run: dict[str, Any]) -> None:
        run["state"] = "FAILED"
        run["run_details"] = {"task_details": [node("doctor", "FAILED", "doctor-abc12-1")]}

    kfp_server.passing = passing
    kfp_server.logs = {"doctor-abc12-1": "[doctor] BAD promise     this job was to run on tpu:4"}
    command = ["doctor", "--target=kfp", f"--bucket={bucket}/runs", "--tpu=v5e-4", *IMAGES]
    assert main(command) == 1
    (run,) = kfp_server.runs.values()
    container = run["pipeline_spec"]["deploymentSpec"]["executors"]["exec-doctor"]["container"]
    assert container["command"][2] == "components.jobset.launch"
    asked = json.loads(container["command"][3])
    assert (asked["restarts"], asked["seconds"]) == (0, 1800)
    assert asked["environment"][runtime.EXPECTS] == "tpu:4"
    assert run["runtime_config"]["parameters"] == {}
    said = capsys.readouterr()
    assert "submitted doctor-" in said.out
    assert "this job was to run on tpu:4" in said.out + said.err


def test_on_vertex_ai(
    vertex_server: VertexServer, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vertex_server.passing = ends("PIPELINE_STATE_SUCCEEDED")
    command = ["doctor", "--target=vertex", "--project=my-project", "--region=us-central1"]
    command += [f"--bucket={bucket}/runs", "--gpu=L4", *IMAGES]
    command += ["--service-account=run@my-project.iam.gserviceaccount.com"]
    assert main(command) == 0, capsys.readouterr().err
    (job,) = vertex_server.jobs.values()
    inputs = job["pipelineSpec"]["components"]["comp-doctor"]["inputDefinitions"]["parameters"]
    (pool,) = inputs["worker_pool_specs"]["defaultValue"]
    assert pool["machine_spec"]["accelerator_type"] == "NVIDIA_L4"
    assert pool["container_spec"]["image_uri"].endswith(DIGEST)
    assert inputs["timeout"]["defaultValue"] == "1800s"
    assert job["labels"]["foldline"] == "doctor"


def test_images_need_a_digest(
    kfp_server: KfpServer, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--target=kfp", f"--bucket={bucket}/runs"]) == 2
    assert "must name an image by digest" in capsys.readouterr().err
    assert not kfp_server.runs
