"""Submissions to kaggle.com through its client library (`kagglesdk`, the extra `leaderboard`). No
other module connects to kaggle.com."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.errors import LeaderboardError

# Seconds between two requests for the score of a submission: the first, and the longest.
_FIRST_LOOK, _LONGEST_WAIT = 1.0, 30.0
_CONNECT_SECONDS = 10.0


class Entry(NamedTuple):
    """A submission as kaggle.com reports it.

    Attributes:
        ref: the submission's number.
        status: `pending`, `complete` or `error`.
        public: the public score, None until there is one.
        private: the private score, None until there is one.
        error: kaggle.com's description of an error.
        url: address of the submission.
    """

    ref: int
    status: str
    public: float | None
    private: float | None
    error: str
    url: str


def credentials(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return kaggle.com credentials: `api_token`, or `username` and `password`.

    Looks, in this order, for KAGGLE_API_TOKEN, a token or the path of a file with one;
    KAGGLE_USERNAME with KAGGLE_KEY; and the files `access_token`, `access_token.txt` and
    `kaggle.json` in KAGGLE_CONFIG_DIR, or else in `~/.kaggle` and `~/.config/kaggle`.

    Args:
        environment: the environment variables.
        home: the user's home folder.

    Raises:
        LeaderboardError: there are no credentials, or a file cannot be read or has none.
    """
    if token := environment.get("KAGGLE_API_TOKEN", "").strip():
        # The variable may name a file with the token.
        return {"api_token": _text(Path(token)) if os.path.isfile(token) else token}
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return {"username": environment["KAGGLE_USERNAME"], "password": environment["KAGGLE_KEY"]}
    configured = environment.get("KAGGLE_CONFIG_DIR")
    folders = [Path(configured)] if configured else [home / ".kaggle", home / ".config" / "kaggle"]
    for folder in folders:
        for path in (folder / "access_token", folder / "access_token.txt"):
            if path.is_file() and (text := _text(path)):
                return {"api_token": text}
        key = folder / "kaggle.json"
        if key.is_file():
            try:
                content = json.loads(_text(key))
                return {"username": str(content["username"]), "password": str(content["key"])}
            except (ValueError, KeyError, TypeError):
                raise LeaderboardError(
                    f"{key}: no username and key: download the file again from kaggle.com/settings"
                ) from None
    raise LeaderboardError(
        "no credentials for kaggle.com: create a token at kaggle.com/settings, and set"
        " KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or put its file into ~/.kaggle"
    )


