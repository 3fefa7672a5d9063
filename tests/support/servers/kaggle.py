"""What kaggle.com answers to a submission, on this machine: what its client library asks, and
faults on demand."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

TOKEN = "KGAT_planted"


class Fault(NamedTuple):
    """An answer in place of the right one. drop: none at all; seconds: after so long."""

    status: int = 200
    body: Any = b""
    kind: str = "application/json"
    seconds: float = 0.0
    drop: bool = False


class Kaggle:
    """The service. entered: its submissions, newest last; scores: what the next ones get; faults:
    by the step's name."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.authorizations: set[str | None] = set()
        self.uploads: dict[str, bytes] = {}
        self.entered: list[dict[str, Any]] = []
        self.faults: dict[str, Fault] = {}
        self.outcome: dict[str, Any] = {
            "status": "COMPLETE",
            "publicScore": "0.75",
            "privateScore": "",
        }
        self.looks_until_scored = 1
        self.ended = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, step: str, asked: dict[str, Any]) -> tuple[int, Any]:
        if step == "StartSubmissionUpload":
            token = f"T{len(self.uploads)}"
            self.uploads[token] = b""
            return 200, {"token": token, "createUrl": f"{self.url}/upload/{token}"}
        if step == "CreateSubmission":
            ref = 5001 + len(self.entered)
            self.entered.append(
                {
                    "ref": ref,
                    "status": "PENDING",
                    "looks": 0,
                    "url": f"https://kaggle.com/s/{ref}",
                    **asked,
                }
            )
            return 200, {"message": "Successfully submitted", "ref": ref}
        if step == "GetSubmission":
            found = next(one for one in self.entered if one["ref"] == asked["ref"])
            found["looks"] += 1
            if found["looks"] >= self.looks_until_scored:
                found.update(self.outcome)
            return 200, {
                key: found[key]
                for key in found
                if key not in ("looks", "competitionName", "blobFileTokens")
            }
        return 404, {"code": 404, "message": f"no {step}"}


def _handler(kaggle: Kaggle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self._body() or b"{}")
            step = urlsplit(self.path).path.rsplit("/", 1)[-1]
            kaggle.requests.append((step, body))
            kaggle.authorizations.add(self.headers.get("Authorization"))
            if not self._fault(step):
                self._send(*kaggle.answer(step, body))

        def do_PUT(self) -> None:
            token, body = urlsplit(self.path).path.rsplit("/", 1)[-1], self._body()
            kaggle.requests.append(("PUT", {}))
            if not self._fault("PUT"):
                kaggle.uploads[token] = body
                self._send(200, b"", "text/plain")

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _fault(self, step: str) -> bool:
            fault = kaggle.faults.get(step)
            if fault is None:
                return False
            kaggle.ended.wait(fault.seconds)
            self.close_connection = True
            if not fault.drop:
                self._send(fault.status, fault.body, fault.kind)
            return True

        def _send(self, status: int, body: Any, kind: str = "application/json") -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client has gone: that is what the test is about

    return Handler
