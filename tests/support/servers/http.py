"""The HTTP servers below the services that tests stand in for, by pytest-httpserver."""

import atexit
import re
from collections.abc import Callable
from functools import cache

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


@cache
def _running(service: str) -> HTTPServer:
    """Return this process's server for a service: stopping one takes half a second."""
    server = HTTPServer(host="127.0.0.1", threaded=True)
    server.start()
    atexit.register(server.stop)
    return server


def serve(service: str, answer: Callable[[Request], Response]) -> HTTPServer:
    """Let `answer` answer every request to a service from now on; it may run in several threads."""
    server = _running(service)
    server.clear()
    server.expect_request(re.compile(".*")).respond_with_handler(answer)
    return server