def _text(path: Path) -> str:
    """Read a file with a credential.

    Raises:
        LeaderboardError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise LeaderboardError(
            f"{path}: cannot be read as a credential ({type(error).__name__})"
        ) from None


class Board:
    """A competition's submissions."""

    def __init__(self, competition: str, client: Any, timeout: float) -> None:
        self.competition, self.timeout = competition, timeout
        self._api = client.competitions.competition_api_client

    def submit(self, path: Path, name: str, message: str) -> int:
        """Upload a file, and submit it.

        Args:
            path: the file.
            name: its name on kaggle.com.
            message: the submission's description.

        Returns:
            the submission's number.

        Raises:
            LeaderboardError: kaggle.com refused, or cannot be reached; the message has its reason,
                if it gives one.
        """
        import requests
        from kagglesdk.competitions.types.competition_api_service import (
            ApiCreateSubmissionRequest,
            ApiStartSubmissionUploadRequest,
        )

        start = ApiStartSubmissionUploadRequest()
        start.competition_name, start.file_name = self.competition, name
        start.content_length, start.last_modified_epoch_seconds = (
            path.stat().st_size,
            int(path.stat().st_mtime),
        )
        with self._explained("nothing was submitted"):
            upload = self._api.start_submission_upload(start)
        with self._explained("nothing was submitted"), open(path, "rb") as stream:
            put = requests.put(
                upload.create_url, data=stream, timeout=(_CONNECT_SECONDS, self.timeout)
            )
            put.raise_for_status()
        create = ApiCreateSubmissionRequest()
        create.competition_name, create.blob_file_tokens, create.submission_description = (
            self.competition,
            upload.token,
            message,
        )
        with self._explained(
            "it may have been submitted: `foldline leaderboard list` shows it if it was"
        ):
            answer = self._api.create_submission(create)
        if not answer.ref:
            raise LeaderboardError(
                "kaggle.com submitted nothing and returned no number:"
                f" {answer.message or 'no reason given'}"
            )
        return int(answer.ref)

    def look(self, ref: int) -> Entry:
        """Return a submission, by its number.

        Raises:
            LeaderboardError: as for `submit`.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

        get = ApiGetSubmissionRequest()
        get.ref = ref
        with self._explained(
            f"submission {ref} was submitted: `foldline leaderboard list` requests its score again"
        ):
            answer = self._api.get_submission(get)
            return Entry(
                int(answer.ref),
                answer.status.name.lower(),
                _score(answer.public_score),
                _score(answer.private_score),
                answer.error_description,
                answer.url,
            )

    def wait(self, ref: int, patience: float, pause: Callable[[float], None] = time.sleep) -> Entry:
        """Poll until the submission is scored or refused; after `patience` seconds return it as
        `pending`.

        Args:
            ref: the submission's number.
            patience: seconds to wait.
            pause: called with the seconds until the next request.

        Raises:
            LeaderboardError: as for `submit`.
        """
        until, gap = time.monotonic() + patience, _FIRST_LOOK
        while True:
            entry = self.look(ref)
            left = until - time.monotonic()
            if entry.status != "pending" or left <= 0:
                return entry
            pause(min(gap, left))
            gap = min(2 * gap, _LONGEST_WAIT)

    @contextlib.contextmanager
    def _explained(self, then: str) -> Iterator[None]:
        """Turn errors of the client into a LeaderboardError in plain words.

        Args:
            then: what an error means for the submission; ends the message.
        """
        import requests

        try:
            yield
        except requests.HTTPError as error:
            raise LeaderboardError(f"{_refusal(error, self.competition)}; {then}") from None
        except requests.Timeout:
            raise LeaderboardError(
                f"kaggle.com did not answer within {self.timeout:g} seconds; {then}"
            ) from None
        except requests.ConnectionError as error:
            raise LeaderboardError(
                f"kaggle.com cannot be reached ({type(error).__name__}); {then}"
            ) from None
        except (
            requests.RequestException,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:
            # The client parses an answer without checking it: it may be a proxy's page, or have an
            # unknown status.
            kind = type(error).__name__
            raise LeaderboardError(
                f"kaggle.com sent an unexpected answer ({kind}); {then}"
            ) from None


@contextlib.contextmanager
def board(competition: str, timeout: float) -> Iterator[Board]:
    """Connect to the submissions of a competition.

    Args:
        competition: its name on kaggle.com.
        timeout: seconds to wait for the answer to a request.

    Raises:
        LeaderboardError: the client library is not installed, or there are no credentials.
    """
    try:
        from kagglesdk import KaggleClient
        from requests.adapters import HTTPAdapter
    except ImportError as error:
        raise LeaderboardError(
            f"{error.name} is not installed: pip install 'foldline[leaderboard]'"
        ) from None

    class Timed(HTTPAdapter):
        """Sets the timeout that the client lacks, so that a hanging server cannot block it for
        ever."""

        def send(self, request: Any, **options: Any) -> Any:
            options["timeout"] = options.get("timeout") or (_CONNECT_SECONDS, timeout)
            return super().send(request, **options)

    with KaggleClient(user_agent="foldline", **credentials(os.environ, Path.home())) as client:
        http = client.http_client()
        http._init_session()
        for scheme in ("https://", "http://"):
            http._session.mount(scheme, Timed())
        yield Board(competition, client, timeout)


def _score(text: Any) -> float | None:
    """Return a score as a number; None if it is missing or not finite."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _refusal(error: Any, competition: str) -> str:
    """Explain an HTTP error's status, with kaggle.com's own text if it has one."""
    status = error.response.status_code if error.response is not None else 0
    reason, generic = str(error), f"{status} "
    quoted = f" (its answer: {reason})" if reason and not reason.startswith(generic) else ""
    lower = reason.lower()
    if status == 401:
        return (
            "kaggle.com does not accept the credentials: create a new token at"
            f" kaggle.com/settings{quoted}"
        )
    if status == 429 or (
        quoted
        and any(word in lower for word in ("per day", "daily", "submission limit", "too many"))
    ):
        return (
            "kaggle.com accepts no more for now: the daily limit of submissions is reached, or"
            f" there were too many requests{quoted}"
        )
    if status == 403 and "rule" in lower:
        return (
            "the competition's rules are not accepted: accept them at"
            f" kaggle.com/competitions/{competition}/rules{quoted}"
        )
    if status == 403:
        # kaggle.com sends this status, too, if there is no competition of the name.
        return (
            f"kaggle.com does not allow a submission to {competition!r}: check that this is its"
            " name, the last part of its address, that you have joined it, and that it still"
            f" accepts submissions{quoted}"
        )
    if status == 404:
        return (
            f"kaggle.com has no competition {competition!r}: its name is the last part of its"
            f" address{quoted}"
        )
    if status >= 500:
        return f"kaggle.com failed with a server error (status {status}): try again later{quoted}"
    return f"kaggle.com refused the request (status {status}){quoted or ' and gave no reason'}"
