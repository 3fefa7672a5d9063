"""Does an image hold what its tasks need? Run in it; the status is 1 and lines say what is missing.

A training image is told by its having keras.
"""

import ast
import importlib
import importlib.metadata
import importlib.util
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# As the command of every task sets it: kfp then leaves out its compiler, and what that needs.
os.environ["_KFP_RUNTIME"] = "true"
RUNNER = "kfp.dsl.executor_main"
# Faces are run by kfp, which is given their text; the leaderboard is the launcher's, for no task
# has its token.
LEFT_OUT = {"component.py", "upload.py"}
# One of these trains, and where JAX does, TensorFlow may be missing.
ENGINES = {"jax": "jax.py", "tensorflow": "tensorflow.py"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name in it or "") of every import of a file, at its top and inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def missing(module: str, name: str) -> str:
    """What is wrong with an import, or ""."""
    try:
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ImportError as error:
        return f"{module} {name}: {error}"
    return ""


def draws_and_stores() -> bool:
    """What libraries load only when they work: fonts, and the reader and writer of parquet."""
    import pandas as pd

    from components.html import canvas, svg

    with canvas(1, 1, width=2, height=2) as (figure, axes):
        axes.plot([0, 1], label="a line")
        axes.legend()
        drawn = "<svg" in svg(figure)
    stored = io.BytesIO()
    table = pd.DataFrame({"id": ["a", "b"], "value": [0.5, 1.0]})
    table.to_parquet(stored)
    return drawn and bool(pd.read_parquet(stored).equals(table))


def main() -> int:
    """Look at every import, inside functions too."""
    training = importlib.util.find_spec("keras") is not None
    packages = ["components", "trainer"] if training else ["components"]
    files = [
        path
        for name in packages
        for path in Path(str(importlib.import_module(name).__file__)).parent.rglob("*.py")
    ]
    left_out = LEFT_OUT | {
        file for library, file in ENGINES.items() if importlib.util.find_spec(library) is None
    }
    wanted = {pair for path in files if path.name not in left_out for pair in imports(path)}
    # accelerator.py and networks.py import the engine they choose.
    wanted = {
        pair
        for pair in wanted
        if pair[0].split(".")[0] not in ENGINES or importlib.util.find_spec(pair[0].split(".")[0])
    }
    problems = [problem for pair in sorted({(RUNNER, ""), *wanted}) if (problem := missing(*pair))]
    if not draws_and_stores():
        problems.append("a plot or a table is not what was made")
    if os.getuid() == 0:
        problems.append("runs as root")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        kind = ", training" if training else ""
        python = sys.version.split()[0]
        version = importlib.metadata.version("foldline")
        print(
            f"foldline {version}: {len(wanted)} imports of {len(files)} files, Python {python},"
            f" user {os.getuid()}{kind}"
        )
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
