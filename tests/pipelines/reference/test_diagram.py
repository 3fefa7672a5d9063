import pytest

from pipelines.reference.diagram import with_diagram
from tests.support.paths import ROOT


def test_the_diagram_has_each_step_and_no_arrow_that_follows_from_others() -> None:
    page = with_diagram("before\n```mermaid\nearlier\n```\nafter", ROOT / "tests/golden/kfold.yaml")
    assert page.startswith("before\n```mermaid\nflowchart LR\n")
    assert page.endswith("```\nafter")
    assert "earlier" not in page
    assert "    folds --> statistics\n" in page
    assert 'statistics --> train["train × n"]' in page
    # The statistics come after the folds, so training needs no arrow from them.
    assert "folds --> train" not in page


@pytest.mark.parametrize("name", ["kfold", "gan"])
def test_either_pipeline(name: str) -> None:
    page = with_diagram("```mermaid\n```", ROOT / f"tests/golden/{name}.yaml")
    assert page.count("-->") >= 8
