"""Wheels in an empty environment, outside the checkout, as in a notebook of a competition.

There the input folder is read-only, results go elsewhere, and there is no internet.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

UV = Path(sys.executable).with_name("uv")
# Without networks, and with a file system that cannot be written to.
APART = ["unshare", "--net", "--mount", "sh", "-ec"]
READ_ONLY = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'


def newest() -> str:
    """Return the path of the newest Python of this machine that is supported."""
    for version in ("3.13", "3.12", "3.11"):
        installed = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        for path in [shutil.which(f"python{version}"), *map(str, installed)]:
            if (
                path
                and subprocess.run([path, "-c", "import ensurepip"], capture_output=True).returncode
                == 0
            ):
                return path
    return sys.executable


def start(*command: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    # Nothing of this environment or of the checkout is found.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, env={**kept, **variables}
    )


@pytest.mark.acceptance
def test_wheels_install_and_run_as_in_a_notebook_without_internet(tmp_path: Path) -> None:
    """All other tests run on the Python of `make install`."""
    if not UV.is_file():
        pytest.skip("no uv in this environment: make install")
    given, working = tmp_path / "input", tmp_path / "working"
    for folder in (given, working):
        folder.mkdir()
    python = newest()
    made = start(
        str(ROOT / "infra/wheels.sh"),
        *(str(given / "wheels"), "none", python),
        cwd=tmp_path,
        BIN=str(UV.parent),
    )
    if "Failed to fetch" in made.stderr or "error sending request" in made.stderr:
        pytest.skip("no package registry can be reached from here")
    assert made.returncode == 0, made.stderr
    may_be_apart = start(*APART, "true", cwd=given).returncode == 0
    apart = [*APART, READ_ONLY, str(given)] if may_be_apart else []

    def call(*command: str) -> str:
        done = start(*apart, *command, cwd=working)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # A notebook has pip, which needs a minute more for the same.
    call(str(UV), "venv", "--quiet", "--offline", "--python", python, "new")
    install = [str(UV), "pip", "install", "--quiet", "--offline", "--python", "new/bin/python"]
    call(*install, "--no-index", "--find-links", str(given / "wheels"), "foldline")
    foldline = "new/bin/foldline"
    assert call(foldline, "--version").startswith("foldline ")
    call(foldline, "init", "digits.toml")
    shutil.move(working / "digits-data", given / "digits-data")
    file = working / "digits.toml"
    assert 'root = "digits-data"' in file.read_text()
    file.write_text(file.read_text().replace('"digits-data"', '"../input/digits-data"'))
    assert "valid: 1437 labelled" in call(foldline, "check", "digits.toml")
    scores = json.loads(call(foldline, "run", "digits.toml", "--json"))
    assert scores["score"] > 0.94
    assert (working / "runs" / "digits" / "submission.csv").is_file()
    code = "import foldline as fl; print(fl.open_run('runs/digits').score)"
    assert float(call("new/bin/python", "-c", code)) == scores["score"]
    assert sorted(path.name for path in given.iterdir()) == ["digits-data", "wheels"]
