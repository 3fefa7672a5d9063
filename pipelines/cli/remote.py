"""The remote commands of `foldline`: submit, status, logs, cancel, fetch and list."""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.cli import arguments
from pipelines.cli.destination_flags import (
    add_destination,
    destination_flags,
    own_code_warnings,
    parsed_labels,
)
from pipelines.definitions import registry
from pipelines.local import RUNS
from pipelines.remote.destination import Destination, launcher_for, recall, remember
from pipelines.remote.destination import resolve_destination as resolve
from trainer.config.load import load
from trainer.errors import CompetitionError, RemoteError

# Seconds between two requests for the state of a run.
POLL = 15.0
# How many of its last log lines are printed for a failed step.
TAIL = 15


def add(commands: Any) -> None:
    """Add the remote commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    submit = arguments.command(
        commands,
        "submit",
        "run a competition on Vertex AI or on a Kubeflow Pipelines server",
        "foldline submit digits.toml --project my-project --region us-central1 \\\n"
        "      --bucket my-bucket --service-account foldline@my-project.iam.gserviceaccount.com",
        "foldline submit digits.toml --gpu L4 --spot --dry-run",
        "foldline submit digits.toml --target kfp --host https://kubeflow.example.com \\\n"
        "      --bucket my-bucket",
        handler=_submit,
    )
    add_for_new(submit)
    submit.add_argument(
        "--wait", action="store_true", help="wait until the run ends; fail if the run fails"
    )
    _add_for_submitted(commands)
    listing = arguments.command(
        commands, "list", "list the latest runs", "foldline list --limit 5", handler=_list
    )
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help="how many runs (default: 20)"
    )
    for name in ("submit", "status", "logs", "cancel", "fetch", "list"):
        add_destination(commands.choices[name], is_new=name in ("submit", "list"))


def add_for_new(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a run that is not submitted yet."""
    arguments.add_file(parser)
    parser.add_argument(
        "--experiment", default="", metavar="NAME", help="experiment that groups the run"
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="K=V",
        help="label for bills and lists; may be repeated",
    )
    parser.add_argument(
        "--notify",
        default="",
        metavar="WHO",
        help="who hears of a failed run: on Vertex AI mail addresses, separated by commas; on a"
        " cluster a Kubernetes secret whose key `url` is a webhook",
    )
    parser.add_argument(
        "--cache",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="reuse finished steps of other runs",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="show the request and its estimated cost; send nothing",
    )
    parser.add_argument(
        "--prices",
        type=Path,
        metavar="FILE",
        help="a price table (default: pipelines/remote/prices.toml)",
    )
    arguments.add_machine(parser)
    arguments.add_images(parser)


def _add_for_submitted(commands: Any) -> None:
    """Add the commands for a run that was submitted."""
    for name, handler, text, flags in (
        ("status", _status, "show a run and its steps", ""),
        ("logs", _logs, "show the last log lines of a run's steps", " --step train --lines 200"),
        ("cancel", _cancel, "cancel a run", ""),
        (
            "fetch",
            _fetch,
            "download a finished run's results into runs/<name>/",
            " --file digits.toml",
        ),
    ):
        example = f"foldline {name} digits-20260102-030405-abcde{flags}"
        parser = arguments.command(commands, name, text, example, handler=handler)
        parser.add_argument(
            "run", metavar="RUN", help="the run's name, as shown by `foldline list`"
        )
        if name == "logs":
            parser.add_argument("--step", default="", metavar="NAME", help="only of this step")
            parser.add_argument(
                "--lines", type=int, default=50, metavar="N", help="lines per step (default: 50)"
            )
        if name == "fetch":
            parser.add_argument(
                "--out", type=arguments.folder, metavar="DIR", help="default: runs/<name>"
            )
            parser.add_argument(
                "--file",
                type=Path,
                metavar="FILE",
                help="the competition file, to score the submission against its answers",
            )


def _locate(options: argparse.Namespace) -> tuple[Destination, Any]:
    """The destination of a submitted run, and its launcher.

    Flags override what was stored when the run was submitted.
    """
    stored = recall(options.run, RUNS)
    target = options.target or stored.get("target") or "vertex"
    fields: Mapping[str, str | None] = {
        **stored,
        **{name: value for name, value in destination_flags(options).items() if value},
    }
    where = resolve(
        target, fields, needs=("project", "region") if target == "vertex" else ("host",)
    )
    return where, launcher_for(where)


def prepared(options: argparse.Namespace) -> tuple[Destination, Any, Any]:
    """The destination, the launcher and a checked request.

    Prints warnings, the estimated cost and, for --dry-run, the request.
    """
    from pipelines.remote import estimate
    from pipelines.remote.prepare import prepare, shown
    from pipelines.targets.base import ContainerImages

    competition = arguments.with_machine(load(options.file), options)
    where = resolve(options.target, destination_flags(options))
    # Before the data is checked: it fails at once if the user is not signed in.
    launcher = launcher_for(where)
    costs = estimate.prices(options.prices)
    competition = estimate.with_price(competition, where.target, costs)
    request = prepare(
        competition,
        options.file,
        where,
        RUNS / competition.name,
        images=ContainerImages(options.image_light, options.image_training),
        labels=parsed_labels(options.label),
        experiment=options.experiment,
        cache=options.cache,
        notify=options.notify,
    )
    for warning in [*own_code_warnings(competition), *launcher.check(competition.machine)]:
        print(f"warning: {warning}", file=sys.stderr)
    if options.dry_run:
        print(shown(launcher.body(request), request.file))
    assert request.found is not None  # only the doctor's run has no data
    print(estimate.table(competition, request.found, where.target, costs))
    return where, launcher, request


