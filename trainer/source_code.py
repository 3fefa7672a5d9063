"""Which of the project's own source files a piece of code can reach: a digest of them tells one
version from another."""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from trainer.artifacts.manifest import sha256

PACKAGES = ("components", "pipelines", "trainer")
ROOT = Path(__file__).resolve().parent.parent
# Templates and styles of pages: they count with the module beside them.
_BESIDE = ("*.html", "*.css")


def reached(modules: Iterable[str], root: Path | None = None) -> list[Path]:
    """The source files of some modules and of all project modules that they import, directly or
    through others.

    Imports are read from the source, also those inside functions. A package counts with its own
    code, which runs when anything in it is imported.

    Args:
        modules: dotted names; what is not the project's is passed over.
        root: the folder that holds the packages; by default that of this code.

    Returns:
        absolute paths, sorted.
    """
    root = root or ROOT
    found: set[Path] = set()
    pending = with_parents(modules)
    while pending:
        path = file_of(pending.pop(), root)
        if path is not None and path not in found:
            found.add(path)
            found.update(beside for kind in _BESIDE for beside in path.parent.glob(kind))
            pending += imported(ast.parse(path.read_text(encoding="utf-8")))
    return sorted(found)


def digest(paths: Iterable[Path], *, salt: str = "") -> str:
    """The sha256, in hex, of files of the project and of their places in it; `salt` is what else
    the result depends on."""
    found = hashlib.sha256(salt.encode())
    for path in paths:
        found.update(f"{path.relative_to(ROOT).as_posix()} {sha256(path)}\n".encode())
    return found.hexdigest()


def imported(tree: ast.AST) -> list[str]:
    """Every project module that is imported anywhere below `tree`, and the packages around it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            # `from package import module` names a module too; where it names a function there is no
            # such file.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return with_parents(names)


def with_parents(modules: Iterable[str]) -> list[str]:
    """The project's modules among `modules`, with the packages around them, sorted."""
    names = set(modules)
    parents = {name.rsplit(".", up)[0] for name in names for up in range(1, name.count(".") + 1)}
    return sorted(name for name in names | parents if name.split(".")[0] in PACKAGES)


def file_of(module: str, root: Path | None = None) -> Path | None:
    """The file of a module or package; None where there is none."""
    path = (root or ROOT).joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
