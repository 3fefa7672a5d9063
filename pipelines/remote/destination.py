"""The destination of a remote run: from flags, the environment or gcloud's configuration."""

import configparser
import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import runtime
from trainer.artifacts.manifest import write_json
from trainer.config.data import BUCKET
from trainer.errors import CompetitionError

TARGETS = ("vertex", "kfp")
# The folder in a competition's results that stores the destinations of its remote runs.
RECORDS = "remote"
_KUBERNETES = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_URI = re.compile(BUCKET + r"(/[^/]+)*")


@dataclass(frozen=True)
class Destination:
    """A project and region of Vertex AI, or a Kubeflow Pipelines server; with a bucket.

    Every field but `target` is "" if it is not set.

    Attributes:
        target: vertex or kfp.
        project: the Google Cloud project.
        region: the region of Vertex AI, such as us-central1.
        root: where the runs' artifacts go, `gs://bucket/prefix`.
        service_account: the account that the run acts as: a Google account on Vertex AI, a
            Kubernetes service account on a cluster.
        host: the address of a Kubeflow Pipelines server.
        namespace: the user's namespace on a multi-user Kubeflow Pipelines server.
        secret: a Kubernetes secret with the `key.json` of a Google account, for a cluster that
            gives its pods no account.
        endpoint: the address of Vertex AI; "" for Google's own.
        logging: the address of Cloud Logging; "" for Google's own.
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


# For each field of a destination: environment variables, then "section/key" of gcloud's
# configuration, in the order in which they are tried.
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "project": ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "core/project"),
    "region": (
        "GOOGLE_CLOUD_REGION",
        "CLOUDSDK_AI_REGION",
        "CLOUDSDK_COMPUTE_REGION",
        "ai/region",
        "compute/region",
    ),
    "root": (runtime.BUCKET,),
    # On Vertex AI; for a cluster see `resolve_destination`.
    "service_account": (runtime.SERVICE_ACCOUNT,),
    "host": ("KF_PIPELINES_ENDPOINT",),
    "namespace": (runtime.NAMESPACE,),
    "secret": (runtime.KUBERNETES_SECRET,),
    "endpoint": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM", "api_endpoint_overrides/aiplatform"),
    "logging": ("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "api_endpoint_overrides/logging"),
}
_FLAGS = {"root": "--bucket"}
_NEEDS = {"vertex": ("project", "region", "root", "service_account"), "kfp": ("host", "root")}


def resolve_destination(
    target: str, flags: Mapping[str, str | None], *, needs: tuple[str, ...] | None = None
) -> Destination:
    """Complete the flags from the environment and gcloud's configuration.

    Args:
        target: one of `TARGETS`.
        flags: values by the name of a `Destination` field; None or "" if not given.
        needs: the fields that must not be empty; None for all that a new run requires.

    Raises:
        CompetitionError: a field is missing, the message lists every source that can set it; or a
            field is malformed.
    """
    configuration = gcloud()
    values = {"target": target}
    for name, sources in _SOURCES.items():
        if target == "kfp" and name == "service_account":
            sources = (runtime.KUBERNETES_ACCOUNT,)
        candidates = [
            flags.get(name),
            *(configuration.get(s, "") if "/" in s else os.environ.get(s, "") for s in sources),
        ]
        values[name] = next((value for value in candidates if value), "").rstrip("/")
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
        raise CompetitionError(
            f"--region {values['region']}: must be a region, such as us-central1"
        )
    if values["project"] and not re.fullmatch(
        r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]", values["project"]
    ):
        raise CompetitionError(
            f"--project {values['project']}: must be a project's id, such as my-project-1"
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
            f"{runtime.KUBERNETES_SECRET} = {values['secret']}: must be the name of a secret, such"
            " as google-key"
        )
    if target == "kfp" and account and not re.fullmatch(_KUBERNETES, account):
        raise CompetitionError(
            f"--service-account {account}: must be the name of a Kubernetes service account, such"
            " as pipeline-runner"
        )
    if values["host"] and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", values["host"]):
        raise CompetitionError(f"--host {values['host']}: must start with http:// or https://")
    return Destination(**values)


def _where(name: str) -> str:
    """The flag of a field, and in brackets its other sources."""
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
    """The active configuration of the gcloud command, by "section/key"; {} if there is none.

    Raises:
        CompetitionError: the configuration is malformed.
    """
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
    """Store the destination of a run in a competition's results folder.

    Args:
        where: the destination.
        run: the run's name.
        out: the competition's results folder.
    """
    write_json(out / RECORDS / f"{run}.json", dataclasses.asdict(where))


def recall(run: str, runs: Path) -> dict[str, Any]:
    """The destination of a run, if `remember` stored it in any folder below `runs`.

    Returns:
        the fields of a Destination; {} if none is stored.

    Raises:
        CompetitionError: the file is not one that `remember` wrote.
    """
    # The names of this project's runs match; runs from a console can have any name.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}", run):
        return {}
    for path in sorted(runs.glob(f"*/{RECORDS}/{run}.json")):
        try:
            fields: dict[str, Any] = dataclasses.asdict(
                Destination(**json.loads(path.read_text(encoding="utf-8")))
            )
        except (OSError, ValueError, TypeError):
            fields = {}
        if fields.get("target") not in TARGETS:
            raise CompetitionError(
                f"{path}: does not hold the destination of a run: delete it, and use flags instead"
            )
        return fields
    return {}


def launcher_for(where: Destination) -> Any:
    """Return the launcher of a destination; only its service's client is imported.

    Raises:
        CompetitionError: the client is not installed.
    """
    if where.target == "vertex":
        from pipelines.remote.vertex.launcher import VertexLauncher
        from pipelines.targets.base import needs

        needs("google.cloud.aiplatform_v1", "vertex")
        return VertexLauncher(where)
    from pipelines.remote.kubeflow.launcher import KubeflowLauncher

    return KubeflowLauncher(
        where,
        token=os.environ.get(runtime.KFP_TOKEN, ""),
        token_command=os.environ.get(runtime.KFP_TOKEN_COMMAND, ""),
    )
