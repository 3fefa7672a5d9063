"""`foldline leaderboard`: submit a run's results to kaggle.com, and list their scores."""

import argparse
from pathlib import Path
from typing import Any

from pipelines.cli import arguments


def add(commands: Any) -> None:
    """Add the leaderboard's commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    board = commands.add_parser(
        "leaderboard", help="submit a run's results to kaggle.com and show their scores"
    )
    actions = board.add_subparsers(required=True, metavar="ACTION")
    submit = actions.add_parser("submit", help="upload the submission and wait for its score")
    submit.add_argument(
        "--message",
        default="",
        metavar="TEXT",
        help="shown next to the submission (default: score and code version)",
    )
    submit.add_argument(
        "--again", action="store_true", help="submit even if the same file was submitted before"
    )
    submit.set_defaults(command=_submit)
    listing = actions.add_parser(
        "list", help="show all submissions, and how well cross-validation predicts their scores"
    )
    listing.set_defaults(command=_list)
    for action in (submit, listing):
        action.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
        action.add_argument(
            "--out",
            type=arguments.folder,
            metavar="DIR",
            help="the run's folder (default: runs/<name>)",
        )


def _submit(options: argparse.Namespace) -> int:
    from pipelines.local import runner
    from pipelines.results import leaderboard
    from trainer.config.load import load_competition

    competition = load_competition(options.file)
    out = options.out or Path("runs") / competition.name
    with runner.hold(out):
        leaderboard.submit(
            competition, out, message=options.message, again=options.again, say=print
        )
    return 0


def _list(options: argparse.Namespace) -> int:
    from pipelines.local import runner
    from pipelines.results import leaderboard
    from trainer.config.load import load_competition

    competition = load_competition(options.file)
    out = options.out or Path("runs") / competition.name
    with runner.hold(out):
        leaderboard.show(competition, out, say=print)
    return 0
