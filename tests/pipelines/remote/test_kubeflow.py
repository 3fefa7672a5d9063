"""Test `foldline submit` and related commands on a Kubeflow Pipelines server.

The official client talks to a server on this machine.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import class_list, retry
from components.check.resolve import resolve_competition
from components.jobset.manifest import Request
from components.storage import objects
from pipelines.cli import remote as commands
from pipelines.cli.main import main
from pipelines.remote.kubeflow import client
from pipelines.remote.launcher import RemoteRun
from pipelines.remote.prepare import competition_of
from tests.support.artifacts import upload_artifacts, upload_gan
from tests.support.servers.loopback import KfpServer, Server
from tests.support.tiny import Tiny, in_bucket, upload, write_gan
from trainer import runtime

DIGEST = "sha256:" + "0" * 64
IMAGES = [
    f"--image-light=r.example/p/light@{DIGEST}",
    f"--image-training=r.example/p/training@{DIGEST}",
]
SIGN_IN = "<html><title>Sign in</title></html>"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpServer]:
    """Start a server, in an environment that names no other."""
    for name in [
        name for name in os.environ if name.startswith(("CLOUDSDK_", "GOOGLE_", "FOLDLINE_", "KF_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "PATIENCE", 30.0)
    monkeypatch.setattr(commands, "POLL", 0.01)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    with KfpServer() as found:
        assert isinstance(found, KfpServer)
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", found.url)
        yield found


@pytest.fixture
def impatient(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop retrying early, for permanent failures.

    Requests that succeed when retried keep the long limit, however busy this machine is.
    """
    monkeypatch.setattr(retry, "PATIENCE", 0.5)


@pytest.fixture
def remote(tiny: Tiny, bucket: str, server: KfpServer) -> Tiny:
    """The small competition with its data in a bucket."""
    return in_bucket(tiny, bucket)


def submit(tiny: Tiny, bucket: str, *more: str) -> int:
    return main(
        ["submit", str(tiny.toml), "--target=kfp", f"--bucket={bucket}/runs", *IMAGES, *more]
    )


def only(server: KfpServer) -> dict[str, Any]:
    (run,) = server.runs.values()
    return run


def node(name: str, state: str, pod: str = "kfold-abc12-123") -> dict[str, Any]:
    return {
        "task_id": name,
        "display_name": name,
        "state": state,
        "start_time": "2026-11-29T06:00:00Z",
        "child_tasks": [{"pod_name": pod}],
    }


def test_what_is_sent(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket, "--tpu=v5e-4", "--experiment=first", "--label=team=red") == 0
    run = only(server)
    assert run["experiment_id"] == server.experiments["first"]
    assert json.loads(run["description"]) == {"team": "red"}
    config = run["runtime_config"]
    assert config["pipeline_root"] == f"{bucket}/runs"
    assert config["parameters"]["root"] == f"{bucket}/data"
    assert config["parameters"]["members"][0]["name"] == "m0"
    spec = run["pipeline_spec"]
    command = spec["deploymentSpec"]["executors"]["exec-train"]["container"]["command"]
    asked = Request.of(command[3])
    assert (asked.resource, asked.chips) == ("google.com/tpu", 4)
    assert asked.environment[runtime.WANTED_CODE].startswith("0.1.0-")
    out = capsys.readouterr().out
    assert f"{server.url}/#/runs/details/{run['run_id']}" in out
    assert "4 google.com/tpu (v5e-4)" in out


def test_a_long_list_of_classes_is_sent_as_a_file(
    remote: Tiny, bucket: str, server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_list, "_LONGEST_LIST", 10)
    assert submit(remote, bucket, "--dry-run") == 0
    assert objects.listing(f"{bucket}/runs/classes") == []
    assert submit(remote, bucket) == 0
    run = only(server)
    (given,) = run["runtime_config"]["parameters"]["classes"]
    assert given.startswith(f"file:{bucket}/runs/classes/")
    spec = run["pipeline_spec"]["pipeline_spec"]
    defaults = spec["root"]["inputDefinitions"]["parameters"]
    assert defaults["classes"]["defaultValue"] == [given]
    assert class_list.names([given]) == [str(digit) for digit in range(10)]
    # It is checked where it runs, and the run's file is rebuilt from it.
    arguments = run["runtime_config"]["parameters"]
    checked = resolve_competition(
        {name: value for name, value in arguments.items() if name != "root"}, arguments["root"]
    )
    assert checked.classes_digest
    file = competition_of(RemoteRun("r", "succeeded", "", "", arguments=arguments, spec=spec))
    assert file.classes == [str(digit) for digit in range(10)]


