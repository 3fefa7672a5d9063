"""Whole runs of the compiled pipeline by the installed command, as a person starts them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support.paths import ROOT
from tests.support.servers.kaggle import TOKEN, Kaggle
from tests.support.tiny import Tiny, write_competition

RESULTS = {
    "submission.csv",
    "oof.csv",
    "test.csv",
    "folds.csv",
    "metrics.json",
    "report.html",
    "data_card.html",
    "kfold.yaml",
}
STEPS = {
    "plan",
    "cut",
    "records",
    "join",
    "folds",
    "statistics",
    "train",
    "blend",
    "submission",
    "report",
}
CONVERTING = {"cut", "records", "join"}


# As the installed command, which -P is for, but for Ctrl-C: a test run that was itself started in
# the background ignores it, and hands that on.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from foldline.command import main; sys.exit(main())"
)


def command(tiny: Tiny, out: Path) -> list[str]:
    return [sys.executable, "-P", "-c", START, "run", str(tiny.toml), "--out", str(out)]


def run(
    tiny: Tiny, out: Path, status: int = 0, code: Path = ROOT, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a competition with the project's code at `code`; `more` is passed to `subprocess.run`."""
    environment = {**os.environ, "PYTHONPATH": str(code), **more.pop("env", {})}
    done = subprocess.run(
        command(tiny, out),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        **{"cwd": code, **more},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def said(done: subprocess.CompletedProcess[str], what: str) -> list[str]:
    """The steps of which a line says `what`."""
    return sorted(
        line.split()[0] for line in done.stdout.splitlines() if re.match(rf"\S+ +{what}", line)
    )


def started(done: subprocess.CompletedProcess[str]) -> set[str]:
    """All but the step that looks at the files, which every run begins with."""
    running = said(done, "running")
    assert running.count("check") == 1
    return set(running) - {"check"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    """A finished run that the tests below copy from. A path with "python3" in it is one that kfp
    would rewrite.

    It is started where nothing is as it should be: in a folder with packages of the same names, a
    module of the standard library and a package of kfp's name; in a locale without UTF-8; and with
    a folder for temporary files that does not exist.
    """
    folder = tmp_path_factory.mktemp("python3-run")
    tiny = write_competition(folder / "competition ä", linear=True)
    for package in ("trainer", "components", "pipelines", "kfp"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text("raise ImportError('not this one')")
    (folder / "random.py").write_text("raise ImportError('not this one')")
    environment = {
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "TMPDIR": str(folder / "none"),
    }
    done = run(tiny, folder / "out", cwd=folder, env=environment)
    assert started(done) == STEPS
    assert said(done, "reused") == []
    return tiny, folder / "out"


def test_what_a_run_leaves(finished_run: Path) -> None:
    """The run of the networks; the tests below use linear members, which train in a second."""
    out = finished_run
    assert {path.name for path in out.iterdir()} == RESULTS | {"pipeline_root", "models"}
    for member in ("m0", "m1"):
        files = {f"fold{fold}{end}" for fold in range(3) for end in (".keras", ".seen.npy")}
        assert {path.name for path in (out / "models" / member).iterdir()} == files
    metrics = json.loads((out / "metrics.json").read_text())
    for value in (metrics["blend"], metrics["members"]["m0"], metrics["members"]["m1"]):
        assert len(value["folds"]) == 3
        assert 0 <= value["oof"] <= 1
    oof = pd.read_csv(out / "oof.csv", dtype={"id": str, "target": str})
    assert oof.columns.tolist() == ["id", "target", "prediction", *"0123456789", "fold"]
    assert oof["id"].tolist() == [str(row) for row in range(1, 121)]
    # The figures are those of the files beside them.
    predicted = oof[list("0123456789")].to_numpy().argmax(axis=1)
    assert metrics["blend"]["oof"] == pytest.approx((predicted == oof["target"].astype(int)).mean())
    submission = pd.read_csv(out / "submission.csv")
    answers = pd.read_csv(out.parent / "data" / "answers.csv")
    assert submission["ImageId"].tolist() == answers["ImageId"].tolist()
    assert metrics["leaderboard"] == pytest.approx((submission["Label"] == answers["Label"]).mean())
    folds = pd.read_csv(out / "folds.csv", dtype={"id": str})
    assert folds["fold"].tolist() == oof["fold"].tolist()
    # Real digits and tiny networks: far above chance is what shows that images and labels belong
    # together.
    assert metrics["blend"]["oof"] > 0.3


def test_the_answers_are_nowhere_in_the_pipeline(finished: tuple[Tiny, Path]) -> None:
    _, out = finished
    assert not [
        path
        for path in (out / "pipeline_root").rglob("*.json")
        if "answers.csv" in path.read_text()
    ]
    assert "answers" not in (out / "kfold.yaml").read_text()


def copy_of(finished: tuple[Tiny, Path], tmp_path: Path) -> tuple[Tiny, Path]:
    """The finished run again, to change: cached paths are absolute, so it must be put back where it
    was."""
    tiny, out = finished
    for path in (tiny.folder, out):
        shutil.copytree(path, tmp_path / path.name)
    return tiny, out


@pytest.fixture
def again(finished: tuple[Tiny, Path], tmp_path: Path) -> Iterator[tuple[Tiny, Path]]:
    """The finished run, put back as it was after the test."""
    tiny, out = copy_of(finished, tmp_path)
    yield tiny, out
    for path in (tiny.folder, out):
        shutil.rmtree(path)
        shutil.copytree(tmp_path / path.name, path)


def results(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in RESULTS}


def test_nothing_changed_runs_nothing(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    before = results(out)
    done = run(tiny, out)
    assert started(done) == set()
    assert said(done, "reused") == sorted([*STEPS, "train"])
    assert results(out) == before


def test_a_changed_parameter_runs_what_depends_on_it(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    tiny.toml.write_text(tiny.toml.read_text().replace('method = "weights"', 'method = "mean"'))
    assert started(run(tiny, out)) == {"blend", "submission", "report"}
    assert json.loads((out / "metrics.json").read_text())["blend"]["weights"] == {
        "m0": 0.5,
        "m1": 0.5,
    }


@pytest.mark.acceptance
def test_another_run_s_blend_joins_as_a_member(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    for name in ("oof.csv", "test.csv"):
        shutil.copy(out / name, tiny.folder / f"before-{name}")
    before = json.loads((out / "metrics.json").read_text())["blend"]
    table = (
        '[[blend.external]]\nname = "before"\noof = "before-oof.csv"\ntest ='
        ' "before-test.csv"\n\n[submission]'
    )
    tiny.toml.write_text(tiny.toml.read_text().replace("[submission]", table))
    assert started(run(tiny, out)) == {"blend", "submission", "report"}
    found = json.loads((out / "metrics.json").read_text())
    assert found["members"]["before"]["oof"] == before["oof"]
    assert found["warnings"] == []
    # Other bytes of the table are seen.
    path = tiny.folder / "before-test.csv"
    path.write_text(path.read_text().replace("\n", "\r\n"))
    assert "blend" in started(run(tiny, out))


@pytest.mark.acceptance
def test_a_run_submits_where_its_file_says_so(
    again: tuple[Tiny, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, out = again
    server = Kaggle()
    try:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, server.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        text = tiny.toml.read_text().replace(
            "[leaderboard]", '[leaderboard]\ncompetition = "tiny"\nsubmit = true'
        )
        tiny.toml.write_text(text.replace("[submission]", "[submission]\ngzip = true"))
        done = run(tiny, out)
        assert started(done) == {"submission", "report"}
        assert "public 0.75, private none, cross-validation 0." in done.stdout
        assert server.uploads["T0"] == (out / "submission.csv.gz").read_bytes()
        assert not (out / "submission.csv").exists()
        # Nothing has changed: nothing is sent.
        assert "already submitted" in run(tiny, out).stdout
        assert len(server.entered) == 1
        assert all(
            TOKEN.encode() not in path.read_bytes() for path in out.rglob("*") if path.is_file()
        )
    finally:
        server.close()


@pytest.mark.acceptance
def test_a_changed_member_trains_that_member_alone(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    tiny.toml.write_text(tiny.toml.read_text().replace("strength = 1.1", "strength = 1.2"))
    done = run(tiny, out)
    assert started(done) == {"plan", "train", "blend", "submission", "report"}
    assert said(done, "running").count("train") == 1
    assert said(done, "reused").count("train") == 1


@pytest.mark.acceptance
def test_changed_bytes_of_an_input_run_what_depends_on_it(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    lines = tiny.sample.read_text().splitlines()
    tiny.sample.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert started(run(tiny, out)) == {"submission", "report"}
    assert (out / "submission.csv").read_text().splitlines()[1].startswith("30,")
    rows = tiny.train.read_text().splitlines()
    rows[1], rows[2] = rows[2], rows[1]
    tiny.train.write_text("\n".join(rows) + "\n")
    assert started(run(tiny, out)) == STEPS - {"plan"}


@pytest.mark.acceptance
def test_the_user_s_own_folds_run_through(again: tuple[Tiny, Path]) -> None:
    tiny, out = again
    own = {str(number): number % 3 for number in range(1, 121)} | {"4": -1, "9": -2}
    path = tiny.folder / "own.csv"
    path.write_text("id,fold\n" + "".join(f"{id_},{fold}\n" for id_, fold in own.items()))
    tiny.toml.write_text(tiny.toml.read_text().replace("count = 3", 'count = 3\nfile = "own.csv"'))
    assert started(run(tiny, out)) == STEPS - CONVERTING
    oof = pd.read_csv(out / "oof.csv", dtype={"id": str})
    assert dict(zip(oof["id"], oof["fold"], strict=True)) == {
        id_: fold for id_, fold in own.items() if fold >= 0
    }


@pytest.mark.acceptance
def test_changed_code_runs_what_depends_on_it(again: tuple[Tiny, Path], tmp_path: Path) -> None:
    tiny, out = again
    code = tmp_path / "code"
    for package in ("foldline", "pipelines", "components", "trainer"):
        shutil.copytree(
            ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    assert started(run(tiny, out, code=code)) == set()
    page = code / "components" / "report" / "page.html"
    page.write_text(page.read_text().replace("Learning curves", "Curves of learning"))
    assert started(run(tiny, out, code=code)) == {"report"}
    assert "Curves of learning" in (out / "report.html").read_text()
    changed = code / "components" / "blending" / "calibrate.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert started(run(tiny, out, code=code)) == {"blend", "submission", "report"}


@pytest.mark.acceptance
def test_the_same_seed_gives_the_same_bytes(finished: tuple[Tiny, Path], tmp_path: Path) -> None:
    """With linear members; the next test compares what networks predict."""
    tiny, out = finished
    other = tmp_path / "other"
    assert started(run(tiny, other)) == STEPS
    for name in ("oof.csv", "submission.csv", "folds.csv", "metrics.json"):
        assert (other / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.acceptance
def test_the_cut_into_jobs_gives_the_same_bytes(finished_run: Path, tmp_path: Path) -> None:
    # One member and one job per fold. In the finished run, it had a neighbour, and one job trained
    # all folds.
    out = finished_run
    alone = write_competition(tmp_path / "competition", members=1)
    alone.toml.write_text(
        alone.toml.read_text()
        .replace("folds_per_task = 3", "folds_per_task = 1")
        .replace('"weights"', '"mean"')
    )
    done = run(alone, tmp_path / "out")
    assert said(done, "running").count("train") == 3
    scores = [
        json.loads((folder / "metrics.json").read_text())["members"]["m0"]
        for folder in (out, tmp_path / "out")
    ]
    for key in ("oof", "folds", "low", "high"):
        assert scores[0][key] == scores[1][key]
    trained = [
        sorted((folder / "pipeline_root").rglob("predictions/oof.parquet"))
        for folder in (out, tmp_path / "out")
    ]
    columns = list("0123456789")
    tables = [pd.concat([pd.read_parquet(path) for path in paths]) for paths in trained]
    ours = tables[1].set_index("id")[columns].sort_index()
    both = [
        table.set_index("id")[columns].sort_index()
        for table in (pd.read_parquet(path) for path in trained[0])
    ]
    assert any(ours.equals(one) for one in both)


def test_a_step_that_cannot_start_is_named(again: tuple[Tiny, Path], tmp_path: Path) -> None:
    tiny, out = again
    code = tmp_path / "code"
    for package in ("foldline", "pipelines", "components", "trainer"):
        shutil.copytree(
            ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    changed = code / "components" / "blending" / "calibrate.py"
    changed.write_text("import a_library_that_is_not_there\n" + changed.read_text())
    done = run(tiny, out, status=1, code=code)
    assert (
        "step blend failed: ModuleNotFoundError: No module named 'a_library_that_is_not_there'"
        in done.stderr
    )
    assert "kfp/" not in done.stderr.split("complete log")[0]
    left = (
        "submission.csv, oof.csv, test.csv, folds.csv, metrics.json, report.html, data_card.html,"
        " kfold.yaml"
    )
    assert f"{left} in {out} are from an earlier run" in done.stderr


def test_a_bad_cell_fails_the_step_in_its_own_words(tiny: Tiny, tmp_path: Path) -> None:
    lines = tiny.train.read_text().splitlines()
    cells = lines[18].split(",")
    cells[3] = "999"
    lines[18] = ",".join(cells)
    tiny.train.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    done = run(tiny, out, status=1)
    words = "train.csv: row 18, column 'pixel2': 999 is not a whole number from 0 to 255"
    assert f"step records failed: {tiny.folder}/{words}" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} == {"pipeline_root"}


def processes(text: str) -> list[int]:
    """The processes whose command line or environment has `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                text.encode()
                in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.mark.skipif(
    not Path("/proc/self/environ").exists(),
    reason="finds what a run started by /proc, which Linux has",
)
@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        (signal.SIGKILL, -9),
    ],
)
@pytest.mark.acceptance
def test_a_stopped_run_leaves_no_process_and_no_result_and_resumes(
    tmp_path: Path, number: int, status: int
) -> None:
    tiny = write_competition(tmp_path / "competition", members=1, epochs=500)
    out = tmp_path / "out"
    with subprocess.Popen(
        command(tiny, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " epoch " in line:
                break
        # The events' path stands in the environment of all that the run started.
        assert len(processes(f"{out}/pipeline_root")) >= 2
        running.send_signal(number)
        assert running.wait(timeout=300) == status
    deadline = time.monotonic() + 120
    while processes(f"{out}/pipeline_root") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes(f"{out}/pipeline_root") == []
    assert {path.name for path in out.iterdir()} == {"pipeline_root"}
    if number == signal.SIGKILL:
        tiny.toml.write_text(tiny.toml.read_text().replace("epochs = 500", "epochs = 3"))
        done = run(tiny, out)
        # All that was finished before the kill is there, and the training that was killed runs
        # again.
        assert started(done) == {"plan", "train", "blend", "submission", "report"}
        assert {path.name for path in out.iterdir()} == RESULTS | {"pipeline_root", "models"}


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    tiny = write_competition(tmp_path / "competition", members=1, linear=True)
    out = tmp_path / "out"
    with subprocess.Popen(command(tiny, out), stdout=subprocess.PIPE, text=True, cwd=ROOT) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if "records" in line:
                break
        second = run(tiny, out, status=1)
        assert "another run uses" in second.stderr
        first.send_signal(signal.SIGINT)
        assert first.wait(timeout=300) == 130


@pytest.mark.acceptance
def test_a_step_that_is_killed_is_named(tmp_path: Path) -> None:
    tiny = write_competition(tmp_path / "competition", members=1, epochs=500)
    out = tmp_path / "out"
    with subprocess.Popen(
        command(tiny, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if " epoch " in line:
                break
        events = [
            json.loads(line)
            for line in (out / "pipeline_root" / "events.jsonl").read_text().splitlines()
        ]
        os.kill(next(event["pid"] for event in events if event["event"] == "epoch"), signal.SIGKILL)
        _, errors = running.communicate(timeout=300)
    assert running.returncode == 1
    assert "step train failed: its process was killed (out of memory?)" in errors
    assert "Traceback" not in errors
