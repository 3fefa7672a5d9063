"""The remote commands of `foldline`: submit, status, logs, cancel, list, schedule, fetch."""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.definitions import registry
from pipelines.local import fingerprint
from pipelines.remote import cron
from pipelines.remote.destination import TARGETS, Destination, recall, remember, resolve_destination
from pipelines.targets import machines
from trainer import runtime
from trainer.config import known_backbones
from trainer.config.competition import Competition
from trainer.config.gan import Gan
from trainer.config.load import load
from trainer.errors import CompetitionError, RemoteError

RUNS = Path("runs")
POLL = 15.0
# Lines of its log that a failed task is shown with.
TAIL = 15
_PLACE = ("project", "region", "root", "service_account", "host", "namespace")


def folder(text: str) -> Path:
    """A folder that a flag names."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name; write . for the folder you are in")
    return Path(text)


def add(commands: Any) -> None:
    """Add the remote commands to the parser's."""
    submit = commands.add_parser(
        "submit", help="run a competition on Vertex AI or on a Kubeflow Pipelines server"
    )
    submit.set_defaults(command=_submit)
    schedule = commands.add_parser("schedule", help="run a competition there again and again")
    schedule.set_defaults(command=_schedule)
    schedule.add_argument(
        "--cron",
        required=True,
        metavar="CRON",
        help="five fields, as '0 5 * * 1'; on Vertex AI TZ=Europe/Rome may stand first",
    )
    for parser in (submit, schedule):
        parser.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
        parser.add_argument("--experiment", default="", metavar="NAME", help="to compare runs in")
        parser.add_argument(
            "--label",
            action="append",
            default=[],
            metavar="K=V",
            help="for bills and lists; any number of them",
        )
        parser.add_argument(
            "--cache",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="whether finished tasks of other runs are reused",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="show the request, and what it would cost; send nothing",
        )
        parser.add_argument(
            "--prices",
            type=Path,
            metavar="FILE",
            help="a table of prices (default: the project's own)",
        )
        add_machine(parser)
        add_images(parser)
    submit.add_argument(
        "--wait", action="store_true", help="until the run has ended; its failure is this command's"
    )
    for name, handler, text in (
        ("status", _status, "a run and its tasks"),
        ("logs", _logs, "the last lines that a run's tasks wrote"),
        ("cancel", _cancel, "end a run"),
        ("fetch", _fetch, "bring a finished run's results into runs/<name>/"),
    ):
        parser = commands.add_parser(name, help=text)
        parser.set_defaults(command=handler)
        parser.add_argument(
            "run", metavar="RUN", help="the run's name, as `foldline list` shows it"
        )
        if name == "logs":
            parser.add_argument("--task", default="", metavar="NAME", help="of this task only")
            parser.add_argument(
                "--lines", type=int, default=50, metavar="N", help="of each task (default: 50)"
            )
        if name == "fetch":
            parser.add_argument("--out", type=folder, metavar="DIR", help="default: runs/<name>")
            parser.add_argument(
                "--file",
                type=Path,
                metavar="FILE",
                help="the competition file, if its answers are to be scored",
            )
    listing = commands.add_parser("list", help="the latest runs")
    listing.set_defaults(command=_list)
    listing.add_argument("--limit", type=int, default=20, metavar="N")
    for name in ("submit", "schedule", "status", "logs", "cancel", "fetch", "list"):
        _add_place(commands.choices[name], asked=name in ("submit", "schedule", "list"))


def _add_place(parser: argparse.ArgumentParser, *, asked: bool) -> None:
    parser.add_argument(
        "--target",
        choices=TARGETS,
        default="vertex" if asked else None,
        help="default: vertex, or as submitted",
    )
    parser.add_argument("--project", metavar="ID", help="Google Cloud project")
    parser.add_argument("--region", metavar="REGION", help="as us-central1")
    parser.add_argument(
        "--bucket",
        dest="root",
        metavar="BUCKET",
        help="for the runs' artifacts: a name, or gs://bucket/prefix",
    )
    parser.add_argument(
        "--service-account", metavar="EMAIL", help="what the run is allowed (docs/security.md)"
    )
    parser.add_argument(
        "--host",
        metavar="URL",
        help="of a Kubeflow Pipelines server; its token is in FOLDLINE_KFP_TOKEN",
    )
    parser.add_argument("--namespace", metavar="NAME", help="of a server with several users")


