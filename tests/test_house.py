"""The rules that let a reader find a place by folder and file names. The import rules are contracts
of import-linter in pyproject.toml; `make lint` checks them."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGES = ("trainer", "components", "pipelines")
MODULES_PER_FOLDER, LINES_PER_MODULE, LINES_PER_FUNCTION, ARGUMENTS = 12, 350, 60, 7
VARIABLES = ROOT / "trainer" / "runtime.py"

# kfp compiles a component or a pipeline from the parameters of its function, so that these have one
# per artifact and key.
INTERFACE = re.compile(r"components/\w+/component\.py|pipelines/definitions/(kfold|gan)\.py")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef))


def test_no_folder_and_no_module_is_too_large() -> None:
    folders = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {name(f): count for f, count in folders.items() if count > MODULES_PER_FOLDER} == {}
    lines = {name(path): len(path.read_text().splitlines()) for path in modules()}
    assert {path: count for path, count in lines.items() if count > LINES_PER_MODULE} == {}


def test_no_function_is_too_long() -> None:
    """Lines of code count: not the docstring, not comments, not the parameters."""
    long = {}
    for path in modules():
        lines = path.read_text().splitlines()
        for function in functions(path):
            body = function.body[ast.get_docstring(function) is not None :]
            if not body or INTERFACE.fullmatch(name(path)):
                continue
            code = [line.strip() for line in lines[body[0].lineno - 1 : function.end_lineno]]
            count = sum(bool(line) and not line.startswith("#") for line in code)
            if count > LINES_PER_FUNCTION:
                long[f"{name(path)}: {function.name}"] = count
    assert long == {}


def test_no_constructor_has_too_many_arguments() -> None:
    found = {
        name(path): len(function.args.args + function.args.kwonlyargs) - 1
        for path in modules()
        for function in functions(path)
        if function.name == "__init__"
    }
    assert {path: count for path, count in found.items() if count > ARGUMENTS} == {}


def test_one_name_for_one_class() -> None:
    where = defaultdict(list)
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(name(path))
    assert {title: paths for title, paths in where.items() if len(paths) > 1} == {}


def test_no_file_hides_what_it_is() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_utils"}
    assert [name(path) for path in modules() if path.stem in vague] == []


def test_one_module_names_the_environment_variables_and_the_docs_list_them() -> None:
    named = re.compile(r"FOLDLINE_[A-Z_]+")
    for path in modules():
        if path == VARIABLES:
            continue
        nodes = list(ast.walk(tree(path)))
        # A string that is a statement of its own is a docstring.
        texts = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert id(node) in texts or not named.search(node.value), (
                    f"{name(path)}:{node.lineno}: use the constant in {name(VARIABLES)}"
                )
    listed = set(named.findall((ROOT / "docs" / "development.md").read_text()))
    assert listed == set(named.findall(VARIABLES.read_text()))


def test_docs_name_files_that_exist() -> None:
    """Every path of this project that a document names in backquotes."""
    folders = "|".join((*PACKAGES, "tests", "infra", "docs", "benchmarks"))
    paths = re.compile(rf"`((?:{folders})/[\w./-]+\.(?:py|md|toml|sh|txt|tf))`")
    missing = {
        f"{name(document)}: {path}"
        for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        for path in paths.findall(document.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    }
    assert missing == set()


def test_scripts_import_modules_that_exist() -> None:
    """Python inside shell scripts, YAML and the Makefile, which no linter reads."""
    imports = re.compile(rf"from ((?:{'|'.join(PACKAGES)})[\w.]*) import (\w+)")
    scripts = [path for path in (ROOT / "infra").rglob("*") if path.suffix in (".sh", ".yaml")]
    found = [
        (path, *pair)
        for path in [ROOT / "Makefile", ROOT / ".ci" / "run", *scripts]
        for pair in imports.findall(path.read_text(encoding="utf-8"))
    ]
    assert found
    for path, module, item in found:
        imported = importlib.import_module(module)
        assert hasattr(imported, item) or importlib.util.find_spec(f"{module}.{item}"), name(path)


@pytest.mark.parametrize(
    "module",
    [
        "pipelines.cli.main",
        "components.check.files",
        "components.records.convert",
        "components.statistics.summary",
        "components.folds.make_folds",
        "components.training.plan",
        "components.blending.blend",
        "components.submission.write",
        "components.report.page",
        "trainer.training.fit",
        "trainer.training.linear",
    ],
)
def test_a_light_module_imports_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'tensorflow', 'keras', 'jax', 'kfp'}} &"
        " set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
