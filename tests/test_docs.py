"""The pages: their commands and Python run, and the README is short."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli.main import main, parser
from tests.support.paths import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# The README also shows what they print.
PROGRAMS = ("foldline ", "make ", "python ", "source ")
# Code in a page that follows this comment is not run; the text around it says why.
NOT_RUN = "<!-- not run by a test -->"


def blocks(page: Path, kind: str) -> Iterator[str]:
    """Yield the blocks of a kind (sh, python …) that a test can run."""
    for before, found, code in re.findall(
        r"([^\n]*)\n```(\w+)\n(.*?)\n```", page.read_text(encoding="utf-8"), re.DOTALL
    ):
        if found == kind and before != NOT_RUN:
            yield code


def commands(page: Path) -> list[list[str]]:
    """Return the commands of a page's shell blocks, and of the README's indented ones."""
    text = "\n".join(blocks(page, "sh"))
    if page == README:
        text += "\n" + "\n".join(
            line[4:]
            for line in page.read_text(encoding="utf-8").splitlines()
            if line[:4] == " " * 4
        )
    text = text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip()]


def test_the_readme_is_a_page() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    # A line of output stays as it was printed, and a link cannot be broken.
    prose = [line for line in lines if not line.startswith(("    ", "|", "!["))]
    assert max(map(len, prose)) <= 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one(page: Path) -> None:
    """Each `foldline` command has flags that exist, each make target and module is there."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(page):
        if command[0] in ("foldline", ".venv/bin/foldline"):
            if command[1] not in ("--version", "--help"):
                words = command[1 : command.index(">") if ">" in command else None]
                parser().parse_args(words)
        elif command[0] == "make":
            assert command[1] in targets, command
        elif command[:2] == ["python", "-m"]:
            assert (ROOT / (command[2].replace(".", "/") + ".py")).is_file() or command[
                2
            ] == "build"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_toml_of_a_page_is_toml(page: Path) -> None:
    for code in blocks(page, "toml"):
        assert tomllib.loads(code)


# Commands that need an account, or that print what a terminal shows at once.
ELSEWHERE = ("--version", "--help", "leaderboard")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: the pages run the same example, so that later ones reuse its steps."""
    return tmp_path_factory.mktemp("reader")


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder without the files of an earlier page; results stay."""
    for path in folder.iterdir():
        if path.name != "runs":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.acceptance
@pytest.mark.xdist_group("pages")
@pytest.mark.parametrize("name", ["tutorial.md", "cli.md"])
def test_the_commands_of_a_page_run(
    name: str,
    reader: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In order, in a folder without files; the browser is not started."""
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    ran = set()
    for command in commands(ROOT / "docs" / name):
        if command[0] == "foldline" and command[1] not in ELSEWHERE:
            words, out = command[1:], ""
            if ">" in words:
                words, out = words[: words.index(">")], words[-1]
            capsys.readouterr()
            assert main(words) == 0, command
            if out:
                Path(out).write_text(capsys.readouterr().out)
            ran.add(words[0])
    assert ran >= {"init", "check", "run", "runs", "open"}
    if name == "cli.md":
        assert ran >= {"explain", "completion", "compile"}
        assert json.loads(Path("scores.json").read_text())["run"] == "digits"
        return
    # What the page shows is what a run prints.
    printed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    metrics = json.loads((reader / "runs" / "digits" / "metrics.json").read_text())
    assert f"cross-validation {metrics['blend']['oof']:.4f}" in printed
    assert f"leaderboard {metrics['leaderboard']:.4f}" in printed


@pytest.mark.acceptance
@pytest.mark.xdist_group("pages")
def test_the_notebook_runs(reader: Path) -> None:
    """docs/digits.ipynb by Jupyter's own client."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "digits.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(reader)}},
    )
    client.execute()
    assert (reader / "runs" / "digits" / "report.html").is_file()
    shown = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert any("blend by" in output["data"].get("text/html", "") for output in shown)
    # The notebook in the repository has no outputs, which would go out of date.
    stored = nbformat.read(ROOT / "docs" / "digits.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in stored.cells)


@pytest.mark.acceptance
@pytest.mark.xdist_group("pages")
def test_the_python_of_the_pages_runs(reader: Path) -> None:
    """With a small network in the example."""
    assert main(["init", "digits.toml"]) == 0
    text = Path("digits.toml").read_text()
    Path("broken.toml").write_text(text.replace("seed", "sede"))
    start = text.index("# [[members]]")
    cnn = re.sub(r"(?m)^# ", "", text[start : text.index("[submission]")])
    text = (
        text[:start] + cnn.replace("epochs = 20", "epochs = 1") + text[text.index("[submission]") :]
    )
    Path("digits.toml").write_text(text)
    for page in ("python.md", "notebook.md"):
        for code in blocks(ROOT / "docs" / page, "python"):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, code + done.stderr


def test_the_site_is_built_with_all_links(tmp_path: Path) -> None:
    """`make docs`; a link or anchor that leads nowhere stops it."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs")
    shutil.copy(ROOT / "mkdocs.yml", copy)
    build = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    build += ["--config-file", "mkdocs.yml"]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((copy / "build" / "site").glob("*.html"))
    assert {page.stem for page in PAGES[1:]} <= {page.stem for page in pages}
    for page in pages:
        # Nothing is loaded from elsewhere when a page is read.
        loaded = re.findall(
            r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?:[^\" >]+)", page.read_text()
        )
        assert loaded == [], page.name
    with open(copy / "docs" / "index.md", "a") as stream:
        stream.write("\n[nowhere](data.md#nowhere)\n")
    assert subprocess.run(build, cwd=copy, capture_output=True, check=False).returncode != 0
