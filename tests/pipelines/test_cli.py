import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Tiny

from pipelines.cli import main


def test_a_good_file(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tiny.toml)]) == 0
    assert "good. 120 labelled and 30 test images, 10 classes, 3 folds, members m0, m1" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("count = 3", "count = 99", "tiny.toml: folds.count = 99: must be a whole number from 2 to 50"),
        ('"train.csv"', '"trian.csv"', "data.train"),
        ('target = "label"', 'target = "digit"', "train.csv: no column 'digit'"),
        ('"sample.csv"', '"answers2.csv"', "submission.sample"),
    ],
)
def test_what_the_user_wrote_wrong_is_status_2_and_leaves_nothing(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, old: str, new: str, words: str
) -> None:
    tiny.toml.write_text(tiny.toml.read_text().replace(old, new))
    out = tmp_path / "out"
    assert main([command, str(tiny.toml), *(["--out", str(out)] if command == "run" else [])]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_file_where_the_results_should_go(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(tiny.toml), "--out", str(tiny.train)]) == 2
    assert "a file is there, not a folder" in capsys.readouterr().err


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["runn"])
    assert caught.value.code == 2
    assert "runn" in capsys.readouterr().err


def test_compile(tmp_path: Path) -> None:
    assert main(["compile", str(tmp_path / "build")]) == 0
    assert (tmp_path / "build" / "kfold.yaml").is_file()


def test_checking_loads_no_heavy_library(tiny: Tiny) -> None:
    code = (
        "import sys\nfrom pipelines.cli import main\nassert main(sys.argv[1:]) == 0\n"
        "print(sorted({'tensorflow', 'keras', 'kfp', 'pandas', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, "check", str(tiny.toml)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_installed_command_is_there() -> None:
    command = Path(sys.executable).parent / "foldline"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "check" in done.stdout
