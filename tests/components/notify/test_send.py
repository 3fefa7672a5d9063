"""The message to a webhook, on a server on this machine."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from components.notify.component import notify
from components.notify.send import send_failure
from tests.support.servers.loopback import Call, Server
from trainer import runtime
from trainer.errors import CompetitionError, RemoteError


class Webhook(Server):
    def __init__(self) -> None:
        super().__init__()
        self.routes = [("POST", "/hook", self.posted)]

    def posted(self, match: Any, call: Call) -> tuple[int, Any]:
        return 200, {}


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook() as found:
        assert isinstance(found, Webhook)
        monkeypatch.setenv(runtime.NOTIFY, f"{found.url}/hook")
        yield found


def test_a_failed_run_is_posted(webhook: Webhook) -> None:
    assert send_failure("digits", state="FAILED", run="runs/1", message="step train: " + "x" * 5000)
    (call,) = webhook.calls
    assert call.headers["content-type"].startswith("application/json")
    text = call.body["text"]
    assert text.startswith("Foldline: digits ended as failed: runs/1\nstep train: xxx")
    assert len(text) < 1100


@pytest.mark.parametrize("state", ["SUCCEEDED", "COMPLETE", "CACHED"])
def test_a_run_that_succeeded_is_not(webhook: Webhook, state: str) -> None:
    assert not send_failure("digits", state=state, run="runs/1", message="")
    assert webhook.calls == []


def test_a_server_that_does_not_know_says_so(webhook: Webhook) -> None:
    """kubeflow/pipelines#13321: a run with a loop counts as running in its last step."""
    assert send_failure("digits", state="RUNNING", run="runs/1", message="")
    assert "digits ended, the server does not say how: runs/1" in webhook.calls[0].body["text"]


def test_the_step_posts_what_kfp_tells_it(webhook: Webhook) -> None:
    status = SimpleNamespace(
        state="CANCELLED", pipeline_job_resource_name="runs/2", error_message=None
    )
    notify.python_func(status=status, title="digits")
    assert webhook.calls[0].body == {"text": "Foldline: digits ended as cancelled: runs/2"}


def test_a_webhook_that_refuses_or_is_none(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook.fail("POST", "/hook", 403, {"error": "no"})
    with pytest.raises(RemoteError, match="refuses the message: 403") as found:
        send_failure("digits", state="FAILED", run="runs/1", message="")
    # Whoever has the address can post.
    assert webhook.url not in str(found.value)
    monkeypatch.setenv(runtime.NOTIFY, "http://127.0.0.1:9/hook")
    with pytest.raises(RemoteError, match="cannot be reached"):
        send_failure("digits", state="FAILED", run="runs/1", message="")
    for address in ("", "hook.example.com"):
        monkeypatch.setenv(runtime.NOTIFY, address)
        with pytest.raises(CompetitionError, match="must be the address of a webhook"):
            send_failure("digits", state="FAILED", run="runs/1", message="")
