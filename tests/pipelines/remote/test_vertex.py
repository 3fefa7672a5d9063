"""Test `foldline submit` and related commands on Vertex AI.

The official client talks to a server on this machine.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import foldline as fl
from components import class_list, retry
from pipelines.cli import remote as commands
from pipelines.cli.main import main
from pipelines.definitions import fingerprint, kfold
from pipelines.remote.vertex import launcher as vertex
from pipelines.remote.vertex.experiment import Experiments
from tests.support.artifacts import upload_artifacts, upload_gan
from tests.support.servers.loopback import VertexServer, denied, google_error, over_quota
from tests.support.tiny import Tiny, in_bucket, upload, write_gan
from trainer import runtime

DIGEST = "sha256:" + "0" * 64
IMAGES = [
    f"--image-light=r.example/p/light@{DIGEST}",
    f"--image-training=r.example/p/training@{DIGEST}",
]
ACCOUNT = "run@my-project.iam.gserviceaccount.com"
PLACE = "projects/my-project/locations/us-central1"


@pytest.fixture(scope="session")
def private_key() -> str:
    """Return a service account's key, with which the real library signs its request for a token."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key.private_bytes(*form).decode()


@pytest.fixture
def server(
    monkeypatch: pytest.MonkeyPatch, private_key: str, tmp_path: Path
) -> Iterator[VertexServer]:
    """Start a server, in an environment where it takes Google's place."""
    for name in [
        name for name in os.environ if name.startswith(("CLOUDSDK_", "GOOGLE_", "FOLDLINE_", "KF_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "PATIENCE", 30.0)
    monkeypatch.setattr(commands, "POLL", 0.01)
    monkeypatch.chdir(tmp_path)
    with VertexServer() as found:
        assert isinstance(found, VertexServer)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
        about = {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "1",
            "private_key": private_key,
        }
        about |= {
            "client_email": "submit@my-project.iam.gserviceaccount.com",
            "token_uri": f"{found.url}/token",
        }
        (tmp_path / "key.json").write_text(json.dumps(about))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", found.url)
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", found.url)
        yield found


@pytest.fixture
def impatient(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop retrying early, for permanent failures.

    Requests that succeed when retried keep the long limit, however busy this machine is.
    """
    monkeypatch.setattr(retry, "PATIENCE", 0.5)


@pytest.fixture
def remote(tiny: Tiny, bucket: str, server: VertexServer) -> Tiny:
    """The small competition with its data in a bucket."""
    return in_bucket(tiny, bucket)


def flags(bucket: str) -> list[str]:
    return [
        "--project=my-project",
        "--region=us-central1",
        f"--bucket={bucket}/runs",
        f"--service-account={ACCOUNT}",
        *IMAGES,
    ]


def submit(tiny: Tiny, bucket: str, *more: str) -> int:
    return main(["submit", str(tiny.toml), *flags(bucket), *more])


def place(bucket: str) -> fl.Destination:
    return fl.Destination(
        "vertex",
        project="my-project",
        region="us-central1",
        root=f"{bucket}/runs",
        service_account=ACCOUNT,
        endpoint=os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM"],
        logging=os.environ["CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"],
    )


def only(server: VertexServer) -> dict[str, Any]:
    (job,) = server.jobs.values()
    return job


def name_of(job: dict[str, Any]) -> str:
    return str(job["name"].rpartition("/")[2])


def count(value: Any, wanted: Any) -> int:
    """Return how often a value occurs in another, at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return int(value == wanted) + sum(count(one, wanted) for one in inner)


def failed_task(name: str, message: str, job: str = "77") -> dict[str, Any]:
    return {
        "taskId": "5",
        "parentTaskId": "1",
        "taskName": name,
        "state": "FAILED",
        "createTime": "2026-11-29T06:00:00Z",
        "startTime": "2026-11-29T06:01:00Z",
        "error": {"code": 9, "message": message},
        "executorDetail": {"containerDetail": {"mainJob": f"{PLACE}/customJobs/{job}"}},
    }


def test_a_long_list_of_classes_is_sent_as_a_file(
    remote: Tiny, bucket: str, server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_list, "_LONGEST_LIST", 10)
    assert submit(remote, bucket) == 0
    (given,) = only(server)["runtimeConfig"]["parameterValues"]["classes"]
    assert given.startswith(f"file:{bucket}/runs/classes/")
    assert class_list.names([given]) == [str(digit) for digit in range(10)]


def test_what_is_sent(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    status = submit(
        remote, bucket, "--tpu=v5e-8", "--spot", "--label=team=red", "--experiment=first"
    )
    said = capsys.readouterr()
    assert status == 0, said.err
    job = only(server)
    assert job["name"].startswith(f"{PLACE}/pipelineJobs/tiny-20")
    assert job["serviceAccount"] == ACCOUNT
    assert job["labels"] == {"foldline": "tiny", "team": "red"}
    # Each step is given the code version that it must run, custom jobs included.
    wanted = {"name": runtime.WANTED_CODE, "value": fingerprint.version(fingerprint.IN_IMAGES)}
    assert count(job["pipelineSpec"], wanted) == len(kfold.STEPS)
    config = job["runtimeConfig"]
    assert config["gcsOutputDirectory"] == f"{bucket}/runs"
    given = config["parameterValues"]
    assert given["root"] == given["data"]["root"] == f"{bucket}/data"
    assert given["data"]["train"] == f"{bucket}/data/train.csv"
    assert given["train"]["checkpoints"] == f"{bucket}/runs/checkpoints"
    assert given["train"]["hourly_price"] > 0
    assert "leaderboard" not in given
    assert "machine" not in given
    spec = json.dumps(job["pipelineSpec"])
    assert f"r.example/p/light@{DIGEST}" in spec
    assert "foldline:0.1.0" not in spec
    pool = job["pipelineSpec"]["components"]["comp-train"]["inputDefinitions"]["parameters"][
        "worker_pool_specs"
    ]
    (machine,) = pool["defaultValue"]
    assert machine["machineSpec" if "machineSpec" in machine else "machine_spec"] == {
        "machine_type": "ct5lp-hightpu-8t",
        "tpu_topology": "2x4",
    }
    assert machine["container_spec"]["image_uri"] == f"r.example/p/training@{DIGEST}"
    assert server.contexts == {"first": [job["jobDetail"]["pipelineRunContext"]["name"]]}
    # An experiment that already exists is joined as well.
    assert submit(remote, bucket, "--experiment=first") == 0
    assert len(server.contexts["first"]) == 2
    run = name_of(job)
    assert f"runs/{run}?project=my-project" in said.out
    assert "train m0" in said.out
    assert "total" in said.out
    assert json.loads(Path(f"runs/tiny/remote/{run}.json").read_text())["root"] == f"{bucket}/runs"
    token = (
        server.called("POST", "pipelineJobs")[0].headers["authorization"].removeprefix("Bearer ")
    )
    # Neither the token nor the key that it was made with appears anywhere else.
    secrets = [token, json.loads(Path("key.json").read_text())["private_key"][100:160]]
    assert all(len(secret) > 10 for secret in secrets)
    written = [path.read_text() for path in Path("runs").rglob("*") if path.is_file()]
    bodies = [json.dumps(call.body) for call in server.called("POST", "/v1/")]
    assert not any(
        secret in text for secret in secrets for text in (said.out, said.err, *written, *bodies)
    )


def test_what_python_sends_is_what_the_command_sends(
    remote: Tiny, bucket: str, server: VertexServer
) -> None:
    assert submit(remote, bucket, "--label=team=red") == 0
    by_command = only(server)
    images = {
        "light": f"r.example/p/light@{DIGEST}",
        "training": f"r.example/p/training@{DIGEST}",
    }
    job = fl.submit(remote.toml, place(bucket), images=images, labels={"team": "red"})
    sent = server.jobs[f"{PLACE}/pipelineJobs/{job.name}"]
    assert sent["pipelineSpec"] == by_command["pipelineSpec"]
    assert sent["labels"] == by_command["labels"]
    assert f"runs/{job.name}?project=my-project" in job.console
    assert Path(f"runs/tiny/remote/{job.name}.json").is_file()
    sent["state"] = "PIPELINE_STATE_RUNNING"
    assert job.state() == "running"
    with pytest.raises(
        fl.errors.RemoteError, match=r"is running; only a succeeded run has results"
    ):
        job.fetch()
    sent["state"] = "PIPELINE_STATE_FAILED"
    sent["jobDetail"]["taskDetails"] = [
        {"taskId": "1", "taskName": "root", "state": "FAILED"},
        failed_task("folds", "no space"),
    ]
    with pytest.raises(fl.errors.RemoteError, match=r"failed: step folds: .*no space"):
        job.wait(seconds_between=0.01)
    job.cancel()
    assert server.called("POST", f"{job.name}:cancel")


def test_no_cache_reaches_the_tasks_inside_loops(
    remote: Tiny, bucket: str, server: VertexServer
) -> None:
    assert submit(remote, bucket, "--no-cache") == 0
    spec = only(server)["pipelineSpec"]
    dags = [spec["root"], *spec["components"].values()]
    options = [
        task["cachingOptions"]
        for dag in dags
        for task in dag.get("dag", {}).get("tasks", {}).values()
    ]
    assert len(options) > 10
    assert not any(option.get("enableCache") for option in options)


def test_a_dry_run_sends_nothing(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket, "--dry-run", "--gpu=L4") == 0
    out = capsys.readouterr().out
    assert server.calls == []
    assert not Path("runs/tiny/remote").exists()
    body = json.loads(out[: out.index("\n}\n") + 2])
    assert body["serviceAccount"] == ACCOUNT
    assert Path(body["pipelineSpec"]).is_file()
    assert "g2-standard-8 + 1 NVIDIA_L4" in out
    assert "nothing was sent" in out


def test_flags_fall_back_to_the_environment_and_to_gcloud(
    remote: Tiny, bucket: str, server: VertexServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("gcloud/configurations")
    folder.mkdir(parents=True)
    Path("gcloud/active_config").write_text("mine\n")
    (folder / "config_mine").write_text(
        "[core]\nproject = my-project\n[ai]\nregion = europe-west4\n"
    )
    monkeypatch.setenv("FOLDLINE_BUCKET", f"{bucket.removeprefix('gs://')}/r")
    monkeypatch.setenv("FOLDLINE_SERVICE_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("FOLDLINE_IMAGE_LIGHT", f"a/l@{DIGEST}")
    monkeypatch.setenv("FOLDLINE_IMAGE_TRAINING", f"a/t@{DIGEST}")
    assert main(["submit", str(remote.toml)]) == 0
    job = only(server)
    assert job["name"].startswith("projects/my-project/locations/europe-west4/")
    assert job["runtimeConfig"]["gcsOutputDirectory"] == f"{bucket}/r"


def test_all_that_is_missing_is_named_at_once(
    remote: Tiny, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(remote.toml), *IMAGES]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "missing: --project",
        "missing: --region",
        "missing: --bucket",
        "missing: --service-account",
    ]
    assert "GOOGLE_CLOUD_PROJECT" in lines[0]
    assert "gcloud config set project" in lines[0]
    assert server.calls == []


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--label=Team=red", "--label Team=red: use lower-case letters"),
        ("--label=team", "--label team: must be KEY=VALUE"),
        ("--image-light=foldline:1", "--image-light foldline:1 .*must name an image by digest"),
        ("--region=Iowa", "--region Iowa: must be a region"),
        ("--project=My Project", "--project My Project: must be a project's id"),
        ("--bucket=gs://b/../other", "must be a bucket, or gs://bucket/prefix"),
        ("--bucket=gs://UPPER", "must be a bucket, or gs://bucket/prefix"),
        ("--service-account=me", "--service-account me: must be"),
        ("--label=goog-x=1", "--label goog-x=1: this key is reserved"),
        ("--label=foldline=x", "--label foldline=x: this key is reserved"),
        ("--experiment=My Exp_1", "--experiment My Exp_1: use lower-case letters"),
        (
            "--tpu=v5e-9",
            "machine.tpu = 'v5e-9': unknown accelerator; did you mean 'v5e-8'. Supported: v3-8",
        ),
        ("--gpu=L5", "machine.gpu = 'L5': unknown accelerator. Supported: T4, V100, L4"),
        ("--prices=none.toml", "--prices none.toml: cannot be read"),
    ],
)
def test_what_is_wrong_is_reported_before_anything_is_sent(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    words: str,
) -> None:
    assert submit(remote, bucket, flag) == 2
    assert re.search(words, capsys.readouterr().err)
    assert server.calls == []


def test_data_on_this_machine_is_refused(
    tiny: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(tiny, bucket) == 2
    err = capsys.readouterr().err
    assert "data.root = " in err
    assert "submission.sample = " in err
    assert "copy it to a bucket" in err


def test_a_bucket_that_is_not_there(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, "gs://no-such-bucket") == 1
    assert "gs://no-such-bucket/runs: no such bucket" in capsys.readouterr().err
    assert server.calls == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            google_error(401, "Request had invalid authentication credentials."),
            "not signed in",
        ),
        (
            403,
            denied("aiplatform.pipelineJobs.create"),
            "lacks aiplatform.pipelineJobs.create, which roles/aiplatform.user has",
        ),
        (
            403,
            google_error(
                403,
                "You do not have permission to act as service account: iam.serviceAccounts.actAs is"
                " needed",
            ),
            "roles/iam.serviceAccountUser on the run's service account has",
        ),
        (
            404,
            google_error(404, "The bucket is gone"),
            "not found in my-project, us-central1: The bucket is gone",
        ),
        (409, google_error(409, "exists"), "already exists: exists"),
        (400, google_error(400, "Invalid spec"), "Invalid spec"),
        (
            429,
            over_quota("aiplatform.googleapis.com/pipeline_runs"),
            "Quota exceeded for quota metric.*iam-admin/quotas",
        ),
        (503, google_error(503, "down"), "Vertex AI failed for 0.5 s: down"),
        (502, "<html>bad gateway</html>", "Vertex AI failed for 0.5 s"),
    ],
)
def test_a_refusal_is_explained(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: Any,
    words: str,
) -> None:
    server.fail("POST", "pipelineJobs$", status, body)
    assert submit(remote, bucket) == 1
    err = capsys.readouterr().err
    assert re.search(words, err), err
    assert "Traceback" not in err
    assert server.url not in err or status >= 500


@pytest.mark.parametrize("status", [429, 503])
def test_a_faltering_service_is_asked_again(
    remote: Tiny, bucket: str, server: VertexServer, status: int
) -> None:
    server.fail("POST", "pipelineJobs$", status, google_error(status, "later"), times=2)
    assert submit(remote, bucket) == 0
    assert len(server.called("POST", "pipelineJobs$")) == 3
    assert len(server.jobs) == 1


def test_a_lost_answer_makes_no_second_run(remote: Tiny, bucket: str, server: VertexServer) -> None:
    create = server.create

    def lost(match: Any, call: Any) -> Any:
        status, body = create(match, call)
        return (503, google_error(503, "lost")) if status == 200 else (status, body)

    server.routes[0] = ("POST", server.routes[0][1], lost)
    assert submit(remote, bucket) == 0
    assert len(server.called("POST", "pipelineJobs$")) == 2
    assert len(server.jobs) == 1


def test_waiting_for_a_run_that_ends_well(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    states = iter(["PENDING", "RUNNING", "RUNNING", "SUCCEEDED"])

    def passing(job: dict[str, Any]) -> None:
        state = next(states)
        job["state"] = f"PIPELINE_STATE_{state}"
        job["jobDetail"]["taskDetails"] = [{"taskId": "1", "taskName": "check", "state": state}]

    server.passing = passing
    assert submit(remote, bucket, "--wait") == 0
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("check")] == [
        "waiting",
        "running",
        "succeeded",
    ]
    assert "foldline fetch tiny-" in out


def test_a_run_that_fails_in_one_task(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    def passing(job: dict[str, Any]) -> None:
        job["state"] = "PIPELINE_STATE_FAILED"
        job["error"] = {"code": 9, "message": "The DAG failed because some tasks failed."}
        loop = {
            "taskId": "1",
            "taskName": "for-loop-2",
            "state": "FAILED",
            "error": {"message": "The DAG failed because some tasks failed."},
        }
        job["jobDetail"]["taskDetails"] = [
            loop,
            failed_task("train", "The replica workerpool0-0 exited with status 1."),
        ]

    server.passing = passing
    server.page = 10
    server.entries = [
        {"resource": {"labels": {"job_id": "77"}}, "jsonPayload": {"message": f"line {number}"}}
        for number in range(40)
    ] + [{"resource": {"labels": {"job_id": "78"}}, "textPayload": "another's"}]
    assert submit(remote, bucket, "--wait") == 1
    err = capsys.readouterr().err
    assert "step train failed: The replica workerpool0-0 exited with status 1." in err
    assert "for-loop" not in err
    assert [line.strip() for line in err.splitlines() if line.startswith("    ")] == [
        f"line {n}" for n in range(25, 40)
    ]
    assert "console.cloud.google.com/vertex-ai" in err
    wanted, *_ = server.called("POST", "entries:list")
    assert 'timestamp>="2026-11-29T06:01:00Z"' in wanted.body["filter"]


def test_logs_of_a_job_that_a_launcher_started(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    job = only(server)
    launched = {
        "resources": [
            {"resourceType": "CustomJob", "resourceUri": f"https://x/v1/{PLACE}/customJobs/900"}
        ]
    }
    task = {**failed_task("train", "see job_id%3D%22901%22", job="77"), "state": "RUNNING"}
    task["execution"] = {"metadata": {"output:gcp_resources": json.dumps(launched)}}
    job["jobDetail"]["taskDetails"] = [task]
    server.entries = [
        {"resource": {"labels": {"job_id": number}}, "textPayload": f"of {number}"}
        for number in ("77", "900", "901", "5")
    ]
    capsys.readouterr()
    assert main(["logs", name_of(job), "--step=train"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "train (running)",
        "    of 77",
        "    of 900",
        "    of 901",
    ]
    assert main(["logs", name_of(job), "--step=nothing"]) == 2
    assert "no such step" in capsys.readouterr().err


def test_a_log_that_may_not_be_read(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    only(server)["jobDetail"]["taskDetails"] = [failed_task("train", "no")]
    server.fail("POST", "entries:list", 403, denied("logging.logEntries.list"))
    assert main(["logs", name_of(only(server))]) == 1
    assert "roles/logging.viewer" in capsys.readouterr().err


def test_status_cancel_and_list(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    job = only(server)
    server.jobs[f"{PLACE}/pipelineJobs/other"] = {
        "name": f"{PLACE}/pipelineJobs/other",
        "state": "PIPELINE_STATE_RUNNING",
    }
    for number in range(5):
        name = f"{PLACE}/pipelineJobs/old-{number}"
        server.jobs[name] = {**job, "name": name}
    server.page = 2
    capsys.readouterr()
    assert main(["status", name_of(job)]) == 0
    assert capsys.readouterr().out.startswith(f"{name_of(job)}: waiting, since 20")
    assert main(["cancel", name_of(job)]) == 0
    assert main(["status", name_of(job)]) == 0
    assert f"{name_of(job)}: cancelled" in capsys.readouterr().out
    assert main(["list", "--project=my-project", "--region=us-central1", "--limit=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["old-4", "old-3", "old-2", "old-1"]
    assert main(["status", "tiny-1", "--project=my-project", "--region=us-central1"]) == 1
    assert "run tiny-1: not found in my-project, us-central1" in capsys.readouterr().err
    assert main(["status", "../../etc"]) == 2


def test_a_schedule(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["schedule", str(remote.toml), *flags(bucket)]
    told = ["--notify", "a@example.com"]
    assert main([*command, *told, "--cron=TZ=Europe/Rome 0 5 * * 1"]) == 0
    (schedule,) = server.schedules
    # Each of its runs ends with the mail.
    assert "a@example.com" in json.dumps(schedule["createPipelineJobRequest"]["pipelineJob"])
    assert schedule["cron"] == "TZ=Europe/Rome 0 5 * * 1"
    assert schedule["maxConcurrentRunCount"] == "1"
    assert schedule["createPipelineJobRequest"]["pipelineJob"]["labels"]["foldline"] == "tiny"
    out = capsys.readouterr().out
    assert "schedules/1 is scheduled" in out
    assert (
        "to pause or delete it:"
        " foldline schedules, or https://console.cloud.google.com/vertex-ai/pipelines/schedules?project=my-project"
        in out
    )
    assert main([*command, "--cron=* * * * *", "--dry-run"]) == 0
    assert len(server.schedules) == 1
    server.fail("POST", "schedules", 403, denied("aiplatform.schedules.create"))
    assert main([*command, "--cron=* * * * *"]) == 1
    err = capsys.readouterr().err
    assert "lacks aiplatform.schedules.create" in err
    assert (
        "see whether it was created:"
        " foldline schedules, or https://console.cloud.google.com/vertex-ai/pipelines/schedules"
        in err
    )


@pytest.mark.usefixtures("impatient")
def test_a_service_that_cannot_be_reached(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "http://127.0.0.1:9")
    assert submit(remote, bucket) == 1
    assert "Vertex AI failed for 0.5 s" in capsys.readouterr().err


def test_without_an_account(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    assert submit(remote, bucket) == 2
    assert "gcloud auth application-default login" in capsys.readouterr().err


def test_fetch_leaves_what_a_local_run_leaves(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    finished_run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert submit(remote, bucket) == 0
    job = only(server)
    uris = upload_artifacts(
        finished_run,
        bucket,
        lambda task, output, number: f"runs/1/{name_of(job)}/{task}_{number}/{output}",
    )
    job["state"] = "PIPELINE_STATE_SUCCEEDED"
    tasks = [{"taskId": "1", "taskName": "for-loop-1", "state": "SUCCEEDED"}]
    for number, ((task, output), found) in enumerate(uris.items()):
        artifacts = {"artifacts": [{"uri": uri} for uri in found]}
        about = {
            "taskName": task,
            "state": "SKIPPED",
            "parentTaskId": "1",
            "outputs": {output: artifacts},
        }
        tasks.append({"taskId": str(number + 2), **about})
    job["jobDetail"]["taskDetails"] = tasks
    assert main(["fetch", name_of(job)]) == 0
    # The same in Python.
    launcher = vertex.VertexLauncher(place(bucket))
    assert fl.Job(name_of(job), launcher).fetch("fetched").score == fl.open_run("runs/tiny").score
    for name in ("submission.csv", "oof.csv", "folds.csv", "report.html", "data_card.html"):
        assert Path("runs/tiny", name).read_bytes() == (finished_run / name).read_bytes(), name
    assert len(list(Path("runs/tiny/models").rglob("*.keras"))) == 6
    # An incomplete artifact is not accepted as a result.
    from components.storage import objects

    objects.delete(f"{uris[('blend', 'blended')][0]}/oof.csv")
    assert main(["fetch", name_of(job)]) == 1
    assert "oof.csv" in capsys.readouterr().err
    del job["jobDetail"]["taskDetails"]
    assert main(["fetch", name_of(job)]) == 1
    assert "step folds has no output table" in capsys.readouterr().err


def test_a_gan_is_sent_and_fetched(
    bucket: str,
    server: VertexServer,
    finished_gan: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write_gan(tmp_path / "data")
    assert main(["submit", str(file), *flags(bucket), "--tpu=v5e-4"]) == 2
    assert "data.root" in capsys.readouterr().err
    upload(tmp_path / "data", f"{bucket}/data")
    file.write_text(
        file.read_text().replace('source = "pixels"', f'source = "pixels"\nroot = "{bucket}/data"')
    )
    assert main(["submit", str(file), *flags(bucket), "--tpu=v5e-4"]) == 0
    assert "train gan" in capsys.readouterr().out
    job = only(server)
    given = job["runtimeConfig"]["parameterValues"]
    assert given["gan"]["steps"] == 48
    assert given["judge"]["name"] == "judge"
    assert given["train"]["checkpoints"] == f"{bucket}/runs/checkpoints"
    assert job["pipelineSpec"]["pipelineInfo"]["name"] == "gan"
    uris = upload_gan(
        finished_gan, bucket, lambda task, output: f"runs/1/{name_of(job)}/{task}/{output}"
    )
    job["state"] = "PIPELINE_STATE_SUCCEEDED"
    job["jobDetail"]["taskDetails"] = [
        {
            "taskId": str(number),
            "taskName": task,
            "state": "SUCCEEDED",
            "outputs": {output: {"artifacts": [{"uri": uri}]}},
        }
        for number, ((task, output), (uri,)) in enumerate(uris.items(), start=2)
    ]
    assert main(["fetch", name_of(job)]) == 0
    assert "class accuracy" in capsys.readouterr().out
    for name in (
        "gan.html",
        "grid.png",
        "training.gif",
        "generator.keras",
        "metrics.json",
        "samples/samples00-40.tfrec",
    ):
        assert Path("runs/tiny_gan", name).read_bytes() == (finished_gan / name).read_bytes(), name


@pytest.mark.parametrize("status", [400, 403])
def test_an_experiment_that_is_refused_starts_no_run(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    server.fail("POST", "/contexts$", status, google_error(status, "no"))
    assert submit(remote, bucket, "--experiment=first") == 1
    assert "experiment first" in capsys.readouterr().err
    assert server.jobs == {}


def test_a_run_that_gets_into_no_experiment_is_reported_all_the_same(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail(
        "POST",
        ":addContextChildren",
        403,
        denied("aiplatform.contexts.addContextArtifactsAndExecutions"),
    )
    assert submit(remote, bucket, "--experiment=first") == 0
    said = capsys.readouterr()
    assert name_of(only(server)) in said.out
    assert "warning: the run continues, but could not be added to the experiment" in said.err


@pytest.mark.usefixtures("impatient")
def test_a_service_that_fails_while_a_run_is_waited_for(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.fail("GET", "/pipelineJobs/", 500, google_error(500, "broken"))
    assert submit(remote, bucket, "--wait") == 1
    err = capsys.readouterr().err
    assert f"the run continues: `foldline status {name_of(only(server))}`" in err
    assert "Vertex AI failed for" in err


def test_a_cron_that_is_none_is_refused_before_anything_is_asked(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", str(remote.toml), *flags(bucket), "--cron=5 * * *"]) == 2
    assert "must be five fields" in capsys.readouterr().err
    assert server.calls == []


def test_the_second_page_of_a_list_is_asked_for_again(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.page = 1
    assert [submit(remote, bucket) for _ in range(2)] == [0, 0]
    listed, calls = server.listed, iter(range(9))

    def faltering(match: Any, call: Any) -> Any:
        return (503, google_error(503, "later")) if next(calls) == 1 else listed(match, call)

    server.routes[1] = (*server.routes[1][:2], faltering)
    capsys.readouterr()
    assert main(["list", "--project=my-project", "--region=us-central1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_token_that_cannot_be_fetched_for_a_moment(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long wait needs a new token every hour."""
    server.fail("POST", "/token$", 503, {"error": "backend_error"}, times=2)
    assert submit(remote, bucket) == 0
    assert len(server.jobs) == 1


def test_ctrl_c_while_it_is_sent_names_the_run(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiments, "join", interrupted)
    assert submit(remote, bucket, "--experiment=first") == 130
    assert (
        f"the run may have started: `foldline status {name_of(only(server))}`"
        in capsys.readouterr().err
    )


def test_an_artifact_without_a_place_is_no_output(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    job = only(server)
    job["jobDetail"]["taskDetails"] = [
        {
            "taskId": "1",
            "taskName": "plan",
            "state": "SUCCEEDED",
            "outputs": {"x": {"artifacts": [{"name": "a"}]}},
        }
    ]
    assert main(["status", name_of(job)]) == 0
    assert "plan        succeeded" in capsys.readouterr().out


def test_code_of_the_user_s_own_is_warned_of(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    remote.toml.write_text(
        remote.toml.read_text().replace("cnn = {", 'backbone = "mine:net"\n#', 1)
    )
    assert submit(remote, bucket, "--dry-run") == 0
    told = "warning: m0: backbone = 'mine:net': is not part of the project's images: the training"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"target": "mars"}', '{"target": "vertex", "planet": "mars"}']
)
def test_a_remembered_place_that_is_none(
    server: VertexServer, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = Path("runs/tiny/remote/tiny-1.json")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert main(["status", "tiny-1"]) == 2
    assert "tiny-1.json: does not hold the destination of a run" in capsys.readouterr().err


def test_results_of_another_competition_are_not_mixed(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(remote, bucket) == 0
    only(server)["state"] = "PIPELINE_STATE_SUCCEEDED"
    other = remote.folder / "other.toml"
    other.write_text(remote.toml.read_text().replace('name = "tiny"', 'name = "other"'))
    assert main(["fetch", name_of(only(server)), f"--file={other}"]) == 2
    assert "is the file of 'other', but run tiny-" in capsys.readouterr().err
    assert not Path("runs/other").exists()


def test_more_results_than_a_step_may_receive_are_refused(
    remote: Tiny, bucket: str, server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run would train for a day, and then blend could not start."""
    text = remote.toml.read_text().replace("folds_per_task = 3", "folds_per_task = 1")
    first = text.index("[[members]]")
    member = text[first : text.index("[[members]]", first + 1)]
    many = "".join(member.replace('"m0"', f'"x{number}"') for number in range(32))
    remote.toml.write_text(text[:first] + many + text[first:])
    assert submit(remote, bucket) == 2
    assert (
        "102 training jobs, but a step on Vertex AI receives the results of at most 100: set"
        " train.folds_per_task = 2" in capsys.readouterr().err
    )
    assert not server.jobs


@pytest.mark.parametrize(
    ("location", "flag", "status", "words"),
    [
        ("us", "--gpu=L4", 2, "is in several regions (us), and training jobs on accelerators"),
        ("nam4", "--gpu=L4", 2, "is in several regions (nam4)"),
        ("us", "--cpu", 0, ""),
        ("eu", "--cpu", 0, "is in eu, but the run is in us-central1"),
        ("us-central1", "--gpu=L4", 0, ""),
        ("us-east1", "--gpu=L4", 0, "is in us-east1, but the run is in us-central1"),
    ],
)
def test_a_bucket_that_training_jobs_cannot_use(
    remote: Tiny,
    bucket: str,
    server: VertexServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    location: str,
    flag: str,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(vertex, "bucket_location", lambda uri: location)
    assert submit(remote, bucket, flag) == status
    err = capsys.readouterr().err
    assert words in err
    assert bool(server.jobs) is not bool(status)
    assert words or not err


def test_a_missing_metadata_store_is_made(remote: Tiny, bucket: str, server: VertexServer) -> None:
    """A new project has none until something is stored in it."""
    server.fail("POST", "/contexts$", 404, google_error(404, "no metadata store"), times=1)
    assert submit(remote, bucket, "--experiment=first") == 0
    (made,) = server.called("POST", "/metadataStores$")
    assert made.query["metadataStoreId"] == ["default"]
    assert list(server.contexts) == ["first"]
    assert len(server.contexts["first"]) == 1


def test_resources_of_the_project_are_those_of_the_run_as_well(
    remote: Tiny, bucket: str, server: VertexServer
) -> None:
    """Plain steps have the run's network and key; custom jobs have their own."""
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    network = "projects/1/global/networks/n"
    text = remote.toml.read_text()
    remote.toml.write_text(f'{text}\n[vertex]\nnetwork = "{network}"\nencryption_key = "{key}"\n')
    assert submit(remote, bucket) == 0
    (job,) = server.jobs.values()
    assert (job["network"], job["encryptionSpec"]) == (network, {"kmsKeyName": key})
    attachment = "projects/p/regions/us-central1/networkAttachments/a"
    remote.toml.write_text(f'{text}\n[vertex]\nnetwork_attachment = "{attachment}"\n')
    server.jobs.clear()
    assert submit(remote, bucket) == 0
    (job,) = server.jobs.values()
    assert job["pscInterfaceConfig"] == {"networkAttachment": attachment}
    assert "network" not in job
