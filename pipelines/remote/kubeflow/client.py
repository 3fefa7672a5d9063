"""A Kubeflow Pipelines server, through kfp's generated client: retries, and errors in words.

kfp's own `Client` prints, waits forever, or hides a status; the generated client below it does not.
"""

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from components import retry
from pipelines.remote.destination import Destination
from trainer import runtime
from trainer.errors import CompetitionError, RemoteError

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5, 60)
_SIGN_IN = (
    f"put a token into {runtime.KFP_TOKEN}, or a command that prints one into"
    f" {runtime.KFP_TOKEN_COMMAND}"
)
# Seconds for which a command's token is used; they are valid for longer.
TOKEN_SECONDS = 240.0


class Health(NamedTuple):
    """A server's own answer about itself.

    Attributes:
        multi_user: whether each user has a namespace of their own.
        version: such as 2.17.0; "" if the server does not tell.
    """

    multi_user: bool
    version: str


class KubeflowClient:
    """The services of a server: runs, experiments and recurring_runs."""

    def __init__(self, where: Destination, token: str, token_command: str = "") -> None:
        """
        Args:
            where: the server.
            token: a bearer token, "" for none.
            token_command: a command that prints a token, "" for none; it is used where `token` is
                "".
        """
        import kfp_server_api
        import urllib3

        self.where = where
        configuration = kfp_server_api.Configuration(host=where.host.rstrip("/"))
        if token:
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
        elif token_command:
            # The client calls the hook for a key that it has.
            configuration.api_key["authorization"] = ""
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = _Tokens(token_command)
        # Do not follow a redirect to a sign-in page, and do not wait an hour if the server asks to.
        configuration.retries = urllib3.Retry(
            0, redirect=0, raise_on_redirect=False, respect_retry_after_header=False
        )
        self.api = kfp_server_api.ApiClient(configuration)
        self.runs = kfp_server_api.RunServiceApi(self.api)
        self.experiments = kfp_server_api.ExperimentServiceApi(self.api)
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self.api)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call a function of a service; it is retried while the server fails temporarily."""
        return retry.call(
            lambda: function(*arguments, **options, _request_timeout=TIMEOUT), is_transient
        )

    def health(self) -> Health:
        """What the server says of itself.

        The generated client's model of this answer lacks the version.

        Raises:
            RemoteError: the server is not a Kubeflow Pipelines server.
        """
        text = retry.call(lambda: self.text("/apis/v2beta1/healthz"), is_transient)
        try:
            answer = json.loads(text)
            return Health(bool(answer["multi_user"]), str(answer.get("tag_name") or ""))
        except (ValueError, KeyError, TypeError):
            raise RemoteError(
                f"server: {self.where.host} answers, but not as Kubeflow Pipelines: is it a sign-in"
                " page?"
            ) from None

    def text(self, path: str) -> str:
        """The answer to a GET request as text."""
        answer = self.api.call_api(
            path,
            "GET",
            header_params={"Accept": "*/*"},
            auth_settings=["Bearer"],
            _preload_content=False,
            _request_timeout=TIMEOUT,
        )
        try:
            data: bytes = answer.read()
        finally:
            answer.release_conn()
        return data.decode("utf-8", errors="replace")

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn the server's errors into RemoteError.

        Args:
            what: what the request is about; the message starts with it.
        """
        import urllib3
        from kfp_server_api import ApiException

        try:
            yield
        except ApiException as error:
            reason = _reason(error)
            if error.status == 401:
                reason = f"not signed in ({reason}): {_SIGN_IN}"
            elif error.status in (302, 303, 307):
                reason = f"redirected to a sign-in page: {_SIGN_IN}"
            elif error.status == 403:
                scope = (
                    f"namespace {self.where.namespace}" if self.where.namespace else "this server"
                )
                reason = f"not allowed ({reason}): ask for the role kubeflow-edit in {scope}"
            elif error.status == 404:
                reason = f"not found on {self.where.host} ({reason})"
            elif error.status == 409:
                reason = f"already exists ({reason})"
            elif error.status in retry.TRANSIENT_STATUSES:
                reason = f"{self.where.host} keeps failing ({error.status}: {reason})"
            raise RemoteError(f"{what}: {reason}") from None
        except urllib3.exceptions.HTTPError as error:
            raise RemoteError(
                f"{what}: {self.where.host} cannot be reached:"
                f" {getattr(error, 'reason', None) or error}"
            ) from None


class _Tokens:
    """Puts a token into the client's configuration before each request."""

    def __init__(self, command: str) -> None:
        self.command, self.token, self.until = command, "", 0.0

    def __call__(self, configuration: Any) -> None:
        if time.monotonic() >= self.until:
            self.token = _printed(self.command)
            self.until = time.monotonic() + TOKEN_SECONDS
        configuration.api_key["authorization"] = self.token


def _printed(command: str) -> str:
    """The token that a command prints.

    Raises:
        CompetitionError: the command fails, or prints nothing.
    """
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, check=False, timeout=TIMEOUT[1]
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    else:
        token = done.stdout.strip()
        if done.returncode == 0 and len(token.split()) == 1:
            return token
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        problem = last if done.returncode else "it must print one token and nothing else"
    # Never with what it printed: that may be a secret.
    raise CompetitionError(f"{runtime.KFP_TOKEN_COMMAND} = {command!r}: {problem}")


def is_transient(error: Exception) -> bool:
    """Whether an error of the server may go away by itself."""
    import urllib3
    from kfp_server_api import ApiException

    if isinstance(error, ApiException):
        return error.status in retry.TRANSIENT_STATUSES
    return isinstance(error, urllib3.exceptions.HTTPError)


def checked(answer: Any, key: str, host: str) -> Any:
    """Return the answer if it has the key: the client takes any web page for an empty answer."""
    if not getattr(answer, key):
        raise RemoteError(f"{host} answers, but not as Kubeflow Pipelines: is it a sign-in page?")
    return answer


def _reason(error: Any) -> str:
    """The server's own text, at most 500 characters."""
    body = error.body if isinstance(error.body, str) else ""
    try:
        answer = json.loads(body)
        return str(
            answer.get("message") or answer.get("error") or answer.get("error_message") or body
        )[:500]
    except (ValueError, AttributeError):
        return (body or str(error.reason))[:500]
