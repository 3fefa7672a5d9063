"""A wheel in an empty environment, outside the checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

UV = Path(sys.executable).with_name("uv")


def newest() -> str:
    """Return the path of the newest Python of this machine that is supported."""
    for version in ("3.13", "3.12", "3.11"):
        installed = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
        for path in [shutil.which(f"python{version}"), *map(str, installed)]:
            if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
                return path
    return sys.executable


def start(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    # Nothing of this environment or of the checkout is found.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**kept, "UV_SYSTEM_CERTS": "1"},
    )


def call(*command: str, cwd: Path) -> str:
    done = start(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """Build a wheel from a copy of the code; a build leaves files in its folder."""
    source = folder / "source"
    for package in ("foldline", "pipelines", "components", "trainer"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    call(*pip, "--wheel-dir", str(folder), str(source), cwd=folder)
    (wheel,) = folder.glob("foldline-*.whl")
    return wheel


@pytest.mark.acceptance
def test_a_wheel_initialises_checks_and_runs(tmp_path: Path) -> None:
    """All other tests run on the Python of `make install`."""
    if not UV.is_file():
        pytest.skip("no uv in this environment: make install")
    python = newest()
    wheel = build(tmp_path)
    call(str(UV), "venv", "--quiet", "--python", python, "new", cwd=tmp_path)
    # The tested versions, without hashes: the wheel itself has none.
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.rstrip("\\ ") for line in lines if line and not line.startswith((" ", "-"))]
    (tmp_path / "pins.txt").write_text("\n".join(pins) + "\n")
    install = [str(UV), "pip", "install", "--quiet", "--python", "new/bin/python"]
    done = start(*install, "--constraint", "pins.txt", str(wheel), cwd=tmp_path)
    if "error sending request" in done.stderr:
        pytest.skip("no package registry can be reached from here")
    assert done.returncode == 0, done.stderr
    foldline = str(tmp_path / "new" / "bin" / "foldline")
    assert call(foldline, "--version", cwd=tmp_path).startswith("foldline ")
    call(foldline, "init", "digits.toml", cwd=tmp_path)
    assert "valid: 1437 labelled" in call(foldline, "check", "digits.toml", cwd=tmp_path)
    scores = json.loads(call(foldline, "run", "digits.toml", "--json", cwd=tmp_path))
    assert scores["score"] > 0.94
    assert (tmp_path / "runs" / "digits" / "submission.csv").is_file()
    code = "import foldline as fl; print(fl.open_run('runs/digits').score)"
    python = str(tmp_path / "new" / "bin" / "python")
    assert float(call(python, "-c", code, cwd=tmp_path)) == scores["score"]
