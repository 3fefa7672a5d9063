"""The command `python pipelines/compile.py`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.pipelines.definitions.test_compilation import COMPILED
from tests.support.paths import ROOT


def test_compiling_needs_no_environment_and_is_the_same_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "pipelines" / "compile.py")]
    for name, hash_seed in (("one", "1"), ("two", "2")):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(
            command, cwd=folder, env={"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True
        )
    for name in COMPILED:
        assert (tmp_path / "one" / "build" / name).read_bytes() == (
            tmp_path / "two" / "build" / name
        ).read_bytes()


def test_compiling_imports_no_cloud_client_and_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pipelines.compile import main\nmain(sys.argv[1:])\n"
        "heavy = {'google.cloud.aiplatform', 'tensorflow', 'keras', 'pandas', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "--tpu", "v5e-4"],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.stdout.splitlines()[-1] == "[]"
