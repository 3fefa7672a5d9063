"""The commands for runs on a schedule: `foldline schedule` and `foldline schedules`."""

import argparse
import sys
from typing import Any

from pipelines.cli import arguments, remote
from pipelines.cli.destination_flags import add_destination, destination_flags
from pipelines.remote import cron
from pipelines.remote.destination import launcher_for, resolve_destination
from trainer.errors import CompetitionError, RemoteError

_DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}


def add(commands: Any) -> None:
    """Add the commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    schedule = arguments.command(
        commands,
        "schedule",
        "run a competition remotely on a schedule",
        "foldline schedule digits.toml --cron 'TZ=Europe/Rome 0 5 * * 1'",
        handler=_schedule,
    )
    schedule.add_argument(
        "--cron",
        required=True,
        metavar="CRON",
        help="five fields, such as '0 5 * * 1'; on Vertex AI, TZ=Europe/Rome may come first",
    )
    remote.add_for_new(schedule)
    listing = arguments.command(
        commands,
        "schedules",
        "list, pause, resume and delete schedules",
        "foldline schedules",
        "foldline schedules pause 1234567890",
        "foldline schedules delete 1234567890",
        handler=_schedules,
    )
    listing.add_argument(
        "action",
        nargs="?",
        choices=("list", *_DONE),
        default="list",
        help="what to do (default: list)",
    )
    listing.add_argument(
        "name", nargs="?", metavar="NAME", help="a schedule, as `foldline schedules` shows it"
    )
    for parser in (schedule, listing):
        add_destination(parser, is_new=True)


def _schedule(options: argparse.Namespace) -> int:
    cron.check(options.cron)
    if options.target == "kfp":
        cron.with_seconds(options.cron)
    _, launcher, request = remote.prepared(options)
    if options.dry_run:
        print("\nnothing was sent")
        return 0
    try:
        name = launcher.schedule(request, options.cron)
    except (KeyboardInterrupt, RemoteError):
        # Not retried: a schedule has no name of ours by which a duplicate would be rejected.
        print(
            f"see whether it was created: foldline schedules, or {launcher.schedules_page}",
            file=sys.stderr,
        )
        raise
    print(
        f"\n{name} is scheduled: {options.cron}\nto pause or delete it: foldline schedules, or"
        f" {launcher.schedules_page}"
    )
    return 0


def _schedules(options: argparse.Namespace) -> int:
    if (options.action == "list") is not (options.name is None):
        raise CompetitionError(
            f"foldline schedules {options.action}: "
            + ("takes no name" if options.name else "name the schedule; foldline schedules lists")
        )
    needs = ("project", "region") if options.target == "vertex" else ("host",)
    launcher = launcher_for(
        resolve_destination(options.target, destination_flags(options), needs=needs)
    )
    if options.action == "list":
        schedules = launcher.schedules()
        for found in schedules:
            following = f"  next {found.next_run}" if found.next_run else ""
            print(f"{found.name:<38}{found.state:<10}{found.cron:<28}{found.title}{following}")
        if not schedules:
            print("no schedule", file=sys.stderr)
        return 0
    launcher.change_schedule(options.name, options.action)
    print(f"{options.name}: {_DONE[options.action]}")
    return 0
