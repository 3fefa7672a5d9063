"""kaggle.com: the one module that talks to it, by the service's own client library (`kagglesdk`,
the extra `leaderboard`)."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainer.errors import LeaderboardError

# Between two looks at a submission that is being scored.
_FIRST_LOOK, _LONGEST_WAIT = 1.0, 30.0
_CONNECT_SECONDS = 10.0


class Entry(NamedTuple):
    """A submission as the service knows it. status: pending, complete or error; scores are None
    until there are any."""

    ref: int
    status: str
    public: float | None
    private: float | None
    error: str
    url: str


def credentials(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Who asks: `api_token`, or `username` and `password`.

    In this order: KAGGLE_API_TOKEN, or the file that it names; KAGGLE_USERNAME with KAGGLE_KEY;
    `access_token`, `access_token.txt` and `kaggle.json`, in KAGGLE_CONFIG_DIR, `~/.kaggle` or
    `~/.config/kaggle`.

    Raises:
        LeaderboardError: there are none, or a file does not hold any.
    """
    if told := environment.get("KAGGLE_API_TOKEN", "").strip():
        # The variable may name a file that holds it.
        return {"api_token": _text(Path(told)) if os.path.isfile(told) else told}
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return {"username": environment["KAGGLE_USERNAME"], "password": environment["KAGGLE_KEY"]}
    named = environment.get("KAGGLE_CONFIG_DIR")
    for folder in [Path(named)] if named else [home / ".kaggle", home / ".config" / "kaggle"]:
        for token in (folder / "access_token", folder / "access_token.txt"):
            if token.is_file() and (text := _text(token)):
                return {"api_token": text}
        key = folder / "kaggle.json"
        if key.is_file():
            try:
                held = json.loads(_text(key))
                return {"username": str(held["username"]), "password": str(held["key"])}
            except (ValueError, KeyError, TypeError):
                raise LeaderboardError(
                    f"{key}: holds no username and key: download it anew from kaggle.com/settings"
                ) from None
    raise LeaderboardError(
        "no credentials for kaggle.com: make a token at kaggle.com/settings, and set"
        " KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or put its file into ~/.kaggle"
    )


def _text(path: Path) -> str:
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
        """Upload a file under a name, and enter it; returns its number.

        Raises:
            LeaderboardError: with the reason, as far as the service gives one.
        """
        import requests
        from kagglesdk.competitions.types.competition_api_service import (
            ApiCreateSubmissionRequest,
            ApiStartSubmissionUploadRequest,
        )

        asked = ApiStartSubmissionUploadRequest()
        asked.competition_name, asked.file_name = self.competition, name
        asked.content_length, asked.last_modified_epoch_seconds = (
            path.stat().st_size,
            int(path.stat().st_mtime),
        )
        with self._explained("nothing was entered"):
            started = self._api.start_submission_upload(asked)
        with self._explained("nothing was entered"), open(path, "rb") as stream:
            put = requests.put(
                started.create_url, data=stream, timeout=(_CONNECT_SECONDS, self.timeout)
            )
            put.raise_for_status()
        entered = ApiCreateSubmissionRequest()
        entered.competition_name, entered.blob_file_tokens, entered.submission_description = (
            self.competition,
            started.token,
            message,
        )
        with self._explained("it may have been entered: `foldline leaderboard list` shows it then"):
            answer = self._api.create_submission(entered)
        if not answer.ref:
            raise LeaderboardError(
                "kaggle.com entered nothing and gave no number:"
                f" {answer.message or 'no reason given'}"
            )
        return int(answer.ref)

    def look(self, ref: int) -> Entry:
        """A submission, by its number.

        Raises:
            LeaderboardError: as `submit` does.
        """
        from kagglesdk.competitions.types.competition_api_service import ApiGetSubmissionRequest

        asked = ApiGetSubmissionRequest()
        asked.ref = ref
        with self._explained(
            f"submission {ref} is entered: `foldline leaderboard list` asks again"
        ):
            found = self._api.get_submission(asked)
            return Entry(
                int(found.ref),
                found.status.name.lower(),
                _score(found.public_score),
                _score(found.private_score),
                found.error_description,
                found.url,
            )

    def wait(self, ref: int, patience: float, pause: Callable[[float], None] = time.sleep) -> Entry:
        """Look until the submission is scored or refused, or patience is at its end: then it is
        still `pending`."""
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
        """What went wrong, in words. then: what that means for the submission."""
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
            # The client takes an answer apart without looking: a page of a proxy, a status it does
            # not know.
            kind = type(error).__name__
            raise LeaderboardError(
                f"kaggle.com gave an answer that is not understood ({kind}); {then}"
            ) from None


@contextlib.contextmanager
def board(competition: str, timeout: float) -> Iterator[Board]:
    """The board of a competition; every request gets `timeout` seconds.

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
        """The client sets no timeout, so a hanging server would hang it for ever."""

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
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _refusal(error: Any, competition: str) -> str:
    """What the service's status means, and its own text where it has one."""
    status = error.response.status_code if error.response is not None else 0
    said, generic = str(error), f"{status} "
    own = f" (it says: {said})" if said and not said.startswith(generic) else ""
    lower = said.lower()
    if status == 401:
        return (
            "kaggle.com does not accept the credentials: make a new token at"
            f" kaggle.com/settings{own}"
        )
    if status == 429 or (
        own and any(word in lower for word in ("per day", "daily", "submission limit", "too many"))
    ):
        return (
            "kaggle.com takes no more for now: the daily limit of submissions, or too many"
            f" requests{own}"
        )
    if status == 403 and "rule" in lower:
        return (
            "the rules are not accepted: do that at"
            f" kaggle.com/competitions/{competition}/rules{own}"
        )
    if status == 403:
        # It answers so, too, where there is no competition of the name.
        return (
            f"kaggle.com allows no submission to {competition!r}: is that its name, the last part"
            f" of its address? have you joined it, and does it still take submissions?{own}"
        )
    if status == 404:
        return (
            f"kaggle.com knows no competition {competition!r}: its name is the last part of its"
            f" address{own}"
        )
    if status >= 500:
        return f"kaggle.com has trouble of its own (status {status}): try again later{own}"
    return f"kaggle.com refused it (status {status}){own or ' and gave no reason'}"
