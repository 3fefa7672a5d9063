"""`foldline`: check a competition file, compile the pipelines, run one on this machine.

Exit status: 0, done; 1, a step failed; 2, something the user wrote is wrong; 130, interrupted.
"""

import argparse
import sys
import time
from pathlib import Path

from trainer.errors import CompetitionError, DataError, FoldlineError, RunError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="foldline", description="Labelled images to a leaderboard submission.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a competition on this machine")
    run.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
    run.add_argument("--out", type=Path, metavar="DIR", help="where the results go (default: runs/<name>)")
    run.set_defaults(command=_run)
    check = commands.add_parser("check", help="say what is wrong in a competition file")
    check.add_argument("file", type=Path, metavar="FILE", help="the competition file (TOML)")
    check.set_defaults(command=_check)
    compile_ = commands.add_parser("compile", help="write the pipelines as YAML")
    compile_.add_argument("folder", type=Path, nargs="?", default=Path("build"), metavar="DIR", help="default: build")
    compile_.set_defaults(command=_compile)
    options = parser.parse_args(arguments)
    try:
        return int(options.command(options))
    except FoldlineError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, CompetitionError | DataError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _check(options: argparse.Namespace) -> int:
    from pipelines.preflight import check_files
    from trainer.competition import load

    competition = load(options.file)
    found = check_files(competition, options.file)
    print(
        f"{options.file}: good. {found.train} labelled and {found.test} test images, {len(competition.classes)} classes, "
        f"{competition.folds.count} folds, members {', '.join(member.name for member in competition.members)}"
    )
    return 0


def _compile(options: argparse.Namespace) -> int:
    from pipelines.compile import main as compile_all

    compile_all([str(options.folder)])
    return 0


def _run(options: argparse.Namespace) -> int:
    from pipelines import local
    from pipelines.console import Console
    from pipelines.preflight import check_files
    from trainer.competition import load
    from trainer.progress import clock

    started = time.monotonic()
    competition = load(options.file)
    check_files(competition, options.file)
    out = options.out or Path("runs") / competition.name
    if out.exists() and not out.is_dir():
        raise CompetitionError(f"--out {out}: a file is there, not a folder")
    console = Console()
    console.line("run", f"{competition.name} in {out}, log in {out / local.PIPELINE_ROOT / local.LOG}")
    try:
        outputs = local.run(competition, out, console.event)
    except RunError as error:
        console.close()
        print(f"\nstep {error.step} failed: {error}", file=sys.stderr)
        print("".join(f"    {line}\n" for line in error.tail), end="", file=sys.stderr)
        print(f"the whole log: {out / local.PIPELINE_ROOT / local.LOG}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        console.close()
        print("\ninterrupted; finished steps are kept: the same command goes on after them", file=sys.stderr)
        return 130
    from pipelines.results import gather, score_table

    metrics = gather(competition, outputs, out)
    print(f"\n{score_table(metrics)}\n")
    for name in ("submission.csv", "oof.csv", "folds.csv", "metrics.json", "report.html", "kfold.yaml"):
        print(f"{out / name}")
    print(f"\ndone in {clock(time.monotonic() - started)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
