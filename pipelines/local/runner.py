"""Runs a pipeline on this machine: compiles it to YAML and runs the YAML with kfp's local runner.

The runner works in a child process, because it patches `print` and the root logger of its process.
Its output goes to a log; the user sees the events of the steps (trainer/events.py).
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components import class_list
from pipelines.definitions import fingerprint, registry
from pipelines.local import containers, step_server
from pipelines.targets import machines
from trainer import runtime
from trainer.artifacts.manifest import write_json
from trainer.backends.hardware import found
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import CompetitionError, RunError
from trainer.events import emit, follow_launcher

PIPELINE_ROOT = "pipeline_root"
LOG = "run.log"
_LOCK = ".lock"
_FAILED_TASK = re.compile(r"Inner task failed: '([^']+)'")
_CACHE_HIT = re.compile(r"Task (\S+) cache hit")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

Event = dict[str, Any]


@contextlib.contextmanager
def hold(out: Path) -> Iterator[None]:
    """Lock the folder `out` for this run, and treat SIGTERM as Ctrl-C inside the block.

    Args:
        out: the run's folder; created if it does not exist.

    Raises:
        CompetitionError: the folder cannot be created or written to.
        RunError: another run uses the folder.
    """
    root = out / PIPELINE_ROOT
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / _LOCK, "wb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise CompetitionError(
            f"--out {out}: cannot be created or written to: {error.strerror}"
        ) from None

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                "start",
                f"another run uses {out}: wait until it ends (one that was killed needs some"
                " seconds), or choose another --out",
            ) from None
        if threading.current_thread() is not threading.main_thread():
            yield  # Python lets only the main thread handle signals
            return
        previous_handler = signal.signal(signal.SIGTERM, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, previous_handler)


def run(
    competition: Competition | Gan,
    out: Path,
    on_event: Callable[[Event], None],
    *,
    in_containers: bool = False,
) -> dict[str, Path]:
    """Run the pipeline inside `hold(out)`; finished steps of an earlier run in `out` are reused.

    Args:
        competition: as loaded, and checked.
        out: the run's folder; its subfolder pipeline_root gets artifacts, log and cache.
        on_event: called with each event as it comes, in this thread.
        in_containers: run every step in its own container, from the images that `make images`
            builds.

    Returns:
        the path of each pipeline output, and `yaml`, that of the compiled pipeline.

    Raises:
        CompetitionError: FOLDLINE_THREADS is not a whole number from 1 to 1024, or the file's
            settings are too long for the command line of a step.
        RunError: there is no Docker engine or no image of this code; or a step failed.
        KeyboardInterrupt: the run was interrupted; all its processes have ended.
    """
    root = (out / PIPELINE_ROOT).resolve()
    events, outputs = root / "events.jsonl", root / "outputs.json"
    for stale in (events, outputs):
        stale.unlink(missing_ok=True)
    events.touch()
    request: dict[str, Any] = {
        "kind": registry.of(competition),
        "arguments": {
            **class_list.shortened(
                competition.pipeline_arguments(), str(root), class_list.write_locally
            ),
            "root": "",
        },
        "root": str(root),
        "threads": _threads(
            side_by_side=_jobs(competition) if in_containers else _working_jobs(competition)
        ),
    }
    ours = {
        runtime.EVENTS: str(events),
        runtime.WORK: str(root / "work"),
        runtime.COMPILED: str(root / "compiled"),
        runtime.LAUNCHER: str(root / _LOCK),
    }
    if in_containers:
        containers.check_images()
        request["docker"] = containers.request(competition, root, ours)
    else:  # containers see no accelerator
        ours[runtime.JOBS] = str(_jobs(competition))
    write_json(root / "request.json", request)
    environment = {**os.environ, **runtime.child_environment(), **ours}
    with open(root / LOG, "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local.runner", str(root / "request.json")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        failed = _follow(child, events, on_event)
    if failed or child.returncode != 0 or not outputs.is_file():
        raise failed or _unexplained(root / LOG)
    # Work that was started but never resumed, for example because the data changed.
    shutil.rmtree(root / "work", ignore_errors=True)
    return {
        name: Path(path) for name, path in json.loads(outputs.read_text(encoding="utf-8")).items()
    }


def _jobs(file: Competition | Gan) -> int:
    """How many training jobs kfp starts side by side.

    A GAN's pipeline trains the judge and the GAN one after the other.
    """
    return 2 if isinstance(file, Competition) else 1


def _working_jobs(file: Competition | Gan) -> int:
    """How many of these jobs work at the same time: those that wait for a device need no cores."""
    hardware = found()
    most = {"cpu": _jobs(file), "gpu": len(hardware.ids), "tpu": 1}[hardware.kind]
    return min(_jobs(file), most)


def _threads(*, side_by_side: int) -> int:
    """The number of threads of a training job: the cores, divided by the jobs that run in parallel.

    It decides the last bits of the results, so it must not depend on how the folds are split into
    training jobs. FOLDLINE_THREADS overrides it.

    Args:
        side_by_side: how many training jobs work in parallel.

    Raises:
        CompetitionError: FOLDLINE_THREADS is not a whole number from 1 to 1024.
    """
    value = os.environ.get(runtime.THREADS)
    if value is None:
        return max(1, (os.cpu_count() or 1) // side_by_side)
    if not value.isdecimal() or not 1 <= int(value) <= 1024:
        raise CompetitionError(
            f"{runtime.THREADS} = {value!r}: must be a whole number from 1 to 1024"
        )
    return int(value)


def _follow(
    child: subprocess.Popen[bytes], events: Path, on_event: Callable[[Event], None]
) -> RunError | None:
    """Pass the events on until the child has ended.

    Returns:
        the first error among the events, or an error for a step that was killed; None if there is
        neither.
    """
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
    except KeyboardInterrupt:
        text = "stopping: a training job writes a checkpoint first"
        on_event({"event": "stopping", "step": "run", "pid": os.getpid(), "text": text})
        raise
    finally:
        _end(child)
    if failed is None and child.returncode != 0 and running:
        # Killed from outside, for example because memory ran out: the step could not report it.
        step = next(iter(running.values()))
        failed = RunError(
            step, "its process was killed (out of memory?)", _tail(_read_log(events.parent / LOG))
        )
    return failed


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and all processes that it started: they share a process group."""
    for signal_number, patience in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + patience
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal_number)
            # Wait for all processes: a training job writes a checkpoint before it ends.
            while time.monotonic() < until:
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(0.05)
    child.wait()


