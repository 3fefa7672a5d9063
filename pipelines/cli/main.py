"""`foldline`: check a competition file, run it here or remotely, and use its results."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from pipelines.cli import doctor, leaderboard, local, remote, schedules, start
from trainer.errors import CompetitionError, DataError, FoldlineError

# The commands by what a person wants to do.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "start": ("init", "check", "explain", "doctor", "completion"),
    "run on this machine": ("run", "runs", "open", "compile", "verify"),
    "run on Vertex AI or a Kubeflow Pipelines server": (
        "submit",
        "schedule",
        "schedules",
        "status",
        "logs",
        "cancel",
        "fetch",
        "list",
    ),
    "use the results": ("leaderboard",),
}
STATUSES = """\
exit status:
  0    success
  1    a step failed, records are damaged, or a service refused or failed
  2    the command line, the competition file or its data is wrong
  130  interrupted; the same command resumes"""


class _Grouped(argparse.RawDescriptionHelpFormatter):
    """Leaves out the list of commands that argparse makes: `_grouped` makes one by groups."""

    def add_argument(self, action: argparse.Action) -> None:
        if action.nargs != argparse.PARSER:
            super().add_argument(action)


class _Version(argparse.Action):
    """Prints the version. Reading it takes longer than all the rest of the parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"foldline {version('foldline')}")
        parser.exit()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except FoldlineError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, CompetitionError | DataError) else 1
    except BrokenPipeError:
        # The reader of a pipe has closed it, as in `foldline check FILE | head -0`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="foldline",
        usage="foldline [--version] [--help] COMMAND ...",
        description="Turn labelled images into an honest score and a leaderboard submission.",
        formatter_class=_Grouped,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(required=True, metavar="COMMAND", prog="foldline")
    for module in (start, doctor, local, remote, schedules, leaderboard):
        module.add(commands)
    top.epilog = _grouped(commands)
    return top


def _grouped(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> str:
    """Return the list of the commands by group, for --help."""
    lines = []
    for group, names in GROUPS.items():
        lines.append(f"{group}:")
        for name in names:
            text = (commands.choices[name].description or "").rstrip(".")
            lines.append(f"  {name:<12} {text[0].lower()}{text[1:]}")
        lines.append("")
    return "\n".join([*lines, "foldline COMMAND --help shows the flags and examples.\n", STATUSES])


if __name__ == "__main__":
    sys.exit(main())
