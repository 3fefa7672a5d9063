import os
import subprocess
import sys
from pathlib import Path

from pipelines.compile import compile_kfold

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "kfold.yaml"


def test_the_compiled_pipeline_is_the_golden_one(tmp_path: Path) -> None:
    """After a meant change: `python pipelines/compile.py tests/golden`, and read the difference before you commit it."""
    assert compile_kfold(tmp_path / "kfold.yaml").read_text() == GOLDEN.read_text()


def test_compiling_needs_no_environment_and_is_the_same_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "pipelines" / "compile.py")]
    for name, hash_seed in (("one", "1"), ("two", "2")):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(command, cwd=folder, env={"PYTHONHASHSEED": hash_seed}, check=True, capture_output=True)
    one, two = ((tmp_path / name / "build" / "kfold.yaml").read_bytes() for name in ("one", "two"))
    assert one == two == GOLDEN.read_bytes()


def test_compiling_imports_no_cloud_client_and_no_framework(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pipelines.compile import main\nmain(sys.argv[1:])\n"
        "heavy = {'google.cloud.aiplatform', 'tensorflow', 'keras', 'pandas', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_digests_of_the_code_stand_in_every_task(tmp_path: Path) -> None:
    from pipelines.kfold import STEPS

    yaml = compile_kfold(tmp_path / "kfold.yaml", {name: {"CODE": f"digest-of-{name}"} for name in STEPS}).read_text()
    for name in STEPS:
        assert yaml.count(f"value: digest-of-{name}\n") == 1