def test_the_token_goes_into_a_header_and_nowhere_else(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(runtime.KFP_TOKEN, "planted-token")
    assert submit(remote, bucket) == 0
    assert {call.headers.get("authorization") for call in server.calls} == {"Bearer planted-token"}
    assert all("planted-token" not in repr(call.body) for call in server.calls)
    said = capfd.readouterr()
    assert "planted-token" not in said.out + said.err
    for path in Path("runs").rglob("*"):
        assert not path.is_file() or b"planted-token" not in path.read_bytes()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            {"message": "no identity"},
            "not signed in .no identity.: put a token into FOLDLINE_KFP_TOKEN",
        ),
        (
            403,
            {"message": "PermissionDenied"},
            "not allowed .PermissionDenied.: ask for the role kubeflow-edit",
        ),
        (404, {"error": "no experiment"}, "not found on http.* .no experiment"),
        (409, {"message": "exists"}, "already exists .exists"),
        (400, {"message": "Invalid input error"}, "Invalid input error"),
        (429, {"message": "slow down"}, "keeps failing .429: slow down"),
        (503, "<html>down</html>", "keeps failing .503"),
        (200, SIGN_IN, "answers, but not as Kubeflow Pipelines: is it a sign-in page"),
        (302, SIGN_IN, "redirected to a sign-in page"),
    ],
)
def test_a_refusal_is_explained(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: Any,
    words: str,
) -> None:
    server.fail("POST", "/runs$", status, body, Location=f"{server.url}/login")
    assert submit(remote, bucket) == 1
    err = capsys.readouterr().err
    assert re.search(words, err), err
    assert "Traceback" not in err
    assert server.runs == {}


@pytest.mark.parametrize("status", [429, 503])
def test_a_faltering_server_is_asked_again(
    remote: Tiny, bucket: str, server: KfpServer, status: int
) -> None:
    server.fail("POST", "/runs$", status, {"message": "later"}, times=2, Retry_After="3600")
    assert submit(remote, bucket) == 0
    assert len(server.runs) == 1


def test_a_lost_answer_makes_no_second_run(remote: Tiny, bucket: str, server: KfpServer) -> None:
    def lost(match: Any, call: Any) -> Any:
        server.create(match, call)
        return 503, {"message": "lost"}

    position = next(index for index, route in enumerate(server.routes) if route[2] == server.create)
    server.routes[position] = (*server.routes[position][:2], lost)
    assert submit(remote, bucket) == 0
    assert len(server.runs) == 1
    assert len(server.called("POST", "/runs$")) == 1


