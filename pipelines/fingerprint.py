"""Digests for the local cache, which by itself sees neither a change in the code of a step nor one in an input file."""

import ast
import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.manifest import sha256

_PROJECT = ("components", "pipelines", "trainer")
# What images carry.
IN_IMAGES = ("components", "trainer")


def code(steps: Mapping[str, Any]) -> dict[str, str]:
    """A digest for each kfp component: of all project code that its body can reach, and of the libraries' versions.

    Args:
        steps: name to a component made with `dsl.component`.
    """
    root = Path(__file__).resolve().parent.parent
    libraries = _libraries()
    return {
        name: _digest(reached(root, component.python_func.__module__, component.python_func.__name__), root, libraries)
        for name, component in steps.items()
    }


def reached(root: Path, module: str, function: str) -> list[Path]:
    """The project's files that a component's body imports, directly or through others, sorted.

    Imports are read from the source, also those inside functions; page templates and styles count with the module beside them.
    Of the module that holds the component only the component itself counts: kfp has its text in the cache key already.
    """
    face = ast.parse(_file_of(root, module).read_text(encoding="utf-8"))  # type: ignore[union-attr]  # it was imported
    body = next(node for node in face.body if isinstance(node, ast.FunctionDef) and node.name == function)
    found: set[Path] = set()
    pending = _imports(body)
    while pending:
        path = _file_of(root, pending.pop())
        if path is not None and path not in found:
            found.add(path)
            found.update(beside for kind in ("*.html", "*.css") for beside in path.parent.glob(kind))
            pending += _imports(ast.parse(path.read_text(encoding="utf-8")))
    return sorted(found)


def _imports(tree: ast.AST) -> list[str]:
    """Every project module that is imported anywhere below `tree`, and the packages around it, whose code runs too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            # `from package import module` names a module too; where it names a function there is no such file.
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    parents = {name.rsplit(".", up)[0] for name in names for up in range(1, name.count(".") + 1)}
    return sorted(name for name in names | parents if name.split(".")[0] in _PROJECT)


def _file_of(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _digest(paths: Iterable[Path], root: Path, libraries: str) -> str:
    digest = hashlib.sha256(libraries.encode())
    for path in paths:
        digest.update(f"{path.relative_to(root)} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _libraries() -> str:
    """Python's version and that of each installed library that the project names."""
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in importlib.metadata.requires("foldline") or []}
    versions = [sys.version]
    for name in sorted(names):
        try:
            versions.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed, so no step can use it
    return "\n".join(versions)


def version(folders: Sequence[str] = _PROJECT) -> str:
    """The project's version and the first digits of a digest of its code: `0.1.0-1f2e3d4c`."""
    root = Path(__file__).resolve().parent.parent
    kinds = ("*.py", "*.html", "*.css")
    files = sorted(path for folder in folders for kind in kinds for path in (root / folder).rglob(kind))
    digest = hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()
    return f"{importlib.metadata.version('foldline')}-{digest[:8]}"
