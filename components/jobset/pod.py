"""A pod of the JobSet: brings a step's inputs, runs it, and stores its outputs.

In a task's own pod, Kubeflow Pipelines does that; see `components.jobset.launch`.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.storage import folders, objects
from trainer.errors import IntegrityError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_USELESS = "the step that launched this pod has ended: this pod ends as well"
# Seconds between two looks at the step that launched this pod.
_WATCH = 30.0


@dataclass(frozen=True)
class Outputs:
    """Where a step's outputs go.

    Attributes:
        artifacts: the URIs of its output artifacts.
        file: the file in which kfp's executor describes them.
        uri: where this project keeps a copy of that file; "" if the step has no artifact.
    """

    artifacts: tuple[str, ...]
    file: Path
    uri: str

    @classmethod
    def of(cls, command: Sequence[str]) -> "Outputs":
        """The outputs that the executor input of a step's command names."""
        outputs = _executor_input(command).get("outputs", {})
        uris = tuple(_uris(outputs))
        folder = uris[0].rpartition("/")[0] if uris else ""
        return cls(uris, Path(outputs["outputFile"]), f"{folder}/executor.json" if folder else "")


def run(command: Sequence[str], seconds: float, launcher_ended: Callable[[], bool]) -> int:
    """Run a step in this pod.

    Args:
        command: its command, with the executor input.
        seconds: how long it may work.
        launcher_ended: returns whether the step that launched this pod has ended: then this pod is
            useless.

    Returns:
        its exit status; 1, which asks for no restart, if its launcher has ended or its time is
        over.
    """
    if launcher_ended():
        print(_USELESS, flush=True)
        return 1
    for uri in _uris(_executor_input(command).get("inputs", {})):
        _bring(uri)
    outputs = Outputs.of(command)
    child = subprocess.Popen(command)
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    useless = threading.Event()
    watch = threading.Thread(target=_watch, args=(child, launcher_ended, useless), daemon=True)
    watch.start()
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        print(f"machine.hours = {seconds / 3600:g} are over: this pod ends", flush=True)
        useless.set()
        child.terminate()
        child.wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    if useless.is_set():
        return 1
    # The first host writes the results of all.
    if status == 0 and os.environ.get("JOB_COMPLETION_INDEX", "0") == "0":
        for uri in outputs.artifacts:
            _store(uri)
        if outputs.uri and outputs.file.is_file():
            objects.put(outputs.file, outputs.uri)
    return status if status >= 0 else 128 - status


def local(uri: str) -> Path:
    """The path at which kfp's executor reads or writes an artifact."""
    return Path(objects.MOUNT) / uri.removeprefix("gs://")


def _bring(uri: str) -> None:
    """Download an artifact, a file or a folder."""
    inside = objects.listing(f"{uri}/")
    if inside:
        folders.fetch(inside, uri, local(uri))
        return
    path = local(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A step need not write all of its outputs.
    found = [entry for entry in objects.listing(uri) if entry.uri == uri]
    if not found:
        raise IntegrityError(f"{uri}: no such object or folder: the step before did not write it")
    folders.fetch(found, uri.rpartition("/")[0], path.parent)


def _store(uri: str) -> None:
    """Upload an artifact, a file or a folder; one that was not written is left out."""
    path = local(uri)
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file():
                objects.put(file, f"{uri}/{file.relative_to(path).as_posix()}")
    elif path.exists():
        objects.put(path, uri)


def _executor_input(command: Sequence[str]) -> dict[str, Any]:
    position = list(command).index("--executor_input")
    found: dict[str, Any] = json.loads(command[position + 1])
    return found


def _uris(side: dict[str, Any]) -> list[str]:
    """The URIs of the artifacts on one side of an executor input."""
    return [
        artifact["uri"]
        for entry in side.get("artifacts", {}).values()
        for artifact in entry["artifacts"]
    ]


def _watch(
    child: "subprocess.Popen[bytes]", launcher_ended: Callable[[], bool], useless: threading.Event
) -> None:
    while child.poll() is None:
        time.sleep(_WATCH)
        if launcher_ended():
            print(_USELESS, flush=True)
            useless.set()
            child.terminate()
            return


def pod_has_ended(name: str) -> bool:
    """Whether a pod of this namespace has ended, or is gone; False if the server does not say."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        return False
    namespace = (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"https://{host}:{port}/api/v1/namespaces/{namespace}/pods/{name}"
    token = (_ACCOUNT / "token").read_text(encoding="utf-8").strip()
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            phase = json.load(answer).get("status", {}).get("phase")
    except urllib.error.HTTPError as error:
        # It holds the connection.
        error.close()
        return error.code == 404
    except OSError:
        return False
    return phase in ("Succeeded", "Failed")


def main(arguments: list[str]) -> int:
    """Run a step in this pod: LAUNCHER SECONDS -- COMMAND…; returns its exit status."""
    launcher, seconds, separator, *command = arguments
    assert separator == "--"
    return run(command, float(seconds), lambda: pod_has_ended(launcher))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
