"""The commands of `foldline` that work on this machine: run, check, verify and compile."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.cli import arguments
from trainer.errors import CompetitionError, RunError


def add(commands: Any) -> None:
    """Add the local commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    run = commands.add_parser("run", help="run a competition on this machine")
    run.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
    run.add_argument(
        "--out",
        type=arguments.folder,
        metavar="DIR",
        help="where the results go (default: runs/<name>)",
    )
    run.add_argument(
        "--docker",
        action="store_true",
        help="run every step in its own container (build the images with `make images`)",
    )
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="check a competition file and its data")
    check.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
    check.set_defaults(command=_check)
    verify = commands.add_parser(
        "verify", help="check a records folder: every file's digest, every record's CRC"
    )
    verify.add_argument(
        "folder", metavar="DIR", help="a records folder, or gs://bucket/prefix of a published one"
    )
    verify.set_defaults(command=_verify)
    compile_ = commands.add_parser("compile", help="write the pipelines as YAML")
    compile_.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a competition file whose values become the parameter defaults",
    )
    compile_.add_argument(
        "--out", type=arguments.folder, default=Path("build"), metavar="DIR", help="default: build"
    )
    arguments.add_machine(compile_)
    arguments.add_images(compile_)
    compile_.set_defaults(command=_compile)


def _check(options: argparse.Namespace) -> int:
    from components.check.files import check_files
    from pipelines.definitions import registry
    from trainer.config.load import load

    competition = load(options.file)
    registry.check_machine(competition)
    summary = check_files(competition, options.file)
    members = ", ".join(member.name for member in registry.members(competition))
    label = "members" if registry.of(competition) == registry.KFOLD else "judge"
    labelled = "some" if summary.train is None else summary.train
    tests = "some" if summary.test_ids is None else len(summary.test_ids)
    print(
        f"{options.file}: valid: {labelled} labelled and {tests} test images, "
        f"{len(competition.classes)} classes, {competition.folds.count} folds, {label} {members}"
    )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from components.records.verify import verify

    checked = verify(options.folder)
    print(
        f"{options.folder}: complete: {checked.files} files, {checked.records} records; every CRC"
        " and digest matches"
    )
    return 0


def _compile(options: argparse.Namespace) -> int:
    from pipelines.compile import DEFAULTS, compile_all
    from pipelines.targets.base import ContainerImages
    from trainer.config.load import read

    files = [
        arguments.with_machine(read(path), options)
        for path in ([options.file] if options.file else DEFAULTS)
    ]
    references = {"light": options.image_light, "training": options.image_training}
    tags = [flag for flag, image in references.items() if "@" not in image]
    if tags:
        print(
            f"note: --image-{' and --image-'.join(tags)} not given by digest: the vertex and gke"
            " files name images that no registry has; they can be read, but not run in a console",
            file=sys.stderr,
        )
    try:
        for path in compile_all(
            options.out,
            files,
            ContainerImages(**{name: image for name, image in references.items() if image}),
        ):
            print(path)
    except OSError as error:
        raise CompetitionError(
            f"{options.out}: cannot be created or written to: {error.strerror}"
        ) from None
    return 0


def _run(options: argparse.Namespace) -> int:
    from components.check.files import check_files
    from pipelines.definitions import registry
    from pipelines.local import runner
    from pipelines.local.console import Console
    from trainer.config.competition import Competition
    from trainer.config.load import load
    from trainer.events import clock

    started = time.monotonic()
    competition = load(options.file)
    check_files(competition, options.file)
    results = registry.results(registry.of(competition))
    out = options.out or Path("runs") / competition.name
    console = Console()
    with runner.hold(out):
        log = out / runner.PIPELINE_ROOT / runner.LOG
        try:
            console.line("run", f"{competition.name} in {out}, log in {log}")
            outputs = runner.run(competition, out, console.event, in_containers=options.docker)
            metrics = results.gather(competition, outputs, out)
        except (RunError, KeyboardInterrupt) as error:
            console.close()
            _explain(
                error,
                out,
                log,
                [name for name in results.names(competition) if (out / name).exists()],
            )
            return 1 if isinstance(error, RunError) else 130
        finally:
            console.close()
    print(f"\n{results.score_table(metrics)}\n")
    for name in results.names(competition):
        print(f"{out / name}")
    if isinstance(competition, Competition) and competition.leaderboard.submit:
        from pipelines.results import leaderboard

        print()
        leaderboard.submit(competition, out, say=print)
    print(f"\ndone in {clock(time.monotonic() - started)}")
    return 0


def _explain(error: RunError | KeyboardInterrupt, out: Path, log: Path, old: list[str]) -> None:
    """Print why a run stopped, where its log is, and which result files are from an earlier run.

    Args:
        error: what stopped the run.
        out: the run's folder.
        log: the file with the complete log.
        old: names of the result files that are in `out` already.
    """
    lines = ["", "interrupted; finished steps are kept: run the same command again to resume"]
    if isinstance(error, RunError):
        lines = [
            "",
            f"step {error.step} failed: {error}",
            *(f"    {line}" for line in error.tail),
            f"complete log: {log}",
        ]
    if old:
        lines.append(f"{', '.join(old)} in {out} are from an earlier run")
    print("\n".join(lines), file=sys.stderr)
