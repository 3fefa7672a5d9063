"""What `make install` would do on machines that are made up."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from trainer import runtime

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None, reason="needs make: apt-get install make"
)
HIDING = ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "TRAINING", "MAKEFLAGS")
READ = ("Makefile", "requirements.lock", "pyproject.toml", "infra/uv.lock", "infra/gpu.lock")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make reads to decide, in a folder where nothing is installed."""
    folder = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "trainer", folder / "trainer", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "infra").mkdir()
    for name in READ:
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "infra/tpu.lock", folder / "infra")
    return folder


def planned(checkout: Path, machine: Path, *words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in HIDING}
    return subprocess.run(
        ["make", "--dry-run", *words],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
        env={**environment, runtime.HARDWARE: str(machine)},
    ).stdout


@pytest.mark.parametrize(
    ("device", "locks"),
    [
        ("", "requirements.lock"),
        ("nvidia0", "requirements.lock infra/gpu.lock"),
        ("accel0", "requirements.lock infra/tpu.lock"),
    ],
)
def test_it_installs_for_what_is_there(
    checkout: Path, tmp_path: Path, device: str, locks: str
) -> None:
    machine = tmp_path / "machine"
    (machine / "dev").mkdir(parents=True)
    if device:
        (machine / "dev" / device).touch()
    said = planned(checkout, machine, "install")
    assert f"infra/install.sh .venv {locks}\n" in said
    # It can be named, and what was named stays.
    assert "install.sh .venv requirements.lock\n" in planned(
        checkout, machine, "install", "TRAINING=cpu"
    )
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".training").write_text("tpu\n")
    assert "install.sh .venv requirements.lock infra/tpu.lock" in planned(
        checkout, machine, "install"
    )


def test_images_are_for_other_machines(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert "build.sh cpu\n" in planned(checkout, tmp_path, "images")
    assert "build.sh tpu\n" in planned(checkout, tmp_path, "images", "KIND=tpu")
