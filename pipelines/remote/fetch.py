"""Downloads a finished remote run's results, and leaves them as a local run does."""

import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from components.storage import objects
from components.storage.folders import fetch_folder
from pipelines.definitions import registry
from pipelines.local import runner
from pipelines.remote.launcher import RemoteRun
from pipelines.remote.prepare import competition_of
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import CompetitionError, RemoteError

File: TypeAlias = Competition | Gan


def fetch(
    run: RemoteRun, competition: File | None, out: Path | None, runs: Path
) -> tuple[File, Path, dict[str, Any]]:
    """Download a run's results, check them against their manifests, and copy them to a folder.

    Args:
        run: a run that succeeded.
        competition: as loaded; None to rebuild it from the run, which has no answers.
        out: the folder; None for the folder in `runs` that is named after the competition.
        runs: the folder of all results.

    Returns:
        the competition, the folder, and the contents of metrics.json.

    Raises:
        CompetitionError: `competition` is not the run's.
        RemoteError: the run has no such output.
        StorageError: an object is missing or cannot be read.
        IntegrityError: an object is incomplete or damaged.
    """
    rebuilt = competition_of(run)
    identities = [
        (registry.of(file), file.name, file.classes) for file in (competition or rebuilt, rebuilt)
    ]
    if competition is not None and identities[0] != identities[1]:
        raise CompetitionError(
            f"--file: is the file of {competition.name!r}, but run {run.name} is of"
            f" {rebuilt.name!r}"
        )
    competition = competition or rebuilt
    out = out or runs / competition.name
    with runner.hold(out), tempfile.TemporaryDirectory(prefix="foldline-") as scratch:
        results = registry.results(registry.of(competition))
        outputs = {"yaml": Path(scratch) / "pipeline.yaml"}
        outputs["yaml"].write_text(yaml.safe_dump(dict(run.spec), sort_keys=True), encoding="utf-8")
        for name, key in results.FETCHED.items():
            uri = _only(run, key)
            target = Path(scratch) / name.rstrip("/")
            if name.endswith("/"):
                fetch_folder(uri, target)
            else:
                target.write_bytes(objects.read(uri))
            outputs[name.rstrip("/")] = target
        return competition, out, results.gather(competition, outputs, out, near=_download)


def _only(run: RemoteRun, key: tuple[str, str]) -> str:
    """The URI of an output of a step; attempts that failed left none.

    Args:
        run: the run.
        key: the names of the step and of the output.

    Raises:
        RemoteError: there is no such output, or it is not in Cloud Storage.
    """
    uris = run.outputs.get(key, [])
    if not uris:
        raise RemoteError(
            f"run {run.name}: step {key[0]} has no output {key[1]}: it was reused from another run,"
            " whose artifacts a Kubeflow Pipelines server does not report: submit again with"
            " --no-cache; training resumes from its checkpoints"
        )
    if not uris[-1].startswith("gs://"):
        raise RemoteError(f"run {run.name}: {uris[-1]}: only its cluster can read this artifact")
    return uris[-1]


def _download(path: str) -> str:
    """A local copy of a model file; path: as the training step saw it, below /gcs/."""
    return objects.local_path(objects.uri_of(path))
