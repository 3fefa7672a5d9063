"""The two pipelines, k-fold and GAN, and which of them runs a file.

kfp is imported only when a pipeline is compiled.
"""

import importlib
from typing import Any

from pipelines.targets import machines
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.member import Member
from trainer.errors import CompetitionError

KFOLD, GAN, DOCTOR = "kfold", "gan", "doctor"


def of(file: Competition | Gan) -> str:
    """The name of the pipeline that runs a file."""
    return KFOLD if isinstance(file, Competition) else GAN


def of_parameters(names: Any) -> str:
    """The name of the pipeline that has these parameters."""
    return GAN if "gan" in names else KFOLD


def wiring(kind: str) -> Any:
    """The module that defines a pipeline: `build`, `STEPS`."""
    return importlib.import_module(f"pipelines.definitions.{kind}")


def results(kind: str) -> Any:
    """The module that collects a run's results: `names`, `gather`, `score_table`, `FETCHED`."""
    return importlib.import_module(
        "pipelines.results.kfold" if kind == KFOLD else "pipelines.results.gan"
    )


def check_machine(file: Competition | Gan) -> None:
    """Check that the machine exists and that its devices can share the batches.

    A member's batch size is checked when it trains: the size that fits may depend on the devices.

    Raises:
        CompetitionError: there is no such machine; or it has several hosts, or a number of devices
            that does not divide gan.batch_size, and the file is a GAN's.
    """
    machines.check(file.machine)
    count = machines.devices(file.machine)
    hosts = machines.hosts(file.machine)
    if hosts > 1 and not isinstance(file, Competition):
        raise CompetitionError(
            f"machine.tpu = {file.machine.tpu!r}: has {hosts} hosts, and a GAN trains on one: use a"
            " slice of at most 8 chips"
        )
    if isinstance(file, Gan) and file.gan.batch_size % count:
        raise CompetitionError(
            f"gan.batch_size = {file.gan.batch_size}: must be a multiple of the {count} devices of"
            f" machine.{'tpu' if file.machine.tpu else 'gpu'} ="
            f" {file.machine.tpu or file.machine.gpu!r}"
        )


def members(file: Competition | Gan) -> list[Member]:
    """The recipes of all classifiers that a run trains: the members, or the judge of a GAN."""
    return file.members if isinstance(file, Competition) else [file.judge]


def files(file: Competition | Gan) -> dict[str, list[str]]:
    """Every file and folder that a run reads, by the key that names it; "" if the key is not set.

    Names of pretrained weights, such as imagenet, are left out: they are not files.
    """
    data = file.data
    paths = {
        "data.root": [data.root],
        "data.train": [data.train],
        "data.test": [data.test],
        "data.external": [entry.train for entry in data.external],
        "folds.file": [file.folds.file],
        "folds.exclude_file": [file.folds.exclude_file],
        "weights": [member.weights for member in members(file) if "/" in member.weights],
    }
    if isinstance(file, Competition):
        paths["submission.sample"] = [file.submission.sample]
        paths["blend.external"] = [
            path for entry in file.blend.external for path in (entry.oof, entry.test)
        ]
    else:
        paths["weights"] += [path for path in [file.gan.features.weights] if "/" in path]
    return paths
