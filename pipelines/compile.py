"""`python pipelines/compile.py [FOLDER]`: every pipeline as YAML, into build/ or the folder named."""

import sys
from collections.abc import Mapping
from pathlib import Path

from trainer.manifest import whole_file


def compile_kfold(path: str | Path, environment: Mapping[str, Mapping[str, str]] | None = None) -> Path:
    """Compile the k-fold pipeline to `path`, byte for byte the same every time. `environment` as in `pipelines.kfold`."""
    from kfp.compiler import Compiler

    from pipelines.kfold import kfold

    path = Path(path)
    with whole_file(path) as partial:
        Compiler().compile(kfold(environment), str(partial))
    return path


def main(arguments: list[str]) -> None:
    """Compile everything and say where it went."""
    print(compile_kfold(Path(arguments[0] if arguments else "build") / "kfold.yaml"))


if __name__ == "__main__":
    main(sys.argv[1:])