def test_a_server_of_several_users_wants_a_namespace(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.health["multi_user"] = True
    assert submit(remote, bucket) == 2
    assert "missing: --namespace" in capsys.readouterr().err
    assert submit(remote, bucket, "--namespace=team-a") == 0
    assert server.called("POST", "/experiments$")[0].body["namespace"] == "team-a"


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_none(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.fail("GET", "healthz", 200, SIGN_IN)
    assert submit(remote, bucket) == 1
    assert "is it a sign-in page" in capsys.readouterr().err
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    assert submit(remote, bucket) == 1
    assert "http://127.0.0.1:9 cannot be reached" in capsys.readouterr().err
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT")
    assert submit(remote, bucket) == 2
    assert "missing: --host (or KF_PIPELINES_ENDPOINT)" in capsys.readouterr().err


def test_a_run_that_fails_in_one_task(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    states = iter(["RUNNING", "FAILED"])

    def passing(run: dict[str, Any]) -> None:
        run["state"] = next(states, "FAILED")
        nodes = [
            node("root-driver", "SUCCEEDED"),
            node("check", "SUCCEEDED"),
            node("train", run["state"]),
            node("executor", "X"),
        ]
        run["run_details"] = {"task_details": nodes}

    server.passing = passing
    server.logs["kfold-abc12-retry-system-container-impl-123"] = "".join(
        f"line {number}\n" for number in range(40)
    )
    assert submit(remote, bucket, "--wait") == 1
    said = capsys.readouterr()
    assert "step train failed" in said.err
    assert [line.strip() for line in said.err.splitlines() if line.startswith("    ")] == [
        f"line {n}" for n in range(25, 40)
    ]
    assert "executor" not in said.out
    assert "/#/runs/details/" in said.err
    name = only(server)["display_name"]
    server.logs.clear()
    assert main(["logs", name]) == 0
    out = capsys.readouterr().out
    assert "line 1" not in out
    assert f"kubectl -n kubeflow logs -l pipeline/runid={only(server)['run_id']} -c main" in out


def test_status_cancel_and_list(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    run = only(server)
    other = {
        **run,
        "run_id": "00000000-0000-0000-0000-000000000001",
        "display_name": "another pipeline's",
    }
    other["pipeline_spec"] = {"pipelineInfo": {"name": "other"}, "root": {}}
    server.runs[other["run_id"]] = other
    capsys.readouterr()
    assert main(["status", run["display_name"]]) == 0
    assert f"{run['display_name']}: waiting" in capsys.readouterr().out
    assert main(["cancel", run["display_name"]]) == 0
    assert main(["status", run["run_id"], "--target=kfp"]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert main(["list", "--target=kfp"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        run["display_name"]
    ]
    assert main(["status", "tiny-1", "--target=kfp"]) == 1
    assert "run tiny-1: not found" in capsys.readouterr().err


def test_a_key_of_the_cluster_s_reaches_every_step(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FOLDLINE_KUBERNETES_SECRET", "google-key")
    assert submit(remote, bucket) == 0
    (run,) = server.runs.values()
    spec, platform = run["pipeline_spec"]["pipeline_spec"], run["pipeline_spec"]["platform_spec"]
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    executors = spec["deploymentSpec"]["executors"]
    assert set(placed) == set(executors)
    for name, one in executors.items():
        assert placed[name]["secretAsVolume"][0]["secretName"] == "google-key"
        where = placed[name]["secretAsVolume"][0]["mountPath"]
        assert {"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{where}/key.json"} in one[
            "container"
        ]["env"]
    monkeypatch.setenv("FOLDLINE_KUBERNETES_SECRET", "../key")
    assert submit(remote, bucket) == 2
    assert (
        "FOLDLINE_KUBERNETES_SECRET = ../key: must be the name of a secret"
        in capsys.readouterr().err
    )


def test_a_schedule(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "schedule",
        str(remote.toml),
        "--target=kfp",
        f"--bucket={bucket}/runs",
        *IMAGES,
        "--cron=0 5 * * 1",
    ]
    assert main(command) == 0
    (made,) = server.recurring
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 5 * * 1"}}
    assert made["max_concurrency"] == 1
    page = f"{server.url}/#/recurringruns"
    assert f"to pause or delete it: foldline schedules, or {page}" in capsys.readouterr().out
    assert main([*command[:-1], "--cron=TZ=Europe/Rome 0 5 * * 1", "--dry-run"]) == 2
    assert "leave out TZ=…" in capsys.readouterr().err
    assert len(server.recurring) == 1
    assert made["runtime_config"]["parameters"]["root"] == f"{bucket}/data"


@pytest.mark.usefixtures("finished_run")
def test_fetch_leaves_what_a_local_run_leaves(
    remote: Tiny,
    bucket: str,
    server: Server,
    finished_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert isinstance(server, KfpServer)
    assert submit(remote, bucket) == 0
    run = only(server)
    assert main(["fetch", run["display_name"]]) == 1
    assert "is waiting; only a succeeded run has results" in capsys.readouterr().err
    run["state"] = "SUCCEEDED"
    salt = "00000000-0000-0000-0000-00000000000"
    upload_artifacts(
        finished_run,
        bucket,
        lambda task, output, number: f"runs/kfold/{run['run_id']}/{task}/{salt}{number}/{output}",
    )
    assert main(["fetch", run["display_name"], f"--file={remote.toml}"]) == 0
    out = Path("runs/tiny")
    for name in (
        "submission.csv",
        "oof.csv",
        "test.csv",
        "folds.csv",
        "report.html",
        "data_card.html",
        "metrics.json",
    ):
        assert (out / name).read_bytes() == (finished_run / name).read_bytes(), name
    models = {path.relative_to(finished_run) for path in (finished_run / "models").rglob("*.*")}
    assert len(models) == 12
    for path in models:
        assert (out / path).read_bytes() == (finished_run / path).read_bytes()
    assert "leaderboard" in capsys.readouterr().out
    # Without the file, the competition is read from the run's arguments, which include no answers.
    shutil.rmtree(out)
    assert main(["fetch", run["run_id"], "--target=kfp"]) == 0
    assert (out / "submission.csv").read_bytes() == (finished_run / "submission.csv").read_bytes()
    assert "leaderboard" not in json.loads((out / "metrics.json").read_text())


def test_a_gan_is_sent_and_fetched(
    bucket: str,
    server: Server,
    finished_gan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert isinstance(server, KfpServer)
    file = write_gan(tmp_path / "data")
    upload(tmp_path / "data", f"{bucket}/data")
    file.write_text(
        file.read_text().replace('source = "pixels"', f'source = "pixels"\nroot = "{bucket}/data"')
    )
    assert submit(Tiny(file.parent, file, file, file, file, file), bucket) == 0
    run = only(server)
    assert run["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "gan"
    run["state"] = "SUCCEEDED"
    salt = "00000000-0000-0000-0000-000000000001"
    upload_gan(
        finished_gan,
        bucket,
        lambda task, output: f"runs/gan/{run['run_id']}/{task}/{salt}/{output}",
    )
    assert main(["list", "--target=kfp"]) == 0
    assert run["display_name"] in capsys.readouterr().out
    assert main(["fetch", run["display_name"]]) == 0
    assert Path("runs/tiny_gan/grid.png").read_bytes() == (finished_gan / "grid.png").read_bytes()


def test_pods_of_tasks_that_may_be_tried_again() -> None:
    from pipelines.remote.kubeflow.run import _pods, fnv1a

    # A node name and its hash from a user's report: github.com/kubeflow/pipelines/issues/10365.
    assert fnv1a("hello-pipeline-fs8jj.root-driver") == 3921009115
    pods = _pods("kfold-abc12-77", "check")
    assert (
        f"kfold-abc12-retry-system-container-impl-{fnv1a('kfold-abc12.root.check.executor(2)')}"
        in pods
    )
    assert "kfold-abc12-system-container-impl-77" in pods


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (
            "--service-account=run@p.iam.gserviceaccount.com",
            "must be the name of a Kubernetes service account",
        ),
        ("--host=ftp://x", "--host ftp://x: must start with http"),
        ("--host=127.0.0.1:1", "must start with http"),
    ],
)
def test_what_is_wrong_is_reported_before_anything_is_sent(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    words: str,
) -> None:
    assert submit(remote, bucket, flag) == 2
    assert words in capsys.readouterr().err
    assert server.calls == []


def test_a_google_account_in_the_environment_is_none_of_a_cluster(
    remote: Tiny, bucket: str, server: KfpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDLINE_SERVICE_ACCOUNT", "run@p.iam.gserviceaccount.com")
    monkeypatch.setenv("FOLDLINE_KUBERNETES_ACCOUNT", "pipeline-runner")
    assert submit(remote, bucket) == 0
    assert only(server)["service_account"] == "pipeline-runner"


@pytest.mark.parametrize("version", ["2.5.0", "2.15.2", "v2.15.0-rc.1", "1.8.22"])
def test_a_server_that_loses_results_of_a_loop_is_refused(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    version: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.health["tag_name"] = version
    assert submit(remote, bucket) == 1
    assert f"is Kubeflow Pipelines {version}, which cannot collect" in capsys.readouterr().err
    assert not server.runs


@pytest.mark.parametrize(
    ("version", "warned"), [("2.16.0", False), ("v2.17.3", False), ("3.0.0", False), ("dev", True)]
)
def test_newer_servers_are_accepted(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    version: str,
    warned: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.health["tag_name"] = version
    assert submit(remote, bucket) == 0
    assert ("does not report its version (dev)" in capsys.readouterr().err) is warned


def test_a_server_that_hides_its_version_gets_a_warning(
    remote: Tiny, bucket: str, server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    del server.health["tag_name"]
    assert submit(remote, bucket) == 0
    assert "does not report its version (none)" in capsys.readouterr().err


def test_a_command_gives_the_token_and_gives_it_again(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Tokens of servers behind a proxy expire while a run is watched."""
    command = tmp_path / "token"
    command.write_text(
        f"#!/bin/sh\necho x >>{tmp_path}/calls\necho planted-$(wc -l <{tmp_path}/calls)\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv(runtime.KFP_TOKEN_COMMAND, str(command))
    assert submit(remote, bucket) == 0
    assert {call.headers.get("authorization") for call in server.calls} == {"Bearer planted-1"}
    monkeypatch.setattr(client, "TOKEN_SECONDS", 0.0)
    server.calls.clear()
    assert submit(remote, bucket) == 0
    sent = [call.headers.get("authorization") for call in server.calls]
    assert len(set(sent)) == len(sent) > 2
    assert "planted-" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("/nowhere/token", "No such file or directory"),
        ("sh -c 'echo not signed in >&2; exit 3'", "not signed in"),
        ("true", "it must print one token and nothing else"),
        ("echo two words", "it must print one token and nothing else"),
    ],
)
def test_a_command_that_gives_no_token(
    remote: Tiny,
    bucket: str,
    server: KfpServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: str,
) -> None:
    monkeypatch.setenv(runtime.KFP_TOKEN_COMMAND, command)
    assert submit(remote, bucket) == 2
    err = capsys.readouterr().err
    assert "FOLDLINE_KFP_TOKEN_COMMAND = " in err
    assert words in err
    assert not server.runs
