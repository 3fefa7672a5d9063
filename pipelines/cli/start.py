"""The commands of `foldline` for a start: init, check, explain and completion."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from pipelines.cli import arguments
from trainer.errors import CompetitionError, DataError


def add(commands: Any) -> None:
    """Add these commands.

    Args:
        commands: what `ArgumentParser.add_subparsers` returns.
    """
    from pipelines.competitions.templates import TEMPLATES

    init = arguments.command(
        commands,
        "init",
        "write a competition file to start from",
        "foldline init digits.toml",
        "foldline init pets.toml --data folders",
        handler=_init,
    )
    init.add_argument(
        "file", type=Path, metavar="FILE", help="the file to write, such as pets.toml"
    )
    init.add_argument(
        "--data",
        choices=TEMPLATES,
        default="example",
        help="; ".join(f"{name}: {about}" for name, about in TEMPLATES.items())
        + " (default: example)",
    )
    check = arguments.command(
        commands,
        "check",
        "check a competition file and its data",
        "foldline check digits.toml",
        "foldline check digits.toml --json",
        handler=_check,
    )
    arguments.add_file(check)
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    explain = arguments.command(
        commands,
        "explain",
        "say what a key of the competition file means",
        "foldline explain data.group",
        "foldline explain members.optimizer",
        handler=_explain,
    )
    explain.add_argument("key", metavar="KEY", help="a key, or a section")
    completion = arguments.command(
        commands,
        "completion",
        "print a script that completes commands and flags in a shell",
        "foldline completion bash > ~/.local/share/bash-completion/completions/foldline",
        "foldline completion zsh > ~/.zfunc/_foldline",
        handler=_completion,
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="the shell")


def _init(options: argparse.Namespace) -> int:
    from pipelines.competitions.templates import write

    for path in write(options.file, options.data):
        print(path)
    name = shlex.quote(str(options.file))
    if options.data == "example":
        print(f"\nrun it: foldline run {name}", file=sys.stderr)
    else:
        print(
            f"\nedit the lines marked with <--, then: foldline check {name}",
            file=sys.stderr,
        )
    return 0


def _check(options: argparse.Namespace) -> int:
    if options.json:
        return _check_for_programs(options.file)
    found = _checked(options.file)
    labelled, tests = ("some" if found[key] is None else found[key] for key in ("labelled", "test"))
    members = ", ".join(found["members"])
    label = "judge" if found["kind"] == "gan" else "members"
    print(
        f"{options.file}: valid: {labelled} labelled and {tests} test images, "
        f"{found['classes']} classes, {found['folds']} folds, {label} {members}"
    )
    for remark in found["remarks"]:
        print(f"note: {remark}")
    return 0


def _checked(path: Path) -> dict[str, Any]:
    """Check a file; return what it says and what there is of images (None if not known yet)."""
    from components.check.files import check_files
    from pipelines.definitions import registry
    from trainer.config.load import load

    file = load(path)
    registry.check_machine(file)
    summary = check_files(file, path)
    return {
        "kind": registry.of(file),
        "labelled": summary.train,
        "test": None if summary.test_ids is None else len(summary.test_ids),
        "classes": len(file.classes),
        "folds": file.folds.count,
        "members": [member.name for member in registry.members(file)],
        "remarks": list(summary.remarks),
    }


def _check_for_programs(path: Path) -> int:
    """Print the result of a check as JSON; returns the exit status."""
    try:
        print(json.dumps({"file": str(path), "valid": True, "problems": [], **_checked(path)}))
        return 0
    except (CompetitionError, DataError) as error:
        known = getattr(error, "problems", ()) or [
            {"message": line} for line in str(error).splitlines()
        ]
        problems = [one if isinstance(one, dict) else one._asdict() for one in known]
        print(
            json.dumps(
                {"file": str(path), "valid": False, "problems": problems}, indent=1, default=str
            )
        )
        return 2


def _explain(options: argparse.Namespace) -> int:
    from pipelines.reference.keys import explain

    print(explain(options.key))
    return 0


def _completion(options: argparse.Namespace) -> int:
    import shtab

    from pipelines.cli.main import parser

    print(shtab.complete(parser(), options.shell))
    return 0
