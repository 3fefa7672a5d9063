"""Flags that several commands share."""

import argparse
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.definitions import registry
from pipelines.targets import accelerators, machines
from trainer import runtime
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.machine import Machine
from trainer.errors import CompetitionError


def command(
    commands: Any, name: str, text: str, *examples: str, handler: Callable[..., int] | None = None
) -> argparse.ArgumentParser:
    """Add a command, with examples below its flags in `--help`.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
        name: the name of the command.
        text: what it does, in a few words that start with a verb.
        examples: command lines.
        handler: called with the parsed flags; returns the exit status. None if the command has
            actions of its own.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if handler is not None:
        parser.set_defaults(command=handler)
    return parser


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a competition file."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")


def folder(text: str) -> Path:
    """Parse a flag that names a folder."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; write . for the current folder")
    return Path(text)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the training machine."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--tpu", metavar="SLICE", help="train on a TPU slice: " + ", ".join(accelerators.TPUS)
    )
    kind.add_argument(
        "--gpu", metavar="KIND", help="train on GPUs: " + ", ".join(accelerators.GPUS)
    )
    kind.add_argument("--cpu", action="store_true", help="train without an accelerator")
    parser.add_argument("--gpus", type=int, metavar="N", help="how many GPUs")
    parser.add_argument(
        "--spot",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="train on cheaper machines that may be preempted",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the container images."""
    for name, variable in runtime.IMAGES.items():
        parser.add_argument(
            f"--image-{name}",
            default=os.environ.get(variable, ""),
            metavar="IMAGE",
            help=f"{name} container image, by digest (default: {variable})",
        )


def with_machine(competition: Competition | Gan, options: argparse.Namespace) -> Competition | Gan:
    """The file with the machine that the flags choose, checked.

    Args:
        competition: as loaded.
        options: the parsed flags of `add_machine`; those that are not given change nothing.

    Raises:
        CompetitionError: there is no such machine, or the flags contradict each other.
    """
    changed = dataclasses.replace(competition, machine=chosen_machine(competition.machine, options))
    registry.check_machine(changed)
    return changed


def chosen_machine(machine: Machine, options: argparse.Namespace) -> Machine:
    """The machine that the flags choose; arguments and errors as for `with_machine`."""
    chosen: dict[str, Any] = {}
    if options.tpu or options.gpu or options.cpu:
        chosen = {"tpu": options.tpu or "", "gpu": options.gpu or "", "gpus": 1}
        if (options.tpu or "", options.gpu or "") != (machine.tpu, machine.gpu):
            # The file's values are for another machine.
            chosen |= {"cpus": 0, "memory_gib": 0, "reservation": ""}
            if machine.flexible and options.cpu:
                chosen["when"] = "now"
    if options.gpus is not None:
        chosen["gpus"] = options.gpus
    if options.spot is not None:
        chosen["spot"] = False
        if options.spot or machine.when == "spot":
            chosen["when"] = "spot" if options.spot else "now"
    changed = dataclasses.replace(machine, **chosen)
    problem = next(changed.problems(), None)
    if problem is not None:
        raise CompetitionError(f"machine.{problem.key} {problem.message}")
    machines.check(changed)
    return changed
