"""Stands in for `python3` where kfp starts a step of a local run.

It hands the step to the step server, passes signals on, and ends as the step does. Training, and
whatever else is not a step, runs in a new interpreter: a forked process could not use TensorFlow's
threads. The file is started by its path and without site-packages, which takes 15 ms: it imports
the standard library alone.
"""

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
    connection = socket.socket(socket.AF_UNIX)
    try:
        if trains or command[:2] != ["-m", MODULE]:
            raise ConnectionRefusedError
        connection.connect("\0" + address)
    except OSError:
        # The server has ended, or this is no work for it.
        os.execv(sys.executable, [sys.executable, *command])
    sys.exit(_served(connection, command))


def _served(connection: socket.socket, command: list[str]) -> int:
    """Let the server run the command; returns the exit status."""
    request = {"arguments": command[2:], "folder": str(Path.cwd()), "environment": dict(os.environ)}
    body = json.dumps(request).encode()
    socket.send_fds(connection, [struct.pack("!I", len(body))], [0, 1, 2])
    connection.sendall(body)
    pid = struct.unpack("!i", _received(connection, 4))[0]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(pid, number))
    status: int = struct.unpack("!i", _received(connection, 4))[0]
    # A signal that ended the step is an exit status as in a shell.
    return status if status >= 0 else 128 - status


def _received(connection: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            sys.exit("the step server has ended")
        parts += part
    return parts


if __name__ == "__main__":
    main(sys.argv[1:])
