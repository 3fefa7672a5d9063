"""`foldline leaderboard`: submit a run's results to kaggle.com, and list their scores."""

import argparse
from typing import Any

from pipelines.cli import arguments
from pipelines.local import RUNS


def add(commands: Any) -> None:
    """Add the leaderboard's commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    board = arguments.command(
        commands,
        "leaderboard",
        "submit a run's results to kaggle.com and show their scores",
        "foldline leaderboard submit digits.toml --message 'two models'",
        "foldline leaderboard list digits.toml",
    )
    actions = board.add_subparsers(required=True, metavar="ACTION")
    submit = arguments.command(
        actions,
        "submit",
        "upload the submission and wait for its score",
        "foldline leaderboard submit digits.toml",
        handler=_submit,
    )
    submit.add_argument(
        "--message",
        default="",
        metavar="TEXT",
        help="shown next to the submission (default: score and code version)",
    )
    submit.add_argument(
        "--again", action="store_true", help="submit even if the same file was submitted before"
    )
    listing = arguments.command(
        actions,
        "list",
        "show all submissions, and how well cross-validation predicts their scores",
        "foldline leaderboard list digits.toml",
        handler=_list,
    )
    for action in (submit, listing):
        arguments.add_file(action)
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
    out = options.out or RUNS / competition.name
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
    out = options.out or RUNS / competition.name
    with runner.hold(out):
        leaderboard.show(competition, out, say=print)
    return 0
