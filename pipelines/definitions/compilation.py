"""Compile a pipeline to YAML, one file per target.

The values of a competition file become the defaults of the pipeline parameters, so that a console's
form comes filled in: only the location of the data is missing.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from components import class_list
from pipelines.definitions import registry
from trainer.artifacts.manifest import atomic_write
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.machine import Machine, Vertex

if TYPE_CHECKING:
    from pipelines.targets.base import ContainerImages, Target

# The ending of the YAML file's name, by target.
TARGETS = {"local": ".yaml", "vertex": ".vertex.yaml", "gke": ".gke.yaml"}
_COMPETITIONS = Path(__file__).resolve().parents[1] / "competitions"
# The files whose values become the defaults if no file is named: one per pipeline.
DEFAULTS = (_COMPETITIONS / "digits.toml", _COMPETITIONS / "digits_gan.toml")
Defaults: TypeAlias = Mapping[str, Any]


def compile_pipeline(path: str | Path, kind: str, defaults: Defaults, target: "Target") -> Path:
    """Compile a pipeline to a YAML file, byte for byte the same every time.

    Args:
        path: the file to write.
        kind: the pipeline's name in `pipelines.definitions.registry`: kfold or gan.
        defaults: a value for every pipeline parameter.
        target: where the steps run.

    Returns:
        `path`.

    Raises:
        CompetitionError: the target has no such accelerator, or needs a library that is not
            installed.
    """
    from kfp.compiler import Compiler

    from pipelines.targets.base import replace_shell

    path = Path(path)
    with atomic_write(path) as partial:
        wiring = registry.wiring(kind)
        replace_shell(wiring.STEPS.values())
        Compiler().compile(wiring.build(defaults, target), str(partial))
        # kfp's header comment prints dict and list defaults in an order that varies between
        # processes: remove those defaults.
        text = partial.read_text(encoding="utf-8")
        partial.write_text(
            re.sub(r"(?m)^(#    \w+: (?:dict|list)) \[Default: .*\]$", r"\1", text),
            encoding="utf-8",
        )
    return path


def parameters(file: Competition | Gan) -> dict[str, Any]:
    """The pipeline parameters of a file, as `read` or `load` returns it; paths stay as written."""
    values = file.pipeline_arguments()
    root = values["data"]["root"]
    # A local folder does not exist on other machines, so it is no default for a console.
    values["root"] = root if root.startswith("gs://") else ""
    return values


def target(
    kind: str,
    machine: Machine,
    images: "ContainerImages | None" = None,
    vertex: Vertex | None = None,
) -> "Target":
    """The target of a kind.

    Args:
        kind: local, vertex or gke.
        machine: what training runs on; `compile_pipeline` checks that the target has it.
        images: the container images; None for the default tags.
        vertex: resources of the user's project on Vertex AI; None for none.
    """
    from pipelines.targets import base
    from pipelines.targets.gke import GkeTarget
    from pipelines.targets.vertex import VertexTarget

    target_class = {"local": base.Target, "vertex": VertexTarget, "gke": GkeTarget}[kind]
    return target_class(
        machine=machine, images=images or base.ContainerImages(), vertex=vertex or Vertex()
    )


def compile_all(
    folder: Path, files: Sequence[Competition | Gan], images: "ContainerImages | None" = None
) -> list[Path]:
    """Compile the pipeline of each file for every target.

    Args:
        folder: where the YAML files go.
        files: as `read` returns them; their values become the parameter defaults.
        images: the container images; None for the default tags.

    Returns:
        the paths of the YAML files; before them those of lists of classes that are too long for a
        parameter: in a bucket of your own such a list is the parameter `classes`,
        ["file:gs://bucket/classes.txt"].
    """
    listed: list[Path] = []

    def values(file: Competition | Gan) -> dict[str, Any]:
        def write(path: str, text: str) -> None:
            class_list.write_locally(path, text)
            listed.append(Path(path))

        return class_list.shortened(parameters(file), str(folder.resolve()), write)

    defaults = {registry.of(file): values(file) for file in files}
    return listed + [
        compile_pipeline(
            folder / f"{name}{ending}",
            name,
            defaults[name],
            target(kind, file.machine, images, file.vertex),
        )
        for file, name in ((file, registry.of(file)) for file in files)
        for kind, ending in TARGETS.items()
    ]
