"""The commands of `foldline` that work on this machine: run, runs, open, verify and compile."""

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.cli import arguments
from pipelines.local import RUNS
from trainer.errors import CompetitionError, RunError


def add(commands: Any) -> None:
    """Add the local commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    _add_run(commands)
    runs = arguments.command(
        commands,
        "runs",
        "list the finished runs in ./runs with score, time and disk space",
        "foldline runs",
        "foldline runs --json",
        handler=_runs,
    )
    runs.add_argument(
        "folder",
        type=arguments.folder,
        nargs="?",
        default=RUNS,
        metavar="DIR",
        help="the folder of the runs (default: runs)",
    )
    _add_json(runs)
    open_ = arguments.command(
        commands,
        "open",
        "show the report of a run in the browser",
        "foldline open digits",
        "foldline open runs/digits",
        handler=_open,
    )
    open_.add_argument(
        "run", type=arguments.folder, metavar="RUN", help="a name in runs/, or the run's folder"
    )
    verify = arguments.command(
        commands,
        "verify",
        "check a records folder: every file's digest, every record's CRC",
        "foldline verify gs://bucket/records",
        handler=_verify,
    )
    verify.add_argument(
        "folder", metavar="DIR", help="a records folder, or gs://bucket/prefix of a published one"
    )
    _add_compile(commands)


def _add_run(commands: Any) -> None:
    run = arguments.command(
        commands,
        "run",
        "run a competition on this machine",
        "foldline run digits.toml",
        "foldline run digits.toml --out runs/second",
        "foldline run digits.toml --json > scores.json",
        handler=_run,
    )
    arguments.add_file(run)
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
    _add_json(run, "print the scores as JSON, and the progress to the standard error")


def _add_compile(commands: Any) -> None:
    compile_ = arguments.command(
        commands,
        "compile",
        "write the pipelines as YAML",
        "foldline compile",
        "foldline compile digits.toml --gpu L4 --out build",
        handler=_compile,
    )
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


def _add_json(parser: argparse.ArgumentParser, text: str = "print JSON for programs") -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _verify(options: argparse.Namespace) -> int:
    from components.records.verify import verify

    checked = verify(options.folder)
    print(
        f"{options.folder}: complete: {checked.files} files, {checked.records} records; every CRC"
        " and digest matches"
    )
    return 0


def _compile(options: argparse.Namespace) -> int:
    from pipelines.definitions.compilation import DEFAULTS, compile_all
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
    from pipelines.local import launch, runner
    from pipelines.local.console import Console
    from trainer.config.competition import Competition
    from trainer.config.load import load
    from trainer.events import clock

    started = time.monotonic()
    competition = load(options.file)
    check_files(competition, options.file)
    results = registry.results(registry.of(competition))
    out = options.out or RUNS / competition.name
    # With --json the standard output holds nothing else.
    shown = sys.stderr if options.json else sys.stdout
    console = Console(shown)
    with runner.hold(out):
        log = out / runner.PIPELINE_ROOT / runner.LOG
        try:
            console.line("run", f"{competition.name} in {out}, log in {log}")
            metrics = launch.run_file(competition, out, console.event, in_containers=options.docker)
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
    print(f"\n{results.score_table(metrics)}\n", file=shown)
    for name in results.names(competition):
        print(out / name, file=shown)
    if isinstance(competition, Competition) and competition.leaderboard.submit:
        from pipelines.results import leaderboard

        print(file=shown)
        leaderboard.submit(competition, out, say=functools.partial(print, file=shown))
    print(f"\ndone in {clock(time.monotonic() - started)}", file=shown)
    if options.json:
        print(json.dumps(_about(launch.read_run(out)), indent=1))
    return 0


def _about(run: Any) -> dict[str, Any]:
    """What a program wants to know of a finished run."""
    blend = run.metrics.get("blend", {})
    return {
        "run": run.folder.name,
        "folder": str(run.folder),
        "metric": run.metrics.get("metric"),
        "score": blend.get("oof"),
        "low": blend.get("low"),
        "high": blend.get("high"),
        "members": {name: value["oof"] for name, value in run.metrics.get("members", {}).items()},
        "leaderboard": run.metrics.get("leaderboard"),
        "finished": run.finished.isoformat(timespec="seconds"),
        "seconds": run.seconds,
        "bytes": run.bytes,
    }


def _runs(options: argparse.Namespace) -> int:
    from pipelines.local.launch import finished_runs
    from trainer.events import clock

    found = [_about(run) for run in finished_runs(options.folder)]
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    if not found:
        print(f"{options.folder}: no run has finished there", file=sys.stderr)
        return 0
    table = [("run", "score", "metric", "finished", "took", "disk")]
    for run in found:
        score = "-" if run["score"] is None else f"{run['score']:.4f}"
        took = "-" if run["seconds"] is None else clock(run["seconds"])
        finished = run["finished"][:16].replace("T", " ")
        disk = f"{run['bytes'] / 1e6:.0f} MB"
        table.append((run["run"], score, run["metric"] or "GAN", finished, took, disk))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _open(options: argparse.Namespace) -> int:
    import webbrowser

    named = [options.run, RUNS / options.run]
    pages = [folder / name for folder in named for name in ("report.html", "gan.html")]
    page = next((path for path in pages if path.is_file()), None)
    if page is None:
        raise CompetitionError(
            f"{options.run}: no report there or in {RUNS / options.run}: `foldline runs` lists the"
            " finished runs"
        )
    print(page)
    if not webbrowser.open(page.resolve().as_uri()):
        print("no browser could be started: open this file in one", file=sys.stderr)
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
