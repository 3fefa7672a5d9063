import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from foldline.command import without_traceback
from tests.support.paths import ROOT
from tests.support.tiny import Tiny


def started(
    arguments: list[str], cwd: Path, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture
def own_packages(tmp_path: Path) -> Path:
    """A folder with packages of Foldline's names, as a repository for Vertex AI has them."""
    folder = tmp_path / "repository"
    for name in ("trainer", "components", "pipelines"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    return folder


def test_packages_of_the_same_names_in_the_working_folder(tiny: Tiny, own_packages: Path) -> None:
    done = started(["-m", "foldline", "check", str(tiny.toml)], own_packages)
    assert done.returncode == 0, done.stderr.decode()
    done = started(["-c", "import foldline; print(foldline.load)"], own_packages)
    assert b"function load" in done.stdout


def test_a_package_that_was_imported_before_is_named(own_packages: Path) -> None:
    done = started(
        [
            "-P",
            "-c",
            f"import sys; sys.path.insert(0, {str(own_packages)!r})\nimport trainer, foldline",
        ],
        own_packages,
    )
    assert b"the package 'trainer' was imported before Foldline" in done.stderr


def test_a_locale_without_utf8(tiny: Tiny) -> None:
    path = tiny.folder / "müll.toml"
    path.write_text(tiny.toml.read_text().replace('"accuracy"', '"×"'))
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = started(["-m", "foldline", "check", str(path)], tiny.folder, **plain)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert rb"m\xfcll.toml" in done.stderr
    assert rb"metric = '\xd7': must be one of" in done.stderr


@pytest.mark.parametrize("option", [["-X", "utf8=0"], ["-E"]])
def test_python_starts_again_once_at_most(tiny: Tiny, option: list[str]) -> None:
    # -E ignores PYTHONPATH as well.
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from foldline.command import main; main()"
    )
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, *option, "-c", start, "check", str(tiny.toml)],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **plain},
    )
    assert b"valid: 120 labelled" in done.stdout


def test_streams_that_are_closed(tiny: Tiny) -> None:
    command = f"{sys.executable} -m foldline check {tiny.toml} >&- 2>&-"
    done = subprocess.run(
        command, shell=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0


def test_a_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x")

    assert without_traceback(full) == 1
    assert capsys.readouterr().err == (
        "/data/x: No space left on device: free some space, or choose another folder\n"
    )

    def other() -> int:
        raise FileNotFoundError("x")

    with pytest.raises(FileNotFoundError):
        without_traceback(other)


def test_no_folder_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert without_traceback(lambda: 0) == 1
    assert "No usable temporary directory found in ['/tmp']): free some" in capsys.readouterr().err
