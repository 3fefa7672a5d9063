"""Runs every step of a local run in its own container, with a Docker engine on this machine."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import LIGHT_IMAGE, TRAINING_IMAGE
from components.check.files import weights_files
from pipelines.definitions import fingerprint, registry
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import RunError

# Environment variables of the launcher that steps need as well.
_HANDED_ON = ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
_BUILD = "build them: make images"


def check_images() -> None:
    """Check that a Docker engine answers and has images of exactly this code.

    Raises:
        RunError: it does not; the message has the remedy.
    """
    try:
        import docker
    except ImportError:
        raise RunError(
            "start", "--docker requires the extra docker: pip install '.[docker]'"
        ) from None
    from docker.errors import DockerException, ImageNotFound

    try:
        client = docker.from_env()
    except DockerException as error:
        raise RunError(
            "start", f"no Docker engine answers ({error}): start one, or set DOCKER_HOST"
        ) from None
    code = fingerprint.version(fingerprint.IN_IMAGES)
    with contextlib.closing(client):
        for name in (LIGHT_IMAGE, TRAINING_IMAGE):
            try:
                built = client.images.get(name).labels.get("org.opencontainers.image.version")
            except ImageNotFound:
                raise RunError("start", f"no such image: {name}: {_BUILD}") from None
            if built != code:
                raise RunError(
                    "start",
                    f"image {name} holds code version {built}, but this is {code}: {_BUILD}",
                )


def request(
    competition: Competition | Gan, root: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What the child process needs to start containers.

    Args:
        competition: as loaded; names the files that steps read.
        root: the pipeline root, mounted in every container at the same path.
        environment: environment variables for every step.

    Returns:
        `environment` and `mounts`, the folders to mount, as plain JSON values.
    """
    handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    if os.getuid() == 0:
        # The image's own user, who does not exist on this machine, writes here.
        root.chmod(0o777)
        (root / "events.jsonl").chmod(0o666)
    return {"environment": {**environment, **handed_on}, "mounts": _folders(competition)}


def _folders(competition: Competition | Gan) -> list[str]:
    """The local folders of the files that steps read."""
    paths_by_key = registry.files(competition)
    folders = {path for path in paths_by_key.pop("data.root") if not path.startswith("gs://")}
    # Weights with {fold} in their name do not name a file yet.
    paths_by_key["weights"] += weights_files(registry.members(competition), competition.folds.count)
    for path in (path for paths in paths_by_key.values() for path in paths):
        if path and not path.startswith("gs://"):
            folders.add(str(Path(path).parent))
    return sorted(folders)


def runner(request: Mapping[str, Any]) -> Any:
    """kfp's runner of containers; steps never run as root.

    They run as the user who started the run, or as the image's own user if that is root.

    Args:
        request: as `request` returns it.
    """
    from docker.types import Mount
    from kfp import local

    if os.getuid() == 0:
        # kfp creates the output folders on this machine, and the image's user writes to them.
        os.umask(0)
    user = {} if os.getuid() == 0 else {"user": f"{os.getuid()}:{os.getgid()}"}
    return local.DockerRunner(
        network_mode="host",
        # Events carry process ids: they must be unique on this machine, not 1 in each container.
        pid_mode="host",
        mounts=[Mount(folder, folder, type="bind", read_only=True) for folder in request["mounts"]],
        **user,
    )
