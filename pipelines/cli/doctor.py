"""`foldline doctor`: look at this machine, or at one that a service gives."""

import argparse
import json
from pathlib import Path
from typing import Any

from pipelines.cli import arguments, remote
from pipelines.cli.destination_flags import add_destination, destination_flags
from pipelines.local import RUNS
from pipelines.remote.destination import launcher_for, remember, resolve_destination
from trainer.config.load import load
from trainer.config.machine import Machine
from trainer.errors import CompetitionError

# Lines of the step's log that are shown.
_LINES = 60


def add(commands: Any) -> None:
    """Add the command.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    parser = arguments.command(
        commands,
        "doctor",
        "look at this machine, or start one cheap step that looks at a service's machine",
        "foldline doctor",
        "foldline doctor --target vertex --gpu L4 --project my-project --region us-central1 \\\n"
        "      --bucket my-bucket --service-account foldline@my-project.iam.gserviceaccount.com",
        "foldline doctor digits.toml --target kfp --host https://kubeflow.example.com \\\n"
        "      --bucket my-bucket",
        handler=_doctor,
    )
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="its [machine] and [vertex] apply"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    arguments.add_machine(parser)
    arguments.add_images(parser)
    add_destination(parser, is_new=False)


def _doctor(options: argparse.Namespace) -> int:
    return _there(options) if options.target else _here(options)


def _here(options: argparse.Namespace) -> int:
    from components.doctor.look import look

    if options.file or any(
        (options.tpu, options.gpu, options.cpu, options.gpus, options.spot is not None)
    ):
        raise CompetitionError(
            "FILE and the flags of a machine require --target vertex or --target kfp: this machine"
            " is as it is"
        )
    findings = []
    for finding in look(RUNS):
        findings.append(finding)
        if not options.json:
            print(finding, flush=True)
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    return int(not all(finding.good for finding in findings))


def _there(options: argparse.Namespace) -> int:
    from pipelines.remote.prepare import prepare_doctor
    from pipelines.targets.base import ContainerImages

    if options.json:
        raise CompetitionError("--json: cannot be combined with --target")
    file = load(options.file) if options.file else None
    machine = arguments.chosen_machine(file.machine if file else Machine(), options)
    where = resolve_destination(options.target, destination_flags(options))
    launcher = launcher_for(where)
    request = prepare_doctor(
        file, machine, where, ContainerImages(options.image_light, options.image_training)
    )
    for warning in launcher.check(machine):
        print(f"warning: {warning}")
    remember(where, request.name, RUNS / request.title)
    run = launcher.submit(request)
    print(f"submitted {run.name}\n{run.console}", flush=True)
    status = remote.watch(launcher, run.name, results=False)
    if status == 130:
        return status
    finished = launcher.get(run.name)
    for step in finished.tasks:
        if step.name == "doctor":
            if step.error:
                print(step.error)
            for line in launcher.logs(finished, step, lines=_LINES):
                print(line)
    return status
