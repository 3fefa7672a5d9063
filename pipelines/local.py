"""Run the k-fold pipeline on this machine: compiled to YAML, then run from the YAML by kfp's local runner.

The runner works in a child process: it patches `print` and the root logger of the process it is in, and it prints for
machines. Its output goes to a log; what a person sees comes from the steps' own events (trainer/progress.py).
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines import fingerprint
from trainer.accelerator import THREADS_VARIABLE
from trainer.competition import Competition
from trainer.errors import RunError
from trainer.manifest import write_json
from trainer.progress import EVENTS_VARIABLE, LAUNCHER_VARIABLE, follow_launcher, tell

PIPELINE_ROOT = "pipeline_root"
LOG = "run.log"
YAML = "kfold.yaml"
# kfp's local runner starts at most this many iterations of a loop side by side.
_PARALLEL_TASKS = 2
_CACHE_HIT = re.compile(r"Task (\S+) cache hit")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

Event = dict[str, Any]


def run(competition: Competition, out: Path, on_event: Callable[[Event], None]) -> dict[str, Path]:
    """Run the pipeline, or what of it has not been run before, with its root under `out`.

    Args:
        competition: checked.
        out: the run's folder; the pipeline root, the log and the cache live in a folder of it.
        on_event: called with each event as it comes, in this thread.

    Returns:
        where each output of the pipeline is, and `kfold.yaml`.

    Raises:
        RunError: a step failed, or another run uses `out`.
        KeyboardInterrupt: after every process of the run has been ended.
    """
    root = out / PIPELINE_ROOT
    root.mkdir(parents=True, exist_ok=True)
    with _only_run_in(out), _ended_by_sigterm():
        events, outputs = root / "events.jsonl", root / "outputs.json"
        for stale in (events, outputs):
            stale.unlink(missing_ok=True)
        events.touch()
        request = {
            "arguments": {
                **competition.pipeline_arguments(),
                "source_digest": fingerprint.files([competition.data.train, competition.data.test]),
                "sample_digest": fingerprint.files([competition.submission.sample]),
            },
            "root": str(root.resolve()),
        }
        write_json(root / "request.json", request)
        tasks = len(competition.members) * -(-competition.folds.count // competition.train.folds_per_task)
        threads = max(1, (os.cpu_count() or 1) // min(tasks, _PARALLEL_TASKS))
        environment = {
            **os.environ,
            EVENTS_VARIABLE: str(events.resolve()),
            LAUNCHER_VARIABLE: str(os.getpid()),
            # A thread count that the user set for TensorFlow's tasks is kept.
            THREADS_VARIABLE: os.environ.get(THREADS_VARIABLE, str(threads)),
            "PYTHONUNBUFFERED": "1",
        }
        with open(root / LOG, "wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "pipelines.local", str(root / "request.json")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            failed = _follow(child, events, on_event)
        if child.returncode != 0 or not outputs.is_file():
            raise failed or RunError("pipeline", "the local runner ended without a result", _tail(root / LOG))
        return {name: Path(path) for name, path in json.loads(outputs.read_text(encoding="utf-8")).items()}


def _follow(child: subprocess.Popen[bytes], events: Path, on_event: Callable[[Event], None]) -> RunError | None:
    """Hand on the events until the child has ended; the first error among them, or what can be said of a silent death."""
    failed: RunError | None = None
    running: dict[int, str] = {}
    try:
        with open(events, "rb") as stream:
            while True:
                ended = child.poll() is not None
                while (line := stream.readline()).endswith(b"\n"):
                    event = json.loads(line)
                    if event["event"] == "start":
                        running[event["pid"]] = event["step"]
                    elif event["event"] in ("done", "error"):
                        running.pop(event["pid"], None)
                    if event["event"] == "error" and failed is None:
                        failed = RunError(event["step"], event["message"], event["tail"])
                    on_event(event)
                stream.seek(-len(line), os.SEEK_CUR)
                if ended:
                    break
                time.sleep(0.1)
    finally:
        _end(child)
    if failed is None and child.returncode != 0 and running:
        # Killed from outside, as by a machine that ran out of memory: the step could say nothing itself.
        step = next(iter(running.values()))
        failed = RunError(step, "its process was killed (out of memory?)", _tail(events.parent / LOG))
    return failed


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and everything it started: they share a process group of their own."""
    for signal_number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=patience)
            if signal_number == signal.SIGKILL:
                return


def _tail(log: Path, lines: int = 15) -> list[str]:
    text = _ANSI.sub("", log.read_text(encoding="utf-8", errors="replace"))
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


@contextlib.contextmanager
def _only_run_in(out: Path) -> Iterator[None]:
    with open(out / PIPELINE_ROOT / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError("start", f"another run is working in {out}: wait for it, or choose another --out") from None
        yield


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """A polite kill ends a run as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def child_main(request_path: str) -> None:
    """The child: compile, run, and write down where the outputs are."""
    follow_launcher()
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    root = Path(request["root"])
    from kfp import local
    from kfp.components import load_component_from_file

    from pipelines.compile import compile_kfold
    from pipelines.kfold import STEPS

    yaml = compile_kfold(root / YAML, fingerprint.code(STEPS))
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addFilter(_tell_reuse)
    # kfp replaces the text "python3" in whatever a task is given, paths of the user's included, by the interpreter's path.
    # Naming it python3 and putting its folder first in PATH makes that replacement change nothing.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    sys.executable = "python3"
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        enable_caching=True,
    )
    outputs = load_component_from_file(str(yaml))(**request["arguments"]).outputs
    write_json(root / "outputs.json", {"yaml": str(yaml), **{name: artifact.path for name, artifact in outputs.items()}})


def _tell_reuse(record: logging.LogRecord) -> bool:
    if match := _CACHE_HIT.match(record.getMessage()):
        tell("reused", match[1], "reused: nothing it depends on has changed")
    return True


if __name__ == "__main__":
    child_main(sys.argv[1])
