"""Stands in for `python3` where kfp starts a step of a local run.

It hands the step to the step server, passes signals on, and ends as the step does. Training, and
whatever else is not a step, runs in a new interpreter: a forked process could not use TensorFlow's
threads. The file is started by its path and without site-packages, which takes 15 ms: it imports
the standard library alone.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NoReturn

MODULE = "kfp.dsl.executor_main"


def main(arguments: list[str]) -> NoReturn:
    """Run a step.

    Args:
        arguments: the server's address, the names of the steps that train, separated by commas, and
            the arguments that Python was given.
    """
    address, training, *command = arguments
    function = dict(itertools.pairwise(command)).get("--function_to_execute", "")
    trains = function.replace("_", "-") in training.split(",")
    if command[:2] == ["-m", MODULE]:
        connection = socket.socket(socket.AF_UNIX)
        # The server has ended, or has no memory for a copy: the step runs all the same.
        with contextlib.suppress(OSError, EOFError):
            connection.connect("\0" + address)
            # Training only shows the server that further steps will follow.
            if not trains:
                sys.exit(_status(connection, _begun(connection, command[2:])))
    os.execv(sys.executable, [sys.executable, *command])


def _begun(connection: socket.socket, arguments: list[str]) -> int:
    """Let the server begin a step; returns the number of its process.

    Raises:
        OSError: the server has ended.
        EOFError: as OSError, or it refuses.
    """
    request = {
        "arguments": arguments,
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
    }
    body = json.dumps(request).encode()
    socket.send_fds(connection, [struct.pack("!I", len(body))], [0, 1, 2])
    connection.sendall(body)
    return _number(connection)


def _status(connection: socket.socket, pid: int) -> int:
    """Wait for a step; returns its exit status."""

    def pass_on(number: int, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    try:
        status = _number(connection)
    except (OSError, EOFError):
        # Nobody will know how the step ends.
        pass_on(signal.SIGTERM)
        sys.exit("the process that steps are copied from was killed (out of memory?)")
    # A signal that ended the step is an exit status as in a shell.
    return status if status >= 0 else 128 - status


def _number(connection: socket.socket) -> int:
    parts = b""
    while len(parts) < 4:
        part = connection.recv(4 - len(parts))
        if not part:
            raise EOFError
        parts += part
    number: int = struct.unpack("!i", parts)[0]
    return number


if __name__ == "__main__":
    main(sys.argv[1:])
