"""What runs on this machine: load, check, run and compile a competition file."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config import load as files
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.schema import parse
from trainer.errors import CompetitionError

if TYPE_CHECKING:
    from components.records.source import SourceSummary
    from foldline.result import RunResult


def load(path: str | Path) -> Competition | Gan:
    """Read a competition file or a GAN file.

        >>> file = fl.load("digits.toml")
        >>> file.metric, file.folds.count
        ('accuracy', 3)

    Args:
        path: the TOML file; paths in it are relative to its folder.

    Returns:
        the file with absolute paths. `dataclasses.replace` changes a key.

    Raises:
        CompetitionError: everything that is wrong with the file, one line a problem; its attribute
            `problems` has them with file, line, key and value.
    """
    return files.load(path)


def check(file: Competition | Gan | str | Path) -> "SourceSummary":
    """Check that the files which a competition file names exist and agree with each other.

        >>> summary = fl.check("digits.toml")
        >>> summary.train, len(summary.test_ids)
        (120, 30)

    Args:
        file: as `load` returns it, or its path.

    Returns:
        the number of labelled images, their ids and the ids of the test images; None where it would
        take a download, or a pass over every image.

    Raises:
        CompetitionError: a file is missing, or a machine does not exist.
        DataError: a file lacks a column, or ids do not match.
    """
    from components.check.files import check_files
    from pipelines.definitions import registry

    loaded = _loaded(file)
    registry.check_machine(loaded)
    return check_files(loaded, _origin(file))


def run(
    file: Competition | Gan | str | Path,
    out: str | Path | None = None,
    *,
    progress: Callable[[dict[str, Any]], None] | None = None,
    in_containers: bool = False,
) -> "RunResult":
    """Run a competition file on this machine; finished steps of an earlier run are reused.

        >>> steps = []
        >>> run = fl.run(
        ...     "digits.toml", "runs/digits", progress=lambda event: steps.append(event["step"])
        ... )
        >>> steps[0], steps[-1]
        ('check', 'report')
        >>> len(run.oof)
        120

    Args:
        file: as `load` returns it, or its path.
        out: the folder of the results; None for runs/<name>.
        progress: called with each event: a dictionary with the keys `event` (start, note, progress,
            epoch, fold, reused, stopping, done or error), `step`, `pid` and `text`. None prints
            them.
        in_containers: run every step in its own container; requires a Docker engine and the images
            that `make images` builds.

    Returns:
        the scores, predictions and paths of the run.

    Raises:
        CompetitionError: the file is wrong, or another run uses the folder.
        DataError: its data are.
        RunError: a step failed; `step` and `tail` say which, and what it printed last.
        KeyboardInterrupt: the run was interrupted; the same call resumes it.
    """
    from components.check.files import check_files
    from foldline.result import open_run
    from pipelines.local import RUNS, runner
    from pipelines.local.console import Console
    from pipelines.local.launch import run_file

    loaded = _loaded(file)
    # Not the machine: it is what a remote run takes.
    check_files(loaded, _origin(file))
    folder = Path(out) if out is not None else RUNS / loaded.name
    console = Console() if progress is None else None
    try:
        with runner.hold(folder):
            run_file(
                loaded,
                folder,
                progress or console.event,  # type: ignore[union-attr]  # one of both is there
                in_containers=in_containers,
            )
    finally:
        if console is not None:
            console.close()
    return open_run(folder)


def compile(
    file: Competition | Gan | str | Path, out: str | Path = "build", *, target: str = "local"
) -> Path:
    """Compile the pipeline of a file to YAML, with the file's values as its parameters' defaults.

        >>> fl.compile("digits.toml", target="local").name
        'kfold.yaml'

    Args:
        file: as `load` returns it, or its path.
        out: the folder of the YAML file.
        target: `local`, `vertex` (Vertex AI) or `gke` (Kubeflow Pipelines on a cluster).

    Returns:
        the YAML file.

    Raises:
        CompetitionError: the file is wrong, or there is no such target or machine.
    """
    from pipelines.definitions import compilation, registry

    if target not in compilation.TARGETS:
        raise CompetitionError(
            f"target = {target!r}: must be one of {', '.join(map(repr, compilation.TARGETS))}"
        )
    loaded = file if isinstance(file, Competition | Gan) else files.read(file)
    registry.check_machine(loaded)
    kind = registry.of(loaded)
    return compilation.compile_pipeline(
        Path(out) / f"{kind}{compilation.TARGETS[target]}",
        kind,
        compilation.parameters(loaded),
        compilation.target(target, loaded.machine),
    )


def _loaded(file: Competition | Gan | str | Path) -> Competition | Gan:
    if isinstance(file, Competition | Gan):
        # It may have been changed since it was loaded.
        return parse(type(file), dataclasses.asdict(file), file.name)
    return files.load(file)


def _origin(file: Competition | Gan | str | Path) -> str:
    """Return the name of a file for error messages."""
    return file.name if isinstance(file, Competition | Gan) else str(file)
