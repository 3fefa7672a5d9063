"""`python pipelines/compile.py [FOLDER]`: every pipeline as YAML, one file a target, into build/ or
the folder named.

The values that a competition file has are the defaults of the parameters, so that a console's form
comes filled in: all that is missing there is where the data is."""

import argparse
import dataclasses
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.definitions import registry
from trainer.artifacts.manifest import atomic_write
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.load import read
from trainer.config.machine import Machine
from trainer.errors import CompetitionError

if TYPE_CHECKING:
    from pipelines.targets.base import ContainerImages, Target

# What a target's files end with.
TARGETS = {"local": ".yaml", "vertex": ".vertex.yaml", "gke": ".gke.yaml"}
_COMPETITIONS = Path(__file__).resolve().parent / "competitions"
# Whose values are the defaults where no file is named: one of each pipeline.
DEFAULTS = (_COMPETITIONS / "digits.toml", _COMPETITIONS / "digits_gan.toml")
Defaults: TypeAlias = Mapping[str, Any]


def compile_pipeline(path: str | Path, kind: str, defaults: Defaults, target: "Target") -> Path:
    """Compile a pipeline to `path`, byte for byte the same every time.

    Args:
        kind: its name, as `pipelines.definitions.registry` has it. defaults, target: as `build` of
            its module takes them.
    """
    from kfp.compiler import Compiler

    path = Path(path)
    with atomic_write(path) as partial:
        Compiler().compile(registry.wiring(kind).build(defaults, target), str(partial))
        # kfp's comment at the top shows tables in an order that changes from process to process.
        text = partial.read_text(encoding="utf-8")
        partial.write_text(
            re.sub(r"(?m)^(#    \w+: (?:dict|list)) \[Default: .*\]$", r"\1", text),
            encoding="utf-8",
        )
    return path


def parameters(file: Competition | Gan) -> dict[str, Any]:
    """The pipeline's parameters of a file, as `read` or `load` gives it: with the paths as they are
    there."""
    values = file.pipeline_arguments()
    root = values["data"]["root"]
    # A folder of this machine is nowhere else; what the file says of it is no default for a
    # console.
    values["root"] = root if root.startswith("gs://") else ""
    return values


def target(kind: str, machine: Machine, images: "ContainerImages | None" = None) -> "Target":
    """`local`, `vertex` or `gke`.

    Raises:
        CompetitionError: there is no such accelerator there.
    """
    from pipelines.targets import base

    made = {"local": base.Target, "vertex": base.VertexTarget, "gke": base.GkeTarget}[kind]
    return made(machine=machine, images=images or base.ContainerImages())


def compile_all(
    folder: Path, files: Sequence[Competition | Gan], images: "ContainerImages | None" = None
) -> list[Path]:
    """The pipeline of each file for every target, with the values of the file, as `read` gives it,
    for defaults."""
    return [
        compile_pipeline(
            folder / f"{name}{ending}", name, parameters(file), target(kind, file.machine, images)
        )
        for file, name in ((file, registry.of(file)) for file in files)
        for kind, ending in TARGETS.items()
    ]


def main(arguments: list[str]) -> None:
    """Compile everything and say where it went. `foldline compile` takes a competition file and
    more flags."""
    parser = argparse.ArgumentParser(
        prog="compile.py", description="The pipelines as YAML, one file a target."
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("build"),
        metavar="FOLDER",
        help="default: build",
    )
    parser.add_argument(
        "--tpu",
        default="",
        metavar="SLICE",
        help="train on a TPU slice, as v5e-8, where there are machines",
    )
    options = parser.parse_args(arguments)
    files = [dataclasses.replace(read(path), machine=Machine(tpu=options.tpu)) for path in DEFAULTS]
    try:
        for path in compile_all(options.folder, files):
            print(path)
    except CompetitionError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
