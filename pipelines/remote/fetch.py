"""A finished remote run's results, as a local run leaves them."""

import tempfile
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from components.storage import objects
from components.storage.folders import fetch_folder
from pipelines.definitions import registry
from pipelines.local import runner
from pipelines.remote.launcher import RemoteRun, competition_of
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.errors import CompetitionError, RemoteError

File: TypeAlias = Competition | Gan


def fetch(
    run: RemoteRun, competition: File | None, out: Path | None, runs: Path
) -> tuple[File, Path, dict[str, Any]]:
    """Download a run's results, check them by their manifests, and put them where a local run does.

    Args:
        run: succeeded.
        competition: as loaded; None for what the run itself was given, which has no answers.
        out: the folder; None for one of `runs` named as the competition.

    Returns:
        the competition, the folder, and what metrics.json holds.

    Raises:
        RemoteError: the run left no such output. StorageError, IntegrityError: an object is not
            there or not whole.
    """
    given = competition_of(run)
    about = [(registry.of(file), file.name, file.classes) for file in (competition or given, given)]
    if competition is not None and about[0] != about[1]:
        raise CompetitionError(
            f"--file: is of the competition {competition.name!r}, and run {run.name} of"
            f" {given.name!r}"
        )
    competition = competition or given
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
        return competition, out, results.gather(competition, outputs, out, near=_near)


def _only(run: RemoteRun, key: tuple[str, str]) -> str:
    """The URI of an output. Tries that failed left none."""
    uris = run.outputs.get(key, [])
    if not uris:
        raise RemoteError(
            f"run {run.name}: its task {key[0]} left no {key[1]}: it was taken from another run's"
            " cache, which a Kubeflow Pipelines server does not tell of: submit with --no-cache,"
            " and training goes on from its checkpoints"
        )
    if not uris[-1].startswith("gs://"):
        raise RemoteError(f"run {run.name}: {uris[-1]}: lies where only its cluster can read")
    return uris[-1]


def _near(path: str) -> str:
    """A model's file: its manifest names it as the task saw it."""
    return objects.local_path(objects.uri_of(path))
