"""`foldline schedules` on services that are on this machine, by their own clients."""

import pytest

from pipelines.cli.main import main
from tests.pipelines.remote.test_kubeflow import IMAGES
from tests.pipelines.remote.test_kubeflow import server as kfp_server
from tests.pipelines.remote.test_vertex import flags, private_key
from tests.pipelines.remote.test_vertex import server as vertex_server
from tests.support.servers.loopback import KfpServer, VertexServer
from tests.support.tiny import Tiny, in_bucket

__all__ = ["kfp_server", "private_key", "vertex_server"]
PLACE = ["--project=my-project", "--region=us-central1"]


def test_on_vertex_ai(
    tiny: Tiny, bucket: str, vertex_server: VertexServer, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = in_bucket(tiny, bucket)
    assert main(["schedules", *PLACE]) == 0
    assert capsys.readouterr().err == "no schedule\n"
    assert main(["schedule", str(remote.toml), *flags(bucket), "--cron=0 5 * * 1"]) == 0
    vertex_server.schedules.append({"name": "x/schedules/7", "displayName": "of somebody else"})
    capsys.readouterr()
    assert main(["schedules", *PLACE]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split() == [
        *["1", "active", "0", "5", "*", "*", "1", "tiny"],
        *["next", "2026-12-07T05:00:00+00:00"],
    ]
    for action, state in (("pause", "paused"), ("resume", "active")):
        assert main(["schedules", action, "1", *PLACE]) == 0
        assert main(["schedules", *PLACE]) == 0
        assert f"1{' ' * 37}{state}" in capsys.readouterr().out
    assert main(["schedules", "delete", "1", *PLACE]) == 0
    assert [one["name"] for one in vertex_server.schedules] == ["x/schedules/7"]
    assert main(["schedules", "delete", "1", *PLACE]) == 1
    assert "schedule 1: not found in my-project, us-central1" in capsys.readouterr().err


def test_on_a_kubeflow_server(
    tiny: Tiny, bucket: str, kfp_server: KfpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = in_bucket(tiny, bucket)
    command = ["schedule", str(remote.toml), "--target=kfp", f"--bucket={bucket}/runs", *IMAGES]
    assert main([*command, "--cron=0 5 * * 1"]) == 0
    capsys.readouterr()
    assert main(["schedules", "--target=kfp"]) == 0
    name, *rest = capsys.readouterr().out.split()
    assert rest == ["active", "0", "0", "5", "*", "*", "1", "tiny"]
    assert main(["schedules", "pause", name, "--target=kfp"]) == 0
    assert kfp_server.recurring[0]["status"] == "DISABLED"
    assert main(["schedules", "resume", name, "--target=kfp"]) == 0
    assert kfp_server.recurring[0]["status"] == "ENABLED"
    assert main(["schedules", "delete", name, "--target=kfp"]) == 0
    assert kfp_server.recurring == []
    assert main(["schedules", "pause", name, "--target=kfp"]) == 1
    assert f"schedule {name}: not found" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["pause"], ["list", "1"]])
def test_a_name_is_for_a_change(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedules", *words, *PLACE]) == 2
    assert f"foldline schedules {words[0]}: " in capsys.readouterr().err