def add_machine(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--tpu", metavar="SLICE", help="train on a TPU slice: " + ", ".join(machines.TPUS)
    )
    kind.add_argument("--gpu", metavar="KIND", help="train on GPUs: " + ", ".join(machines.GPUS))
    kind.add_argument("--cpu", action="store_true", help="train without an accelerator")
    parser.add_argument("--gpus", type=int, metavar="N", help="how many")
    parser.add_argument(
        "--spot",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="machines that may be taken away, for less",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    for name in ("light", "training"):
        parser.add_argument(
            f"--image-{name}",
            default=os.environ.get(f"FOLDLINE_IMAGE_{name.upper()}", ""),
            metavar="IMAGE",
            help=f"by digest; default: FOLDLINE_IMAGE_{name.upper()}",
        )


def with_machine(competition: Competition | Gan, options: argparse.Namespace) -> Competition | Gan:
    """The file with what flags say of the machine, checked.

    Raises:
        CompetitionError: there is no such accelerator.
    """
    chosen: dict[str, Any] = {}
    if options.tpu or options.gpu or options.cpu:
        chosen = {"tpu": options.tpu or "", "gpu": options.gpu or "", "gpus": 1}
        if (options.tpu or "", options.gpu or "") != (
            competition.machine.tpu,
            competition.machine.gpu,
        ):
            # They were meant for another machine.
            chosen |= {"cpus": 0, "memory_gib": 0}
    if options.gpus is not None:
        chosen["gpus"] = options.gpus
    if options.spot is not None:
        chosen["spot"] = options.spot
    machine = dataclasses.replace(competition.machine, **chosen)
    problem = next(machine.problems(), None)
    if problem is not None:
        raise CompetitionError(f"machine.{problem.key} {problem.message}")
    chosen_for = dataclasses.replace(competition, machine=machine)
    registry.check_machine(chosen_for)
    return chosen_for


def _launcher(where: Destination) -> Any:
    if where.target == "vertex":
        from pipelines.remote.vertex import VertexLauncher
        from pipelines.targets.base import needs

        needs("google.cloud.aiplatform_v1", "vertex")
        return VertexLauncher(where)
    from pipelines.remote.kubeflow import KubeflowLauncher

    return KubeflowLauncher(where, token=os.environ.get(runtime.KFP_TOKEN, ""))


def _flags(options: argparse.Namespace) -> dict[str, str | None]:
    return {name: getattr(options, name) for name in _PLACE}


def _known(options: argparse.Namespace) -> tuple[Destination, Any]:
    """Where a run is: as remembered when it was submitted, or as flags say."""
    before = recall(options.run, RUNS)
    target = options.target or before.get("target") or "vertex"
    given: Mapping[str, str | None] = {
        **before,
        **{name: value for name, value in _flags(options).items() if value},
    }
    where = resolve_destination(
        target, given, needs=("project", "region") if target == "vertex" else ("host",)
    )
    return where, _launcher(where)


def _prepared(options: argparse.Namespace) -> tuple[Destination, Any, Any]:
    """A checked request, its place and its launcher; what may be wrong with the place is said."""
    from pipelines.remote import estimate
    from pipelines.remote.launcher import prepare, shown
    from pipelines.targets.base import ContainerImages

    competition = with_machine(load(options.file), options)
    where = resolve_destination(options.target, _flags(options))
    # Who is not signed in is told so before anything is looked for.
    launcher = _launcher(where)
    costs = estimate.prices(options.prices)
    if not competition.train.hourly_price:
        # The report tells what training cost.
        hourly = round(costs.training(competition.machine, where.target), 4)
        competition = dataclasses.replace(
            competition, train=dataclasses.replace(competition.train, hourly_price=hourly)
        )
    request = prepare(
        competition,
        options.file,
        where,
        RUNS / competition.name,
        images=ContainerImages(options.image_light, options.image_training),
        labels=_labels(options.label),
        experiment=options.experiment,
        cache=options.cache,
    )
    for warning in [*_own_code(competition), *launcher.check()]:
        print(f"warning: {warning}", file=sys.stderr)
    if options.dry_run:
        print(shown(launcher.body(request), request.file))
    print(estimate.table(competition, request.found, where.target, costs))
    return where, launcher, request


def _own_code(competition: Competition | Gan) -> list[str]:
    """Warnings of backbones that are a function of the user's, which the project's images do not
    carry."""
    return [
        f"{member.name}: backbone = {member.backbone!r}: is code that the training image must hold,"
        " in a module it can import"
        for member in registry.members(competition)
        if known_backbones.is_function(member.backbone)
        and member.backbone.partition(".")[0] not in fingerprint.IN_IMAGES
    ]


def _labels(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for key, equals, _ in pairs:
        if not equals:
            raise CompetitionError(f"--label {key}: must be KEY=VALUE")
        if [other for other, *_ in pairs].count(key) > 1:
            raise CompetitionError(f"--label {key}: is given more than once")
    return {key: value for key, _, value in pairs}


def _submit(options: argparse.Namespace) -> int:
    where, launcher, request = _prepared(options)
    if options.dry_run:
        print("\nnothing was sent")
        return 0
    # Before it is sent: a run that costs money is never forgotten.
    remember(where, request.name, RUNS / request.competition.name)
    try:
        run = launcher.submit(request)
    except KeyboardInterrupt:
        print(
            f"\nit may run already: `foldline status {request.name}`, `foldline cancel"
            f" {request.name}`",
            file=sys.stderr,
        )
        return 130
    print(f"\n{run.name} is submitted\n{run.console}")
    if run.warning:
        print(f"warning: {run.warning}", file=sys.stderr)
    return _watch(launcher, run.name) if options.wait else 0


def _watch(launcher: Any, name: str) -> int:
    from pipelines.remote.launcher import FINISHED

    told: dict[tuple[str, int], str] = {}
    try:
        while True:
            run = launcher.get(name)
            for number, task in enumerate(run.tasks):
                if told.get((task.name, number)) != task.state:
                    told[(task.name, number)] = task.state
                    print(f"{task.name:<12}{task.state}", flush=True)
            if run.state in FINISHED:
                break
            time.sleep(POLL)
    except RemoteError:
        print(f"the run goes on: `foldline status {name}`", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print(
            f"\nthe run goes on: `foldline status {name}`, `foldline cancel {name}`",
            file=sys.stderr,
        )
        return 130
    print(f"{run.name}: {run.state}")
    if run.state != "succeeded":
        _explain(launcher, run)
        return 1
    print(f"{run.console}\nits results: foldline fetch {run.name}")
    return 0


def _explain(launcher: Any, run: Any) -> None:
    """Which task failed, why, and the end of its log."""
    failed = [task for task in run.tasks if task.state == "failed"]
    for task in failed:
        print(
            f"\ntask {task.name} failed: {task.error or 'its service says no more'}",
            file=sys.stderr,
        )
        try:
            lines = list(launcher.logs(run, task, lines=TAIL))
        except RemoteError as error:
            lines = [f"(its log cannot be read: {error})"]
        for line in lines or ["(it left no log)"]:
            print(f"    {line}", file=sys.stderr)
    if not failed and run.error:
        print(run.error, file=sys.stderr)
    print(run.console, file=sys.stderr)


def _schedule(options: argparse.Namespace) -> int:
    cron.check(options.cron)
    if options.target == "kfp":
        cron.with_seconds(options.cron)
    _, launcher, request = _prepared(options)
    if options.dry_run:
        print("\nnothing was sent")
        return 0
    try:
        name = launcher.schedule(request, options.cron)
    except (KeyboardInterrupt, RemoteError):
        # It is not sent twice, for it has no name by which a second one would be refused.
        print(f"whether it is there is shown by {launcher.schedules}", file=sys.stderr)
        raise
    print(f"\n{name} is scheduled: {options.cron}\nto pause or delete it: {launcher.schedules}")
    return 0


def _status(options: argparse.Namespace) -> int:
    _, launcher = _known(options)
    run = launcher.get(options.run)
    print(f"{run.name}: {run.state}, since {run.created}\n{run.console}")
    for task in run.tasks:
        print(f"  {task.name:<12}{task.state}{': ' + task.error if task.error else ''}")
    if run.error:
        print(run.error)
    return 0


def _logs(options: argparse.Namespace) -> int:
    if options.lines < 1:
        raise CompetitionError(f"--lines {options.lines}: must be at least 1")
    _, launcher = _known(options)
    run = launcher.get(options.run)
    if not run.tasks:
        print(f"{run.name}: {run.state}, and has no task yet")
        return 0
    tasks = [task for task in run.tasks if not options.task or task.name == options.task]
    if not tasks:
        there = ", ".join(sorted({task.name for task in run.tasks}))
        raise CompetitionError(
            f"--task {options.task}: no such task in {run.name}; there are: {there}"
        )
    for number, task in enumerate(tasks):
        print(f"{'' if number == 0 else chr(10)}{task.name} ({task.state})")
        for line in launcher.logs(run, task, lines=options.lines):
            print(f"    {line}")
    return 0


def _cancel(options: argparse.Namespace) -> int:
    _, launcher = _known(options)
    launcher.cancel(options.run)
    print(f"{options.run}: asked to end; `foldline status {options.run}` shows when it has")
    return 0


def _list(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise CompetitionError(f"--limit {options.limit}: must be at least 1")
    needs = ("project", "region") if options.target == "vertex" else ("host",)
    for run in _launcher(resolve_destination(options.target, _flags(options), needs=needs)).latest(
        limit=options.limit
    ):
        print(f"{run.name:<44}  {run.state:<10}  {run.created}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from pipelines.remote.fetch import fetch

    _, launcher = _known(options)
    run = launcher.get(options.run)
    if run.state != "succeeded":
        raise RemoteError(
            f"run {run.name}: is {run.state}: its results are there when it has succeeded"
        )
    competition, out, metrics = fetch(
        run, load(options.file) if options.file else None, options.out, RUNS
    )
    results = registry.results(registry.of(competition))
    print(f"{results.score_table(metrics)}\n")
    for name in results.names(competition):
        print(out / name)
    return 0
