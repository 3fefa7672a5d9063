"""Posts a message to a webhook, as Slack, Google Chat and Mattermost take it."""

import json
import os
import urllib.error
import urllib.request

from trainer import runtime
from trainer.errors import CompetitionError, RemoteError
from trainer.events import emit

# Characters of the service's own message that are sent, and seconds that the webhook may take.
_LONGEST, _PATIENCE = 1000, 30
# How services say that a run succeeded. Kubeflow Pipelines 2.16 leaves RUNNING if there is a loop
# (kubeflow/pipelines#13321).
_GOOD, _OPEN = ("SUCCEEDED", "COMPLETE", "CACHED"), "RUNNING"


def send_failure(title: str, *, state: str, run: str, message: str) -> bool:
    """Post a message about a run that did not succeed.

    Args:
        title: the name of the competition.
        state: how the run ended, in the service's words.
        run: its name there.
        message: the service's message; "" for none.

    Returns:
        whether a message was posted: nothing is, for a run that succeeded.

    Raises:
        CompetitionError: there is no address of a webhook.
        RemoteError: the webhook refuses the message or cannot be reached.
    """
    if state in _GOOD:
        return False
    address = os.environ.get(runtime.NOTIFY, "")
    if not address.startswith(("https://", "http://")):
        raise CompetitionError(
            f"{runtime.NOTIFY}: must be the address of a webhook, from the key `url` of the secret"
            " that --notify names"
        )
    how = "ended, the server does not say how" if state == _OPEN else f"ended as {state.lower()}"
    text = f"Foldline: {title} {how}: {run}"
    if message:
        text += f"\n{message[:_LONGEST]}"
    request = urllib.request.Request(
        address,
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    # The address is a secret: whoever has it can post.
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except urllib.error.HTTPError as error:
        # It holds the connection.
        error.close()
        raise RemoteError(f"the webhook refuses the message: {error.code} {error.reason}") from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise RemoteError(f"the webhook cannot be reached: {reason}") from None
    emit("note", "notify", "posted to the webhook")
    return True
