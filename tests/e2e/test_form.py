"""A run that begins as from a console: the compiled file, and where the data is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.tiny import Tiny, write_competition
from trainer import runtime

# What a Kubeflow Pipelines backend does with the file, done by kfp's local runner.
RUN = """
import json, sys
sys.executable = "python3"
from kfp import local
from kfp.components import load_component_from_file

local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
outputs = load_component_from_file(sys.argv[1])(**json.loads(sys.argv[3])).outputs
print(json.dumps({name: artifact.path for name, artifact in outputs.items()}))
"""


def run(tiny: Tiny, folder: Path, **arguments: str) -> subprocess.CompletedProcess[str]:
    build = folder / "build"
    compiled = [
        sys.executable,
        "-m",
        "pipelines.cli.main",
        "compile",
        str(tiny.toml),
        "--out",
        str(build),
    ]
    subprocess.run(compiled, check=True, capture_output=True)
    text = (build / "kfold.yaml").read_text()
    assert str(tiny.folder) not in text
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    return subprocess.run(
        [
            sys.executable,
            "-c",
            RUN,
            str(build / "kfold.yaml"),
            str(folder / "root"),
            json.dumps(arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "HOME": str(folder), "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.acceptance
def test_the_place_of_the_data_is_all_that_is_filled_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(runtime.EVENTS, raising=False)
    tiny = write_competition(tmp_path / "competition", linear=True)
    done = run(tiny, tmp_path, root=str(tiny.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = json.loads(done.stdout.splitlines()[-1])
    assert Path(outputs["submission"]).read_text().startswith("ImageId,Label\n1,")
    assert "<html" in Path(outputs["report"]).read_text()


def test_an_empty_form_is_refused_by_the_first_step(tiny: Tiny, tmp_path: Path) -> None:
    done = run(tiny, tmp_path)
    assert done.returncode != 0
    assert "must be the data's location, such as gs://bucket/prefix" in done.stdout + done.stderr
    assert not list((tmp_path / "root").rglob("records"))
