"""Steps as kfp starts them, from a server that this test starts."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.local import step_client, step_server

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="steps are forked on Linux only"
)
COMPONENT = """
import os, signal, sys, time

def tells():
    told = [os.getcwd(), os.environ["WORD"], os.getpid(), os.getppid(), "cv2" in sys.modules]
    print("told", *told, flush=True)

def fails():
    raise ValueError("in its own words")

def dies():
    os.kill(os.getpid(), signal.SIGKILL)

def waits():
    def stop(*_):
        print("stopped", flush=True)
        sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    print("waiting", flush=True)
    time.sleep(60)

def train():
    tells()

def check():
    tells()
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("it's a folder") / "bin"
    with step_server.serving(folder, ["train", "train-gan"]) as found:
        assert found == folder
        yield folder / "python3"


def executor(command: Path, function: str, folder: Path) -> list[str]:
    module = folder / "component.py"
    module.write_text(COMPONENT)
    inputs: dict[str, Any] = {
        "inputs": {"parameterValues": {}},
        "outputs": {"outputFile": str(folder / "outputs.json")},
    }
    return [
        str(command),
        "-m",
        step_client.MODULE,
        "--component_module_path",
        str(module),
        "--executor_input",
        json.dumps(inputs),
        "--function_to_execute",
        function,
    ]


def start(arguments: list[str], folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, "WORD": "of this step", "_KFP_RUNTIME": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def told(command: Path, function: str, folder: Path) -> tuple[int, str, int, int, bool]:
    step = start(executor(command, function, folder), folder)
    out, _ = step.communicate(timeout=60)
    assert step.returncode == 0, out
    (line,) = (line for line in out.splitlines() if line.startswith("told "))
    words = line.removeprefix(f"told {folder} of this step ").split()
    return step.pid, line, int(words[0]), int(words[1]), words[2] == "True"


def test_a_step_is_forked_with_its_own_folder_variables_and_output(
    command: Path, tmp_path: Path
) -> None:
    first = told(command, "tells", tmp_path)
    deadline = time.monotonic() + 60
    while not (last := told(command, "tells", tmp_path))[4]:
        assert time.monotonic() < deadline, "the server has not imported cv2"
    # The same process forks all of them; none is the process that kfp started.
    assert first[3] == last[3]
    assert last[2] not in (last[0], first[2])


def test_where_a_run_was_before_nothing_is_imported_until_a_step_is_not_reused(
    tmp_path: Path,
) -> None:
    with step_server.serving(tmp_path / "bin", ["train"], again=True) as folder:
        assert folder is not None
        # Long enough for the server to have imported much, if it did.
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert not told(folder / "python3", "check", tmp_path)[4]
        deadline = time.monotonic() + 60
        while not told(folder / "python3", "tells", tmp_path)[4]:
            assert time.monotonic() < deadline, "the server has not imported cv2"


def test_a_repeated_run_that_trains_again_has_its_later_steps_ready(tmp_path: Path) -> None:
    with step_server.serving(tmp_path / "bin", ["train"], again=True) as folder:
        assert folder is not None
        told(folder / "python3", "train", tmp_path)
        deadline = time.monotonic() + 60
        while not told(folder / "python3", "check", tmp_path)[4]:
            assert time.monotonic() < deadline, "the server has not imported cv2"


def test_training_has_an_interpreter_of_its_own(command: Path, tmp_path: Path) -> None:
    started, _, pid, parent, has_cv2 = told(command, "train", tmp_path)
    assert (pid, parent, has_cv2) == (started, os.getpid(), False)


def test_what_is_no_step_runs_as_ever(command: Path) -> None:
    done = subprocess.run(
        [command, "-c", "import sys; print(sys.prefix); sys.exit(3)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (3, sys.prefix)


@pytest.mark.parametrize(
    ("function", "status", "text"),
    [("fails", 1, "ValueError: in its own words"), ("dies", 137, "")],
)
def test_a_step_that_fails_or_is_killed(
    function: str, status: int, text: str, command: Path, tmp_path: Path
) -> None:
    step = start(executor(command, function, tmp_path), tmp_path)
    out, _ = step.communicate(timeout=60)
    assert step.returncode == status
    assert text in out


def test_a_signal_reaches_the_step(command: Path, tmp_path: Path) -> None:
    step = start(executor(command, "waits", tmp_path), tmp_path)
    assert step.stdout is not None
    while "waiting" not in step.stdout.readline():
        assert step.poll() is None
    step.send_signal(signal.SIGTERM)
    out, _ = step.communicate(timeout=60)
    assert (step.returncode, "stopped" in out) == (75, True)


@pytest.mark.parametrize("sent", [b"", b"\0\0", b"\0\0\0\7", b"\0\0\0\2{}"])
def test_a_client_that_ends_too_early_harms_nobody(
    sent: bytes, command: Path, tmp_path: Path
) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("\0" + command.read_text().split()[-3])
    if sent:
        socket.send_fds(connection, [sent], [0, 1, 2])
    connection.close()
    assert told(command, "tells", tmp_path)[1].startswith("told")


def test_a_server_that_is_killed_ends_the_step_that_it_runs_and_no_other(tmp_path: Path) -> None:
    with step_server.serving(tmp_path / "bin", []) as folder:
        assert folder is not None
        step = start(executor(folder / "python3", "waits", tmp_path), tmp_path)
        assert step.stdout is not None
        while "waiting" not in step.stdout.readline():
            assert step.poll() is None
        os.kill(max(_servers()), signal.SIGKILL)
        out, _ = step.communicate(timeout=60)
        assert step.returncode == 1
        assert "stopped" in out
        assert "copied from was killed" in out
        started, _, pid, parent, _ = told(folder / "python3", "tells", tmp_path)
        assert (pid, parent) == (started, os.getpid())


def _servers() -> list[int]:
    """Return the ids of the servers that this process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, parent = (
                path.read_text().split()[0],
                path.read_text().rpartition(")")[2].split()[1],
            )
            line = path.with_name("cmdline").read_bytes()
            if int(parent) == os.getpid() and b"step_server" in line:
                found.append(int(pid))
    return found


def test_a_step_shows_no_warning_of_its_start(command: Path, tmp_path: Path) -> None:
    step = start(executor(command, "tells", tmp_path), tmp_path)
    out, _ = step.communicate(timeout=60)
    assert "RuntimeWarning" not in out


def test_without_a_server_a_step_runs_all_the_same(tmp_path: Path) -> None:
    with step_server.serving(tmp_path / "bin", []) as folder:
        assert folder is not None
    started, _, pid, parent, _ = told(folder / "python3", "tells", tmp_path)
    assert (pid, parent) == (started, os.getpid())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_gets_no_process_of_ours(command: Path, tmp_path: Path) -> None:
    address = command.read_text().split()[-3]
    code = f"""
import os, socket
os.setuid(65534)
connection = socket.socket(socket.AF_UNIX)
connection.connect("\\0{address}")
socket.send_fds(connection, [b"\\0\\0\\0\\2"], [0, 1, 2])
connection.sendall(b"{{}}")
print(connection.recv(4))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        done.stdout == "b''\n"
        or "ConnectionResetError" in done.stderr
        or ("BrokenPipeError" in done.stderr)
    )
    assert told(command, "tells", tmp_path)[1].startswith("told")
