"""`foldline`: check a competition file, compile the pipelines, run one locally or remotely, verify
records, submit results.

Exit status: 0 for success; 1 if a step failed or records are damaged; 2 if the command line, the
competition file or its data is wrong; 130 if interrupted.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from pipelines.cli import remote as remote
from trainer.errors import CompetitionError, DataError, FoldlineError, RunError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Args:
        arguments: without the program's name; None for those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="foldline", description="Labelled images to a leaderboard submission."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a competition on this machine")
    run.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
    run.add_argument(
        "--out",
        type=remote.folder,
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
        "--out", type=remote.folder, default=Path("build"), metavar="DIR", help="default: build"
    )
    remote.add_machine(compile_)
    remote.add_images(compile_)
    compile_.set_defaults(command=_compile)
    remote.add(commands)
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
            type=remote.folder,
            metavar="DIR",
            help="the run's folder (default: runs/<name>)",
        )
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
        remote.with_machine(read(path), options)
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
        console.line(
            "run", f"{competition.name} in {out}, log in {out / runner.PIPELINE_ROOT / runner.LOG}"
        )
        try:
            outputs = runner.run(competition, out, console.event, in_containers=options.docker)
            metrics = results.gather(competition, outputs, out)
        except (RunError, KeyboardInterrupt) as error:
            console.close()
            _explain(
                error,
                out,
                out / runner.PIPELINE_ROOT / runner.LOG,
                [name for name in results.names(competition) if (out / name).exists()],
            )
            return 1 if isinstance(error, RunError) else 130
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


if __name__ == "__main__":
    sys.exit(main())
