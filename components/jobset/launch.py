"""The light step that runs a training step as a JobSet: `python -m components.jobset.launch`.

It creates the JobSet, waits until it has finished, and shows the end of its log. If this process is
stopped, it deletes the JobSet.
"""

import contextlib
import hashlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from components.jobset import pod
from components.jobset.cluster import Cluster, explained
from components.jobset.manifest import POD_LABEL, Request, manifest
from components.storage import objects
from trainer.errors import TrainingError
from trainer.events import emit, step_scope

# Seconds between two looks at the JobSet; tests shorten it.
POLL = 5.0
# Seconds after which pods that do not start are looked at.
PATIENCE = 60.0


class Stopped(BaseException):
    """The process received SIGTERM."""


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


def main(arguments: list[str]) -> None:
    """Launch the JobSet: REQUEST -- COMMAND…

    Args:
        arguments: the request as text, `--`, and the training step's command.
    """
    text, separator, *command = arguments
    assert separator == "--"
    with step_scope("train"), explained():
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
