"""Check inside an image that it contains all that its steps import.

Exit status 1 if anything is missing, with one line per problem. An image with Keras counts as a
training image.
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

# Set as in the command of every step: kfp then imports neither its compiler nor what that needs.
os.environ["_KFP_RUNTIME"] = "true"
RUNNER = "kfp.dsl.executor_main"
# kfp runs components from their text; only the launcher uploads to the leaderboard, because no step
# has the token.
LEFT_OUT = {"component.py", "upload.py"}
# Libraries that an image may lack, each with the only module that cannot do without it: an image
# that trains on JAX has no TensorFlow, none that trains starts JobSets, and none has the package
# efficientnet.
OPTIONAL = {
    "jax": "trainer.backends.jax",
    "tensorflow": "trainer.backends.tensorflow",
    "efficientnet": "trainer.models.efficientnet_package",
    "kubernetes": "components.jobset.launch",
}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each import of a file, also those inside functions: (module, name), "" for no name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def missing(module: str, name: str) -> str:
    """Return what is wrong with an import; "" if it works.

    Args:
        module: the module.
        name: the name to import from it; "" for none.
    """
    try:
        imported = importlib.import_module(module)
        if name and not hasattr(imported, name):
            importlib.import_module(f"{module}.{name}")
    except ImportError as error:
        return f"{module} {name}: {error}"
    return ""


def draws_and_stores() -> bool:
    """Return whether a plot can be drawn and a table stored.

    Libraries load fonts, and the reader and writer of parquet, only when they are used.
    """
    import pandas as pd

    from components.html import canvas, svg

    with canvas(1, 1, width=2, height=2) as (figure, axes):
        axes.plot([0, 1], label="a line")
        axes.legend()
        is_drawn = "<svg" in svg(figure)
    stored = io.BytesIO()
    table = pd.DataFrame({"id": ["a", "b"], "value": [0.5, 1.0]})
    table.to_parquet(stored)
    return is_drawn and bool(pd.read_parquet(stored).equals(table))


def main() -> int:
    """Try every import of the image's files; return the exit status."""
    training = importlib.util.find_spec("keras") is not None
    packages = ["components", "trainer"] if training else ["components"]
    files = [
        path
        for name in packages
        for path in Path(str(importlib.import_module(name).__file__)).parent.rglob("*.py")
    ]
    absent = {name for name in OPTIONAL if importlib.util.find_spec(name) is None}
    unusable = {OPTIONAL[name] for name in absent}
    endings = tuple(f"{module.replace('.', '/')}.py" for module in unusable)
    files = [path for path in files if not path.as_posix().endswith(endings)] if endings else files
    needed = {
        (module, name)
        for path in files
        if path.name not in LEFT_OUT
        for module, name in imports(path)
        # Other modules import these only when they use them.
        if module.split(".")[0] not in absent and not {module, f"{module}.{name}"} & unusable
    }
    problems = [problem for pair in sorted({(RUNNER, ""), *needed}) if (problem := missing(*pair))]
    if not draws_and_stores():
        problems.append("drawing a plot or storing a table gives a wrong result")
    if os.getuid() == 0 and "--root" not in sys.argv:
        problems.append("the image runs as root; if that is intended: IMAGE_USER=0")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        kind = ", training" if training else ""
        python = sys.version.split()[0]
        version = importlib.metadata.version("foldline")
        print(
            f"foldline {version}: all {len(needed)} imports of {len(files)} files work, Python"
            f" {python}, user {os.getuid()}{kind}"
        )
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
