"""The two pipelines, k-fold and GAN, by the kind of file that each of them runs. kfp is imported
only where one is compiled."""

import importlib
from pathlib import Path
from typing import Any

from components.records.source import SourceSummary
from pipelines.targets import machines
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.member import Member
from trainer.errors import CompetitionError

KFOLD, GAN = "kfold", "gan"


def of(file: Competition | Gan) -> str:
    """The name of the pipeline that runs a file."""
    return KFOLD if isinstance(file, Competition) else GAN


def of_parameters(names: Any) -> str:
    """The name of the pipeline that has these parameters."""
    return GAN if "gan" in names else KFOLD


def wiring(kind: str) -> Any:
    """The module with `build` and `STEPS`."""
    return importlib.import_module(f"pipelines.definitions.{kind}")


def results(kind: str) -> Any:
    """The module that knows what a run leaves: `names`, `gather`, `score_table`, `FETCHED`."""
    return importlib.import_module(
        "pipelines.results.kfold" if kind == KFOLD else "pipelines.results.gan"
    )


def check_files(file: Competition | Gan, origin: str | Path) -> SourceSummary:
    """Look at the files that a file names, as the first step of its pipeline does.

    Raises:
        CompetitionError, DataError: as that step says.
    """
    if isinstance(file, Competition):
        from components.check.files import check_files as check

        return check(file, origin)
    from components.gan.resolve import check_files as check_gan

    return check_gan(file, origin)


def check_machine(file: Competition | Gan) -> None:
    """Is there such a machine, and can its devices share the batches?

    Raises:
        CompetitionError: no. A member's batches are checked where it trains, for the size that fits
            may depend on the devices.
    """
    machines.check(file.machine)
    count = machines.devices(file.machine)
    if isinstance(file, Gan) and file.gan.batch_size % count:
        raise CompetitionError(
            f"gan.batch_size = {file.gan.batch_size}: must be a multiple of the {count} devices of"
            f" machine.{'tpu' if file.machine.tpu else 'gpu'} ="
            f" {file.machine.tpu or file.machine.gpu!r}"
        )


def members(file: Competition | Gan) -> list[Member]:
    """The recipes of all classifiers that are trained."""
    return file.members if isinstance(file, Competition) else [file.judge]


def files(file: Competition | Gan) -> dict[str, list[str]]:
    """Every file and folder that a run reads, by the keys that name them; "" for none. Weights
    count where they are files."""
    data = file.data
    named = {
        "data.root": [data.root],
        "data.train": [data.train],
        "data.test": [data.test],
        "data.external": [one.train for one in data.external],
        "folds.file": [file.folds.file],
        "folds.exclude_file": [file.folds.exclude_file],
        "weights": [member.weights for member in members(file) if "/" in member.weights],
    }
    if isinstance(file, Competition):
        named["submission.sample"] = [file.submission.sample]
        named["blend.external"] = [
            path for one in file.blend.external for path in (one.oof, one.test)
        ]
    else:
        named["weights"] += [path for path in [file.gan.features.weights] if "/" in path]
    return named
