"""Names for the folders of checkpoints: a digest of all that decides the results of a job."""

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.artifacts import source_code, tables
from trainer.artifacts.manifest import sha256
from trainer.artifacts.objective import Artifacts, Objective
from trainer.backends.devices import host_threads
from trainer.config.member import Member

_LIBRARIES = (
    "keras",
    "numpy",
    "opencv-python-headless",
    "scikit-learn",
    "simplejpeg",
    "tensorflow",
    "tensorflow-cpu",
    "jax",
)


def job_key(
    member: Member,
    folds: Sequence[int],
    artifacts: Artifacts,
    objective: Objective,
    weights_digest: str = "",
) -> str:
    """A digest, 24 hex digits, that names the folder of a training job's checkpoints.

    Checkpoints of another recipe, other data, other code or other library versions have another
    name and are never used. Devices are not known yet: each checkpoint records its own.

    Args:
        member: the recipe.
        folds: the folds that the job trains.
        artifacts: the input files.
        objective: the ML task, classes, metric and seed.
        weights_digest: digest of the files of initial weights, "" for none.
    """
    files = [
        Path(artifacts.records) / tables.EXAMPLES,
        Path(artifacts.folds_table),
        Path(artifacts.statistics),
    ]
    recipe = [dataclasses.asdict(member), list(folds), dataclasses.asdict(objective)]
    return results_key("trainer.training.fit", [*recipe, weights_digest], files)


def results_key(module: str, recipe: list[Any], files: Sequence[Path]) -> str:
    """A digest, 24 hex digits, of code, libraries, recipe and input files.

    Args:
        module: the entry point: the code counts as far as this module reaches it.
        recipe: JSON values.
        files: the input files.
    """
    parts = [
        *recipe,
        source_code.digest(source_code.reached([module])),
        _libraries(),
        host_threads(),
        [sha256(path) for path in files],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _libraries() -> list[str]:
    versions = []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # the other TensorFlow, or a backend that this machine does not have
    return versions
