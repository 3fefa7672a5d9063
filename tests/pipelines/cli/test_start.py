"""`foldline init`, `check --json`, `explain`, `completion`, `runs`, `open`, and the help."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.main import GROUPS, main, parser
from pipelines.competitions.templates import TEMPLATES
from tests.support.paths import ROOT
from tests.support.tiny import Tiny, digits
from trainer.config.load import load_competition


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_init_writes_is_a_competition_file(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "My Pets-2.toml"
    assert main(["init", str(path), "--data", kind]) == 0
    assert load_competition(path).name == "my-pets-2"
    assert path.read_text().startswith("#:schema foldline.schema.json\n")
    assert (path.parent / "foldline.schema.json").is_file()
    assert str(path) in capsys.readouterr().out
    # It never overwrites what a person may have edited.
    path.write_text("mine")
    assert main(["init", str(path), "--data", kind]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "words"), [("pets", "must end with .toml"), ("/proc/pets.toml", "cannot be written")]
)
def test_where_init_cannot_write(
    name: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["init", name]) == 2
    assert words in capsys.readouterr().err


def test_the_example_is_good_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "digits.toml")]) == 0
    assert main(["check", str(tmp_path / "digits.toml")]) == 0
    assert "1437 labelled and 360 test images" in capsys.readouterr().out


def test_a_folder_of_classes_needs_three_edits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The template `folders` with the names of two folders; without a sample submission."""
    import cv2

    from tests.support.in_process import run_in_process

    images, labels = digits(60)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = "test" if number >= 50 else f"train/{'odd' if label % 2 else 'even'}"
        path = tmp_path / "photos" / folder / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    file = tmp_path / "parity.toml"
    assert main(["init", str(file), "--data", "folders"]) == 0
    assert main(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert "folders of train/{class}/{id}.*: 'even' is not a class" in said
    assert "the folders are ['even', 'odd']" in said
    text = file.read_text().replace('["cat", "dog"]', '["even", "odd"]')
    cut = text.index("# A small network that learns"), text.index("# Without a sample")
    file.write_text(text[: cut[0]] + text[cut[1] :])
    assert main(["check", str(file)]) == 0
    assert "50 labelled and 10 test images" in capsys.readouterr().out
    rows = run_in_process(file, tmp_path / "out").submission.read_text().splitlines()
    assert rows[0] == "id,label"
    assert [row.split(",")[0] for row in rows[1:]] == [f"{number:03}" for number in range(50, 60)]
    assert {row.split(",")[1] for row in rows[1:]} <= {"even", "odd"}


def test_problems_for_programs(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tiny.toml), "--json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["valid"], good["problems"], good["labelled"]) == (True, [], 120)
    text = tiny.toml.read_text()
    tiny.toml.write_text(text.replace("seed = 7", "sede = 7").replace("count = 3", "count = 99"))
    assert main(["check", str(tiny.toml), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert not found["valid"]
    problems = {problem["key"]: problem for problem in found["problems"]}
    assert problems["sede"]["close"] == "seed"
    assert problems["sede"]["line"] == 5
    assert problems["folds.count"]["value"] == 99
    assert problems["folds.count"]["allowed"] == "a whole number from 2 to 50"
    # A problem of the data has its text.
    tiny.toml.write_text(text.replace('target = "label"', 'target = "digit"'))
    assert main(["check", str(tiny.toml), "--json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "no column 'digit'" in problem["message"]


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "data.group"]) == 0
    assert "images of one group" in capsys.readouterr().out
    assert main(["explain", "data.grup"]) == 2
    assert "did you mean data.group?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("leaderboard", "--dry-run", "explain"))


def test_a_shell_completes_commands_and_flags(tmp_path: Path) -> None:
    script = subprocess.run(
        [sys.executable, "-m", "foldline", "completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    ask = 'COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_foldline; echo "${{COMPREPLY[@]}}"'
    for words, expected in (("foldline che", "check"), ("foldline submit --dry", "--dry-run")):
        asked = ask.format(words=words, last=len(words.split()) - 1)
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=False
        )
        assert expected in done.stdout.split(), done.stderr


def test_the_help_lists_every_command_once_with_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    page = capsys.readouterr().out
    assert "exit status:" in page
    (commands,) = (action for action in parser()._actions if getattr(action, "choices", None))
    names = [name for group in GROUPS.values() for name in group]
    assert sorted(names) == sorted(commands.choices or {})
    for name in names:
        assert page.count(f"\n  {name:<12} ") == 1
        text = (commands.choices or {})[name].format_help()
        assert f"examples:\n  foldline {name}" in text


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    import foldline

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"foldline {foldline.__version__}\n"


def test_runs_and_open(
    finished_run: Path,
    finished_gan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "no run has finished there" in capsys.readouterr().err
    for name, folder in (("tiny", finished_run), ("gan", finished_gan)):
        shutil.copytree(folder, tmp_path / "runs" / name)
    assert main(["runs", "--json"]) == 0
    found = {run["run"]: run for run in json.loads(capsys.readouterr().out)}
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert found["tiny"]["score"] == metrics["blend"]["oof"]
    assert found["tiny"]["seconds"] > 0
    assert found["tiny"]["bytes"] > 10_000
    assert found["gan"]["score"] is None
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "score", "metric", "finished", "took", "disk"]
    assert any(line.startswith("tiny ") and "accuracy" in line for line in lines)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    for name in ("tiny", "runs/tiny", "gan"):
        assert main(["open", name]) == 0
    report = (tmp_path / "runs" / "tiny" / "report.html").as_uri()
    assert opened == [report, report, (tmp_path / "runs" / "gan" / "gan.html").as_uri()]
    assert main(["open", "other"]) == 2
    assert "no report there" in capsys.readouterr().err
    # Where no browser can be started, the path is printed all the same.
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    capsys.readouterr()
    assert main(["open", "tiny"]) == 0
    said = capsys.readouterr()
    assert said.out == "runs/tiny/report.html\n"
    assert "open this file in one" in said.err
