"""Compile every pipeline to YAML, one file per target: `python pipelines/compile.py [FOLDER]`.

The files go into FOLDER (default: build).
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from pipelines.definitions.compilation import DEFAULTS, compile_all
from trainer.config.load import read
from trainer.config.machine import Machine
from trainer.errors import CompetitionError


def main(arguments: list[str]) -> None:
    """Compile everything and print the paths.

    `foldline compile` also takes a competition file and more flags.
    """
    parser = argparse.ArgumentParser(
        prog="compile.py", description="Compile the pipelines to YAML, one file per target."
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
        help="train on a TPU slice, such as v5e-8 (Vertex AI and GKE only)",
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
