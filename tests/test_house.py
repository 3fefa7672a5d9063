"""The rule that keeps the rooms apart: imports point one way, and heavy ones stay where they
belong."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOORS = {"trainer": 0, "components": 1, "pipelines": 2}
# The one module that talks to Cloud Storage.
STORAGE = Path("components/storage/objects.py")
CLOUD = {"google.cloud", "google.auth", "google.api_core", "googleapiclient", "kubernetes"}
# The one that talks to Vertex AI, and the one to a Kubeflow Pipelines server.
VERTEX, CLUSTER = Path("pipelines/remote/vertex.py"), Path("pipelines/remote/kubeflow.py")
# The one that talks to the leaderboard.
UPLOAD = Path("components/submission/upload.py")


def modules() -> list[Path]:
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield str(node.module)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    floor = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        top = name.split(".")[0]
        if top in FLOORS:
            assert FLOORS[top] <= FLOORS[floor], f"{path} imports {name}, which is above it"
        if top == "kfp":
            assert floor == "pipelines" or path.name == "component.py", f"{path} imports kfp"
        if top in {"keras", "tensorflow", "jax"}:
            assert floor == "trainer", f"{path} imports {name}"
        if path.relative_to(ROOT) not in (STORAGE, VERTEX):
            assert not any(name == cloud or name.startswith(cloud + ".") for cloud in CLOUD), (
                f"{path} imports {name}"
            )
        if path.relative_to(ROOT) != CLUSTER:
            assert top != "kfp_server_api", f"{path} imports {name}"
        if path.relative_to(ROOT) != UPLOAD:
            assert top not in {"kaggle", "kagglesdk"}, f"{path} imports {name}"


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
    ],
)
def test_a_light_module_imports_no_heavy_library(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'tensorflow', 'keras', 'jax', 'kfp'}} &"
        " set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_hides_what_it_is() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py", "manager.py"}
    assert [path for path in modules() if path.name in vague] == []
