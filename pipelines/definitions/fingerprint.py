"""Digests of code for kfp's local cache.

By itself, the cache notices neither a change in the code of a step nor one in an input file.
"""

import ast
import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.artifacts import source_code
from trainer.artifacts.manifest import sha256

# The packages in the container images.
IN_IMAGES = ("components", "trainer")


def code(steps: Mapping[str, Any]) -> dict[str, str]:
    """A digest of the code behind each step.

    It covers all project code that the body of the component can reach, and the versions of the
    libraries.

    Args:
        steps: step name to a component that was created with `dsl.component`.

    Returns:
        the digest by step name.
    """
    libraries = _libraries()
    return {
        name: source_code.digest(
            reached(component.python_func.__module__, component.python_func.__name__),
            salt=libraries,
        )
        for name, component in steps.items()
    }


def reached(module: str, function: str) -> list[Path]:
    """The project's files that a component's body imports, directly or indirectly, sorted.

    The rest of the component's own module is left out, and so is its body, whose text is part of
    kfp's cache key already.

    Args:
        module: the name of the module that defines the component.
        function: the name of the component function.
    """
    tree = ast.parse(source_code.file_of(module).read_text(encoding="utf-8"))  # type: ignore[union-attr]  # it was imported
    body = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    return source_code.reached(source_code.imported(body))


def _libraries() -> str:
    """The versions of Python and of each installed library that the project requires."""
    names = {
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        for line in importlib.metadata.requires("foldline") or []
    }
    versions = [sys.version]
    for name in sorted(names):
        try:
            versions.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # belongs to an extra that is not installed, so no step can use it
    return "\n".join(versions)


def version(folders: Sequence[str] = source_code.PACKAGES) -> str:
    """The project's version and the start of a digest of its code: `0.1.0-1f2e3d4c`.

    Args:
        folders: the packages that count.
    """
    root = source_code.ROOT
    kinds = ("*.py", "*.html", "*.css")
    files = sorted(
        path for folder in folders for kind in kinds for path in (root / folder).rglob(kind)
    )
    digest = hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()
    return f"{importlib.metadata.version('foldline')}-{digest[:8]}"
