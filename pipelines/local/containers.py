"""A local run with every task in a container of its own, by a Docker engine on this machine."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import LIGHT_IMAGE, TRAINING_IMAGE
from components.check.files import weights_files
from pipelines.definitions import registry
from pipelines.local import fingerprint
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import RunError

# Of the launcher's environment, what a task needs as well.
_HANDED_ON = ("STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
_BUILD = "build them: make images"


def check_images() -> None:
    """Is there an engine, and has it the images of this very code?

    Raises:
        RunError: no, with what to do.
    """
    try:
        import docker
    except ImportError:
        raise RunError(
            "start", "--docker needs the extra docker: pip install '.[docker]'"
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
                raise RunError("start", f"there is no image {name}: {_BUILD}") from None
            if built != code:
                raise RunError(
                    "start", f"image {name} is of the code {built}, and this is {code}: {_BUILD}"
                )


def request(
    competition: Competition | Gan, root: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """What the child needs to start containers.

    Args:
        competition: names the folders that a task reads.
        root: the pipeline root, which every container sees at the same path.
        environment: variables for every task.
    """
    handed_on = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    if os.getuid() == 0:
        # The image's own user writes here, who is nobody on this machine.
        root.chmod(0o777)
        (root / "events.jsonl").chmod(0o666)
    return {"environment": {**environment, **handed_on}, "mounts": _folders(competition)}


def _folders(competition: Competition | Gan) -> list[str]:
    """The local folders in which the files lie that tasks read."""
    named = registry.files(competition)
    folders = {path for path in named.pop("data.root") if not path.startswith("gs://")}
    # Of weights by fold the name says no file yet.
    named["weights"] += weights_files(registry.members(competition), competition.folds.count)
    for path in (path for paths in named.values() for path in paths):
        if path and not path.startswith("gs://"):
            folders.add(str(Path(path).parent))
    return sorted(folders)


def runner(request: Mapping[str, Any]) -> Any:
    """kfp's runner of containers: the image's own user, or the one who started the run, and never
    root."""
    from docker.types import Mount
    from kfp import local

    if os.getuid() == 0:
        # kfp makes the folders of outputs here, and the image's user writes into them.
        os.umask(0)
    user = {} if os.getuid() == 0 else {"user": f"{os.getuid()}:{os.getgid()}"}
    return local.DockerRunner(
        network_mode="host",
        # Events name a process: each of a machine, not each the first of its container.
        pid_mode="host",
        mounts=[Mount(folder, folder, type="bind", read_only=True) for folder in request["mounts"]],
        **user,
    )
