"""What kaggle.com answers to a submission, on this machine: what its client library asks, and
faults on demand."""

import json
import socket
import threading
from typing import Any, NamedTuple

from werkzeug import Request, Response

from tests.support.servers.http import serve

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
        self.url = serve("kaggle.com", self.respond).url_for("").rstrip("/")

    def close(self) -> None:
        """End answers that are being delayed."""
        self.ended.set()

    def respond(self, request: Request) -> Response:
        """Answer one request of the client library, or of an upload."""
        step = request.path.rsplit("/", 1)[-1]
        body = request.get_data()
        if request.method == "PUT":
            self.requests.append(("PUT", {}))
            fault = self.faults.get("PUT")
            if fault is None:
                self.uploads[step] = body
                return Response(b"", content_type="text/plain")
        else:
            asked = json.loads(body or b"{}")
            self.requests.append((step, asked))
            self.authorizations.add(request.headers.get("Authorization"))
            fault = self.faults.get(step)
            if fault is None:
                status, answer = self.answer(step, asked)
                return _response(status, answer)
        self.ended.wait(fault.seconds)
        if fault.drop:
            # Close the connection without an answer.
            request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        return _response(fault.status, fault.body, fault.kind)

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


def _response(status: int, body: Any, kind: str = "application/json") -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(data, status, content_type=kind)
