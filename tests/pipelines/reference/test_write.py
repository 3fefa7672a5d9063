import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.definitions.compilation import DEFAULTS
from pipelines.reference.write import SCHEMAS, texts
from tests.support.paths import ROOT
from trainer.metrics.names import METRICS


@pytest.mark.parametrize("path", sorted(texts()), ids=lambda path: path.name)
def test_what_is_generated_is_current(path: Path) -> None:
    found = (ROOT / path).read_text(encoding="utf-8")
    assert found == texts()[path], "run: python -m pipelines.reference.write"


def test_the_page_names_every_metric() -> None:
    page = texts()[Path("docs/configuration.md")]
    assert [metric for metric in METRICS if f"`{metric}`" not in page] == []


@pytest.mark.parametrize(
    "path",
    sorted(DEFAULTS[0].parent.glob("*.toml")),
    ids=lambda path: path.name,
)
def test_an_editor_finds_the_schema_and_marks_a_mistake(path: Path, tmp_path: Path) -> None:
    """By taplo, the language server of the extension Even Better TOML."""
    text = path.read_text(encoding="utf-8")
    for name in SCHEMAS.values():
        (tmp_path / name).write_text((path.parent / name).read_text(encoding="utf-8"))
    for kind, changed in (("good", text), ("bad", text.replace("seed = ", "sede = ", 1))):
        copy = tmp_path / f"{kind}.toml"
        copy.write_text(changed)
        found = subprocess.run(
            [str(Path(sys.executable).with_name("taplo")), "check", str(copy)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (found.returncode == 0) == (kind == "good"), found.stderr
        if kind == "bad":
            assert "sede" in found.stderr