def _submit(options: argparse.Namespace) -> int:
    where, launcher, request = prepared(options)
    if options.dry_run:
        print("\nnothing was sent")
        return 0
    # Before it is sent: a run that costs money must stay known.
    remember(where, request.name, RUNS / request.title)
    try:
        run = launcher.submit(request)
    except KeyboardInterrupt:
        print(
            f"\nthe run may have started: `foldline status {request.name}`, `foldline cancel"
            f" {request.name}`",
            file=sys.stderr,
        )
        return 130
    print(f"\nsubmitted {run.name}\n{run.console}")
    if run.warning:
        print(f"warning: {run.warning}", file=sys.stderr)
    return watch(launcher, run.name) if options.wait else 0


def watch(launcher: Any, name: str, *, results: bool = True) -> int:
    """Print each change of a step's state until the run ends; returns the exit status.

    Args:
        launcher: of the run.
        name: the name of the run.
        results: the run has results: say how to get them, or why it failed.
    """
    from pipelines.remote.launcher import FINISHED

    printed: dict[tuple[str, int], str] = {}
    try:
        while True:
            run = launcher.get(name)
            for number, step in enumerate(run.tasks):
                if printed.get((step.name, number)) != step.state:
                    printed[(step.name, number)] = step.state
                    print(f"{step.name:<12}{step.state}", flush=True)
            if run.state in FINISHED:
                break
            time.sleep(POLL)
    except RemoteError:
        print(f"the run continues: `foldline status {name}`", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print(
            f"\nthe run continues: `foldline status {name}`, `foldline cancel {name}`",
            file=sys.stderr,
        )
        return 130
    print(f"{run.name}: {run.state}")
    if not results:
        return int(run.state != "succeeded")
    if run.state != "succeeded":
        _explain(launcher, run)
        return 1
    print(f"{run.console}\nto download its results: foldline fetch {run.name}")
    return 0


def _explain(launcher: Any, run: Any) -> None:
    """Print which steps failed, why, and the end of their logs."""
    failed = [step for step in run.tasks if step.state == "failed"]
    for step in failed:
        print(
            f"\nstep {step.name} failed: {step.error or 'the service gives no reason'}",
            file=sys.stderr,
        )
        try:
            lines = list(launcher.logs(run, step, lines=TAIL))
        except RemoteError as error:
            lines = [f"(its log cannot be read: {error})"]
        for line in lines or ["(no log)"]:
            print(f"    {line}", file=sys.stderr)
    if not failed and run.error:
        print(run.error, file=sys.stderr)
    print(run.console, file=sys.stderr)


def _status(options: argparse.Namespace) -> int:
    _, launcher = _locate(options)
    run = launcher.get(options.run)
    print(f"{run.name}: {run.state}, since {run.created}\n{run.console}")
    for step in run.tasks:
        print(f"  {step.name:<12}{step.state}{': ' + step.error if step.error else ''}")
    if run.error:
        print(run.error)
    return 0


def _logs(options: argparse.Namespace) -> int:
    if options.lines < 1:
        raise CompetitionError(f"--lines {options.lines}: must be at least 1")
    _, launcher = _locate(options)
    run = launcher.get(options.run)
    if not run.tasks:
        print(f"{run.name}: {run.state}; no step has started yet")
        return 0
    steps = [step for step in run.tasks if not options.step or step.name == options.step]
    if not steps:
        names = ", ".join(sorted({step.name for step in run.tasks}))
        raise CompetitionError(f"--step {options.step}: no such step in {run.name}; it has {names}")
    for number, step in enumerate(steps):
        print(f"{'' if number == 0 else chr(10)}{step.name} ({step.state})")
        for line in launcher.logs(run, step, lines=options.lines):
            print(f"    {line}")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    _, launcher = _locate(options)
    launcher.cancel(options.run)
    print(f"{options.run}: cancelling; `foldline status {options.run}` shows when it has ended")
    return 0


def _list(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise CompetitionError(f"--limit {options.limit}: must be at least 1")
    needs = ("project", "region") if options.target == "vertex" else ("host",)
    for run in launcher_for(
        resolve(options.target, destination_flags(options), needs=needs)
    ).latest(limit=options.limit):
        print(f"{run.name:<44}  {run.state:<10}  {run.created}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from pipelines.remote.fetch import fetch

    _, launcher = _locate(options)
    run = launcher.get(options.run)
    if run.state != "succeeded":
        raise RemoteError(f"run {run.name}: is {run.state}; only a succeeded run has results")
    competition, out, metrics = fetch(
        run, load(options.file) if options.file else None, options.out, RUNS
    )
    results = registry.results(registry.of(competition))
    print(f"{results.score_table(metrics)}\n")
    for name in results.names(competition):
        print(out / name)
    return 0
