from pathlib import Path

import pytest

from pipelines.definitions import fingerprint
from pipelines.definitions.kfold import STEPS
from tests.support.paths import ROOT
from trainer.artifacts import source_code


def reached(step: str) -> set[str]:
    function = STEPS[step].python_func
    return {
        str(path.relative_to(ROOT))
        for path in fingerprint.reached(function.__module__, function.__name__)
    }


@pytest.mark.parametrize(
    ("step", "inside", "outside"),
    [
        (
            "records",
            {
                "components/records/sources/pixels.py",
                "trainer/artifacts/records.py",
                "trainer/errors.py",
            },
            {"trainer/training/fit.py"},
        ),
        (
            "train",
            {
                "trainer/training/fit.py",
                "trainer/models/classifier.py",
                "trainer/models/backbones.py",
                "trainer/input/augment.py",
            },
            {"components/folds/stratify.py"},
        ),
        (
            "plan",
            {"components/training/plan.py"},
            {"trainer/training/fit.py", "components/training/component.py"},
        ),
        (
            "report",
            {"components/report/page.html", "components/report/figures.py"},
            {"trainer/training/fit.py", "components/records/sources/pixels.py"},
        ),
        (
            "blend",
            {"components/blending/methods.py", "trainer/metrics/scores.py"},
            {"trainer/training/fit.py"},
        ),
    ],
)
def test_a_step_reaches_what_it_imports_and_no_more(
    step: str, inside: set[str], outside: set[str]
) -> None:
    found = reached(step)
    assert inside <= found
    assert not outside & found


def test_a_package_counts_with_its_own_code() -> None:
    assert {"components/__init__.py", "components/records/__init__.py"} <= reached("records")


def test_a_file_changes_only_the_steps_that_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint.code(STEPS)
    real = source_code.sha256
    monkeypatch.setattr(
        source_code, "sha256", lambda path: "0" if Path(path).name == "calibrate.py" else real(path)
    )
    after = fingerprint.code(STEPS)
    assert {name for name in STEPS if before[name] != after[name]} == {"blend"}


def test_a_library_changes_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint.code(STEPS)
    real = fingerprint.importlib.metadata.version
    monkeypatch.setattr(
        fingerprint.importlib.metadata,
        "version",
        lambda name: "0" if name == "numpy" else real(name),
    )
    after = fingerprint.code(STEPS)
    assert all(before[name] != after[name] for name in STEPS)
