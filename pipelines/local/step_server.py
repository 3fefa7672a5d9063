"""The process that the light steps of a local run are forked from.

A step spends most of its time on imports: kfp, pandas, scikit-learn, matplotlib. This process
imports them once, while the first steps run, and each step is a copy of it. Linux only.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import secrets
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.local import step_client

# In the order in which the steps need them. Some start threads of OpenBLAS, which starts them again
# in a copy.
_PRELOADED = (
    step_client.MODULE,
    "components.check.resolve",
    "numpy",
    "cv2",
    "pandas",
    "pyarrow.parquet",
    "components.records.convert",
    "components.records.merge",
    "components.training.plan",
    "components.folds.make_folds",
    "components.statistics.summary",
    "components.statistics.card",
    "sklearn.metrics",
    "components.blending.blend",
    "components.submission.write",
    "components.report.write",
)
_PLOTS = "matplotlib.backends.backend_svg"
# They run each time, and need little.
_CHECKS = {"check", "check_gan"}
# Seconds for a client to send its request, and for the server to end.
_PATIENCE = 10.0


@contextlib.contextmanager
def serving(folder: Path, training: Iterable[str], *, again: bool = False) -> Iterator[Path | None]:
    """Serve steps inside the block.

    Args:
        folder: where the command `python3` is written that hands steps to the server.
        training: the names of the steps that run in an interpreter of their own.
        again: whether there was a run before. All steps may then be reused, so nothing is imported
            before another than the check begins.

    Yields:
        the folder of the command, to search first; None where processes cannot be forked safely.
    """
    if not sys.platform.startswith("linux"):
        yield None
        return
    address = f"foldline-{secrets.token_hex(16)}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("\0" + address)
    listener.listen(64)
    ending, alive = os.pipe()
    _write_command(folder / "python3", address, training)
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            __spec__.name,
            *map(str, (listener.fileno(), ending, int(again))),
        ],
        pass_fds=(listener.fileno(), ending),
        stdin=subprocess.DEVNULL,
        # As kfp sets it for a step: its package then leaves out what steps do not need.
        env={**os.environ, "_KFP_RUNTIME": "true"},
    )
    listener.close()
    os.close(ending)
    try:
        yield folder
    finally:
        os.close(alive)
        try:
            server.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _write_command(path: Path, address: str, training: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    python = [sys.executable, "-I", "-S", "-X", "utf8", step_client.__file__]
    command = shlex.join([*python, address, ",".join(training)])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


class _Request(NamedTuple):
    """A step to run.

    Attributes:
        connection: to the client.
        files: its standard input, output and error.
        arguments: of kfp's executor.
        folder: the working folder.
        environment: all environment variables.
    """

    connection: socket.socket
    files: list[int]
    arguments: list[str]
    folder: str
    environment: dict[str, str]


def serve(listener: socket.socket, ending: int, *, again: bool) -> _Request:
    """Fork a process for each request, and import modules in between, until `ending` is closed.

    Args:
        listener: where clients connect.
        ending: the reading end of a pipe that the runner holds open.
        again: as for `serving`.

    Returns:
        in each forked process, what it is to run; the server itself never returns.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    clients: dict[int, socket.socket] = {}
    modules = iter(_modules())
    importing = not again
    while True:
        files = [listener.fileno(), ending, woken]
        ready, _, _ = select.select(files, [], [], 0 if importing else None)
        if ending in ready:
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(clients)
        if listener.fileno() in ready:
            request = _accepted(listener)
            # Training connects and asks for nothing.
            if again and (request is None or not _CHECKS.intersection(request.arguments)):
                importing, again = True, False
            if request is not None and _forked(request, clients):
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for file in (ending, woken, wake):
                    os.close(file)
                for connection in (listener, request.connection, *clients.values()):
                    connection.close()
                return request
        elif importing and not ready:
            importing = _imported(next(modules, None))


def _modules() -> list[str]:
    """Return the modules to import. Where matplotlib cannot keep its settings it makes a temporary
    folder, which the first copy to end would remove from under the others."""
    settings = os.environ.get("MPLCONFIGDIR") or Path("~").expanduser()
    return [*_PRELOADED, *([_PLOTS] if os.access(settings, os.W_OK) else [])]


def _imported(module: str | None) -> bool:
    """Import a module; returns whether there may be more to import."""
    if module is None:
        return False
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001  # the step that needs it fails by it, and says so
        return False
    # A copy that collected them, or freed them at its end, would copy their memory first, which
    # takes as long as half of the imports.
    gc.freeze()
    return True


def _forked(request: _Request, clients: dict[int, socket.socket]) -> bool:
    """Fork a process for a request; returns whether this is that process.

    It begins once its client knows its number: a client that hears nothing runs the step itself.
    """
    waiting, go = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of threads; see `_PRELOADED`.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        os.close(go)
        if not os.read(waiting, 1):
            os._exit(1)
        os.close(waiting)
        return True
    if pid > 0:
        clients[pid] = request.connection
        with contextlib.suppress(OSError):  # the client was killed
            request.connection.sendall(struct.pack("!i", pid))
            os.write(go, b"1")
    else:
        request.connection.close()
    for file in (waiting, go, *request.files):
        os.close(file)
    return False


def _report_ended(clients: dict[int, socket.socket]) -> None:
    """Tell the clients of processes that have ended their exit status."""
    while clients:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        connection = clients.pop(pid)
        with contextlib.suppress(OSError):  # the client was killed
            connection.sendall(struct.pack("!i", os.waitstatus_to_exitcode(status)))
        connection.close()


def _accepted(listener: socket.socket) -> _Request | None:
    """Receive a request; None if it is not from a process of the same user, or incomplete."""
    connection, _ = listener.accept()
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    if struct.unpack("3i", credentials)[1] != os.getuid():
        connection.close()
        return None
    # No client may keep the others waiting.
    connection.settimeout(_PATIENCE)
    files: list[int] = []
    # Incomplete, too late, or nothing that a client of ours sends.
    with contextlib.suppress(OSError, ValueError, TypeError):
        head, files, _, _ = socket.recv_fds(connection, 4, 3)
        body = b""
        if len(head) == 4 and len(files) == 3:
            (length,) = struct.unpack("!I", head)
            while len(body) < length and (part := connection.recv(length - len(body))):
                body += part
            if len(body) == length:
                return _Request(connection, files, **json.loads(body))
    for file in files:
        os.close(file)
    connection.close()
    return None


def _become(request: _Request) -> None:
    """Run a step in this process, which was forked for it."""
    for target, file in enumerate(request.files):
        os.dup2(file, target)
        os.close(file)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv = [step_client.MODULE, *request.arguments]
    if "numpy" in sys.modules:
        # Copies would draw the same numbers where a library has no seed.
        sys.modules["numpy"].random.seed()
    # It is run, not imported.
    sys.modules.pop(step_client.MODULE, None)
    runpy.run_module(step_client.MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), again=sys.argv[3] == "1")
    )
