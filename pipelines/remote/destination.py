"""Where a remote run goes: flags, then the environment, then gcloud's configuration."""

import configparser
import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.artifacts.manifest import write_json
from trainer.config.data import BUCKET
from trainer.errors import CompetitionError

TARGETS = ("vertex", "kfp")
# A folder of a competition's results that remembers its remote runs.
RECORDS = "remote"
_KUBERNETES = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_URI = re.compile(BUCKET + r"(/[^/]+)*")


@dataclass(frozen=True)
class Destination:
    """A project and region of Vertex AI, or a Kubeflow Pipelines server; and the bucket that holds
    the runs' artifacts.

    root: `gs://bucket/prefix`. service_account: what the run is allowed. host, namespace: of a
    Kubeflow Pipelines server.
    secret: of Kubernetes, with a Google account's `key.json`, where a cluster gives its pods no
    account.
    endpoint, logging: addresses of the services, "" for Google's own.
    """

    target: str
    project: str = ""
    region: str = ""
    root: str = ""
    service_account: str = ""
    host: str = ""
    namespace: str = ""
    secret: str = ""
    endpoint: str = ""
    logging: str = ""


# For each field of a place: variables of the environment, then "section/key" of gcloud's
# configuration.
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "project": ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "core/project"),
    "region": (
        "GOOGLE_CLOUD_REGION",
        "CLOUDSDK_AI_REGION",
        "CLOUDSDK_COMPUTE_REGION",
        "ai/region",
        "compute/region",
    ),
    "root": ("FOLDLINE_BUCKET",),
    # A Google account on Vertex AI, an account of Kubernetes on a cluster.
    "service_account": ("FOLDLINE_SERVICE_ACCOUNT",),
    "host": ("KF_PIPELINES_ENDPOINT",),
    "namespace": ("FOLDLINE_NAMESPACE",),
    "secret": ("FOLDLINE_KUBERNETES_SECRET",),
    "endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "api_endpoint_overrides/aiplatform"),
    "logging": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "api_endpoint_overrides/logging"),
}
_FLAGS = {"root": "--bucket"}
_NEEDS = {"vertex": ("project", "region", "root", "service_account"), "kfp": ("host", "root")}


def resolve_destination(
    target: str, flags: Mapping[str, str | None], *, needs: tuple[str, ...] | None = None
) -> Destination:
    """Fill in what the flags leave out.

    Args:
        target: one of `TARGETS`.
        flags: by the name of a `Place` field; None or "" where not given.
        needs: the fields that must not be empty, by default all that a new run needs.

    Raises:
        CompetitionError: something is missing, with every place where it could stand; or it is
            malformed.
    """
    configuration = gcloud()
    values = {"target": target}
    for name, sources in _SOURCES.items():
        if target == "kfp" and name == "service_account":
            sources = ("FOLDLINE_KUBERNETES_ACCOUNT",)
        given = [
            flags.get(name),
            *(configuration.get(s, "") if "/" in s else os.environ.get(s, "") for s in sources),
        ]
        values[name] = next((value for value in given if value), "").rstrip("/")
    if values["root"] and not values["root"].startswith("gs://"):
        values["root"] = f"gs://{values['root']}"
    missing = [name for name in (_NEEDS[target] if needs is None else needs) if not values[name]]
    if missing:
        raise CompetitionError("\n".join(f"missing: {_where(name)}" for name in missing))
    if values["root"] and (
        not _URI.fullmatch(values["root"]) or {".", ".."} & set(values["root"].split("/"))
    ):
        raise CompetitionError(
            f"--bucket {values['root']}: must be a bucket, or gs://bucket/prefix"
        )
    if values["region"] and not re.fullmatch(r"[a-z]+-[a-z]+\d+", values["region"]):
        raise CompetitionError(f"--region {values['region']}: must be a region, as us-central1")
    if values["project"] and not re.fullmatch(
        r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", values["project"]
    ):
        raise CompetitionError(
            f"--project {values['project']}: must be a project's id, as my-project-1"
        )
    account = values["service_account"]
    if (
        target == "vertex"
        and account
        and not re.fullmatch(r"[^@\s]+@[^@\s]+\.gserviceaccount\.com", account)
    ):
        raise CompetitionError(
            f"--service-account {account}: must be NAME@PROJECT.iam.gserviceaccount.com"
        )
    if target == "kfp" and values["secret"] and not re.fullmatch(_KUBERNETES, values["secret"]):
        raise CompetitionError(
            f"FOLDLINE_KUBERNETES_SECRET = {values['secret']}: must be the name of a secret, as"
            " google-key"
        )
    if target == "kfp" and account and not re.fullmatch(_KUBERNETES, account):
        raise CompetitionError(
            f"--service-account {account}: must be the name of a Kubernetes account, as"
            " pipeline-runner"
        )
    if values["host"] and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", values["host"]):
        raise CompetitionError(f"--host {values['host']}: must begin with http:// or https://")
    return Destination(**values)


def _where(name: str) -> str:
    flag = _FLAGS.get(name, "--" + name.replace("_", "-"))
    words = []
    for source in _SOURCES[name]:
        section, _, key = source.partition("/")
        if key:
            words.append(f"`gcloud config set {key if section == 'core' else source} …`")
        else:
            words.append(source)
    return f"{flag} (or {', or '.join(words)})"


def gcloud() -> dict[str, str]:
    """The active configuration of the gcloud command, by "section/key"; empty where there is
    none."""
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud")
    active = os.environ.get("CLOUDSDK_ACTIVE_CONFIG_NAME", "")
    try:
        active = active or (folder / "active_config").read_text(encoding="utf-8").strip()
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(
            (folder / "configurations" / f"config_{active}").read_text(encoding="utf-8")
        )
    except (OSError, UnicodeDecodeError):
        return {}
    except configparser.Error as error:
        raise CompetitionError(
            f"{folder}: gcloud's configuration {active!r} cannot be read: {error.message}"
        ) from None
    return {
        f"{section}/{key}": value
        for section in parser.sections()
        for key, value in parser[section].items()
    }


def remember(where: Destination, run: str, out: Path) -> None:
    """Write down, beside a competition's results, where a run is."""
    write_json(out / RECORDS / f"{run}.json", dataclasses.asdict(where))


def recall(run: str, runs: Path) -> dict[str, Any]:
    """What was remembered of a run in any folder below `runs`; empty where nothing was.

    Raises:
        CompetitionError: the file is not one that `remember` wrote.
    """
    # Ours are named so; a console's users name theirs as they like.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}", run):
        return {}
    for path in sorted(runs.glob(f"*/{RECORDS}/{run}.json")):
        try:
            found: dict[str, Any] = dataclasses.asdict(
                Destination(**json.loads(path.read_text(encoding="utf-8")))
            )
        except (OSError, ValueError, TypeError):
            found = {}
        if found.get("target") not in TARGETS:
            raise CompetitionError(
                f"{path}: does not say where a run is: delete it, and name the place by flags"
            )
        return found
    return {}
