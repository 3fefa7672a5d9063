"""The front door: its names, what importing it costs, and the examples of its docstrings."""

import dataclasses
import doctest
import importlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import foldline as fl
from tests.support.paths import ROOT
from tests.support.tiny import Tiny

NAMES = [
    "Competition",
    "Destination",
    "Gan",
    "Job",
    "Member",
    "RunResult",
    "__version__",
    "check",
    "compile",
    "errors",
    "load",
    "load_model",
    "open_run",
    "read_records",
    "run",
    "submit",
    "train_folds",
]


def test_the_public_names() -> None:
    assert fl.__all__ == NAMES
    assert dir(fl) == NAMES
    for name in NAMES:
        assert getattr(fl, name) is not None
    with pytest.raises(AttributeError, match="module 'foldline' has no attribute 'nothing'"):
        _ = fl.nothing


def test_importing_it_and_reading_a_file_loads_nothing_heavy(tiny: Tiny) -> None:
    script = (
        "import sys, foldline; foldline.load(sys.argv[1]);"
        "print(sorted({'pandas', 'sklearn', 'kfp', 'keras', 'tensorflow', 'jax', 'matplotlib',"
        " 'google.api_core', 'google.cloud.storage'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tiny.toml)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == "[]\n"


def test_every_package_says_that_it_has_types() -> None:
    for name in ("foldline", "pipelines", "components", "trainer"):
        assert (ROOT / name / "py.typed").is_file()


@pytest.fixture
def workplace(
    finished_run: Path,
    records_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A working folder as the examples describe it: a file, its finished run, and records."""
    data = finished_run.parent / "data"
    for path in data.iterdir():
        (tmp_path / path.name.replace("tiny.toml", "digits.toml")).symlink_to(path)
    # The paths in the file are relative to its folder, so that finished steps are recognised.
    (tmp_path / "digits.toml").unlink()
    text = (data / "tiny.toml").read_text()
    (tmp_path / "digits.toml").write_text(text.replace("[data]\n", f"[data]\nroot = '{data}'\n"))
    run = tmp_path / "runs" / "digits"
    shutil.copytree(finished_run, run, symlinks=True)
    shutil.copytree(run / "models" / "m0", run / "models" / "cnn")
    (tmp_path / "records").symlink_to(next(records_folder.rglob("train*.tfrec")).parent)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["local", "result", "artifacts", "remote"])
def test_the_examples_of_the_docstrings(name: str, workplace: Path) -> None:
    module = importlib.import_module(f"foldline.{name}")
    found = [
        test
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs={"fl": fl})
        if test.examples
    ]
    assert {test.name.rpartition(".")[2] for test in found} == {
        "local": {"load", "check", "run", "compile"},
        "result": {"open_run"},
        "artifacts": {"load_model", "read_records"},
        "remote": set(),
    }[name]
    runner = doctest.DocTestRunner(verbose=False)
    failures: list[str] = []
    for test in found:
        runner.run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_a_result_has_scores_tables_and_paths(finished_run: Path) -> None:
    run = fl.open_run(finished_run)
    assert run.score is not None
    assert run.interval is not None
    assert run.interval[0] <= run.score <= run.interval[1]
    assert run.leaderboard is not None
    assert list(run.members.index) == ["m0", "m1"]
    assert list(run.members.columns) == ["oof", "low", "high", "fold 0", "fold 1", "fold 2"]
    assert len(run.oof) == 120
    assert len(run.test) == 30
    assert run.submission == finished_run / "submission.csv"
    assert run.report == finished_run / "report.html"
    assert [path.name for path in run.models["m0"]] == ["fold0.keras", "fold1.keras", "fold2.keras"]
    assert "blend by" in repr(run)
    page = run._repr_html_()
    assert "blend by" in page
    assert f'href="{finished_run / "report.html"}"' in page


def test_a_result_of_a_gan(finished_gan: Path) -> None:
    run = fl.open_run(finished_gan)
    assert (run.score, run.interval, run.submission, run.models) == (None, None, None, {})
    assert run.report == finished_gan / "gan.html"
    assert "Fréchet distance" in repr(run)
    with pytest.raises(fl.errors.CompetitionError, match="is a GAN's run, which has no oof.csv"):
        _ = run.oof
    assert next(fl.read_records(finished_gan / "samples" / "*.tfrec"))["image"]


def test_the_message_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(fl.errors.CompetitionError, match="no run has finished there"):
        fl.open_run(tmp_path)
    with pytest.raises(fl.errors.CompetitionError, match="no file matches"):
        next(fl.read_records(tmp_path / "*.tfrec"))
    with pytest.raises(fl.errors.CompetitionError, match="no such file"):
        fl.load_model(tmp_path / "fold0.keras")
    with pytest.raises(fl.errors.CompetitionError, match="a linear member, which is no network"):
        fl.load_model(tmp_path / "fold0.npz")
    with pytest.raises(fl.errors.CompetitionError, match="target = 'k8s': must be one of 'local'"):
        fl.compile("x.toml", target="k8s")


def test_an_error_has_its_problems_for_programs(tiny: Tiny) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace("count = 3", "cuont = 3\nbins = 1"))
    with pytest.raises(fl.errors.CompetitionError) as caught:
        fl.load(tiny.toml)
    unknown = next(one for one in caught.value.problems if one.key == "folds.cuont")
    assert (unknown.file, unknown.close) == (str(tiny.toml), "count")
    assert unknown.line is not None
    assert "cuont" in tiny.toml.read_text().split("\n")[unknown.line - 1]
    (bound,) = (one for one in caught.value.problems if one.key == "folds.bins")
    assert (bound.value, bound.allowed) == (1, "a whole number from 2 to 100")


def test_a_file_that_python_changed_is_checked(tiny: Tiny) -> None:
    file = fl.load(tiny.toml)
    assert isinstance(file, fl.Competition)
    assert fl.check(file).train == 120
    two = dataclasses.replace(file, folds=dataclasses.replace(file.folds, count=2))
    with pytest.raises(fl.errors.CompetitionError, match="folds_per_task = 3: must be"):
        fl.check(two)


def test_a_run_folder_can_be_held_outside_the_main_thread(tmp_path: Path) -> None:
    from pipelines.local.runner import hold

    failed: list[BaseException] = []

    def use() -> None:
        try:
            with hold(tmp_path / "out"):
                pass
        except BaseException as error:  # noqa: BLE001  # told to the test
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failed == []