def _tail(text: str, lines: int = 15) -> list[str]:
    """The last lines that are not blank."""
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def _read_log(log: Path) -> str:
    return _ANSI.sub("", log.read_text(encoding="utf-8", errors="replace"))


def _unexplained(log: Path) -> RunError:
    """The error of a run that failed without an error event, so outside of the steps' own code."""
    text = _read_log(log)
    # The lines of steps are indented. A traceback that is not indented comes from the local runner,
    # and only tells which step failed.
    text, _, traceback = text.partition("\nTraceback (most recent call last):")
    failed = _FAILED_TASK.search(traceback)
    if failed is None:
        return RunError("pipeline", "the local runner failed", _tail(text + traceback))
    return RunError(failed[1], "it could not start", _tail(text))


def child_main(request_path: str) -> None:
    """The child process: compile and run the pipeline, and write the paths of its outputs.

    Args:
        request_path: the request, a JSON file that `run` writes.
    """
    follow_launcher()
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    root = Path(request["root"])
    with contextlib.ExitStack() as ending:
        # Before kfp is imported: the server imports what the steps need at the same time.
        folders = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        if "docker" not in request:
            again = any(root.glob("*.yaml"))
            serving = step_server.serving(root / "bin", machines.TRAINING, again=again)
            steps = ending.enter_context(serving)
            folders[:0] = [str(steps)] if steps else []
        # kfp replaces the text "python3" in all arguments of a step, even in the user's paths, with
        # the interpreter's path. If that path is "python3", found first in PATH, nothing changes.
        os.environ["PATH"] = os.pathsep.join(folders)
        sys.executable = "python3"
        _run_pipeline(request, root)


def _run_pipeline(request: Mapping[str, Any], root: Path) -> None:
    from kfp import local
    from kfp.components import load_component_from_file

    from pipelines.definitions.compilation import TARGETS, compile_pipeline
    from pipelines.targets.base import Target

    kind = request["kind"]
    environment = {
        step: {runtime.CODE: digest}
        for step, digest in fingerprint.code(registry.wiring(kind).STEPS).items()
    }
    for step in environment.keys() & set(machines.TRAINING):
        environment[step][runtime.THREADS] = str(request["threads"])
    if "docker" in request:
        for variables in environment.values():
            variables.update(request["docker"]["environment"])
    yaml = compile_pipeline(
        root / f"{kind}{TARGETS['local']}",
        kind,
        request["arguments"],
        Target(environment=environment),
    )
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addFilter(_report_reuse)
    local.init(
        runner=(
            containers.runner(request["docker"])
            if "docker" in request
            else local.SubprocessRunner(use_venv=False)
        ),
        pipeline_root=str(root),
        enable_caching=True,
    )
    outputs = load_component_from_file(str(yaml))(**request["arguments"]).outputs
    write_json(
        root / "outputs.json",
        {"yaml": str(yaml), **{name: artifact.path for name, artifact in outputs.items()}},
    )


def _report_reuse(record: logging.LogRecord) -> bool:
    """Emit an event for kfp's log record of a reused step; drops no record."""
    if match := _CACHE_HIT.match(record.getMessage()):
        emit("reused", match[1], "reused: nothing it depends on has changed")
    return True


if __name__ == "__main__":
    child_main(sys.argv[1])
