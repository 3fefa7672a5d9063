"""`foldline`: check a competition file, compile the pipelines, run one locally or remotely, verify
records, submit results.

Exit status: 0 for success; 1 if a step failed or records are damaged; 2 if the command line, the
competition file or its data is wrong; 130 if interrupted.
"""

import argparse
import os
import sys

from pipelines.cli import leaderboard, local, remote
from trainer.errors import CompetitionError, DataError, FoldlineError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="foldline", description="Labelled images to a leaderboard submission."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (local, remote, leaderboard):
        group.add(commands)
    options = parser.parse_args(arguments)
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


if __name__ == "__main__":
    sys.exit(main())
