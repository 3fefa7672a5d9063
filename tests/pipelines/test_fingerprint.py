from pathlib import Path

import pytest

from pipelines import fingerprint
from pipelines.kfold import STEPS
from trainer import source_code

ROOT = Path(__file__).resolve().parents[2]


def reached(step: str) -> set[str]:
    function = STEPS[step].python_func
    return {str(path.relative_to(ROOT)) for path in fingerprint.reached(function.__module__, function.__name__)}


@pytest.mark.parametrize(
    ("step", "inside", "outside"),
    [
        ("records", {"components/records/pixels.py", "trainer/records.py", "trainer/errors.py"}, {"trainer/fit.py"}),
        (
            "train",
            {"trainer/fit.py", "trainer/model.py", "trainer/backbones.py", "trainer/augment.py"},
            {"components/folds/assign.py"},
        ),
        ("plan", {"components/training/plan.py"}, {"trainer/fit.py", "components/training/component.py"}),
        (
            "report",
            {"components/report/page.html", "components/report/plots.py"},
            {"trainer/fit.py", "components/records/pixels.py"},
        ),
        ("blend", {"components/blending/methods.py", "trainer/metrics.py"}, {"trainer/fit.py"}),
    ],
)
def test_a_step_reaches_what_it_imports_and_no_more(step: str, inside: set[str], outside: set[str]) -> None:
    found = reached(step)
    assert inside <= found
    assert not outside & found


def test_a_package_counts_with_its_own_code() -> None:
    assert {"components/__init__.py", "components/records/__init__.py"} <= reached("records")


def test_a_file_changes_only_the_steps_that_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint.code(STEPS)
    real = source_code.sha256
    monkeypatch.setattr(source_code, "sha256", lambda path: "0" if Path(path).name == "calibrate.py" else real(path))
    after = fingerprint.code(STEPS)
    assert {name for name in STEPS if before[name] != after[name]} == {"blend"}


def test_a_library_changes_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint.code(STEPS)
    real = fingerprint.importlib.metadata.version
    monkeypatch.setattr(fingerprint.importlib.metadata, "version", lambda name: "0" if name == "numpy" else real(name))
    after = fingerprint.code(STEPS)
    assert all(before[name] != after[name] for name in STEPS)
