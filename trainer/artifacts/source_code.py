"""Finds which of the project's source files a module depends on; a digest of them identifies the
version of the code."""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from trainer.artifacts.manifest import sha256

PACKAGES = ("components", "pipelines", "trainer")
ROOT = Path(__file__).resolve().parent.parent.parent
# Templates and styles of pages belong to the modules in the same folder.
_PAGE_FILES = ("*.html", "*.css")


def reached(modules: Iterable[str], root: Path | None = None) -> list[Path]:
    """Return the source files of modules and of all project modules that they import, directly or
    indirectly.

    Imports are read from the source, including those inside functions. The `__init__.py` of each
    package is included, because it runs when anything in the package is imported.

    Args:
        modules: dotted names; modules outside the project are ignored.
        root: the folder that contains the packages; by default that of this project.

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
            found.update(page_file for kind in _PAGE_FILES for page_file in path.parent.glob(kind))
            pending += _imported(path.read_text(encoding="utf-8"))
    return sorted(found)


def digest(paths: Iterable[Path], *, salt: str = "") -> str:
    """Return the sha256, in hex, of project files and their relative paths.

    Args:
        paths: absolute paths in the project.
        salt: anything else that the result depends on.
    """
    hasher = hashlib.sha256(salt.encode())
    for path in paths:
        hasher.update(f"{path.relative_to(ROOT).as_posix()} {sha256(path)}\n".encode())
    return hasher.hexdigest()


# The steps of a pipeline reach the same files again and again.
@functools.cache
def _imported(source: str) -> tuple[str, ...]:
    return tuple(imported(ast.parse(source)))


def imported(tree: ast.Module | ast.stmt) -> list[str]:
    """Return every project module that is imported anywhere in `tree`, and the packages that
    contain it."""
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        # An import is a statement: expressions, most of the tree, hold none.
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending += getattr(node, block, ())
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            # `from package import x` may name a module; if x is a function, no such file exists.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return with_parents(names)


def with_parents(modules: Iterable[str]) -> list[str]:
    """Return the project's modules among `modules`, and the packages that contain them, sorted."""
    names = set(modules)
    parents = {name.rsplit(".", up)[0] for name in names for up in range(1, name.count(".") + 1)}
    return sorted(name for name in names | parents if name.split(".")[0] in PACKAGES)


def file_of(module: str, root: Path | None = None) -> Path | None:
    """Return the file of a module or package, or None."""
    path = (root or ROOT).joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
