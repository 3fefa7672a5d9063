import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.main import main
from tests.support.tiny import Tiny, write_gan


def test_a_good_file(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tiny.toml)]) == 0
    assert (
        "valid: 120 labelled and 30 test images, 10 classes, 3 folds, members m0, m1"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "count = 3",
            "count = 99",
            "tiny.toml:18: folds.count = 99: must be a whole number from 2 to 50",
        ),
        ('"train.csv"', '"trian.csv"', "data.train"),
        ('target = "label"', 'target = "digit"', "train.csv: no column 'digit'"),
        ('"sample.csv"', '"answers2.csv"', "submission.sample"),
        (
            '"sample.csv"',
            '"twice.csv"',
            "twice.csv: row 31, column 'ImageId': id '7' is already in row 7",
        ),
        ('"sample.csv"', '"other.csv"', "other.csv: row 30, column 'ImageId': id '31' is not in"),
    ],
)
def test_what_the_user_wrote_wrong_is_status_2_and_leaves_nothing(
    tiny: Tiny,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    old: str,
    new: str,
    words: str,
) -> None:
    (tiny.folder / "twice.csv").write_text(tiny.sample.read_text() + "7,0\n")
    (tiny.folder / "other.csv").write_text(tiny.sample.read_text().replace("\n30,", "\n31,"))
    tiny.toml.write_text(tiny.toml.read_text().replace(old, new))
    out = tmp_path / "out"
    assert main([command, str(tiny.toml), *(["--out", str(out)] if command == "run" else [])]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("out", ["train.csv", "train.csv/x", "x" * 300])
def test_a_place_where_no_folder_can_be(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    assert main(["run", str(tiny.toml), "--out", str(tiny.folder / out)]) == 2
    assert "cannot be created or written to" in capsys.readouterr().err
    assert main(["compile", "--out", str(tiny.folder / out)]) == 2
    assert "cannot be created or written to" in capsys.readouterr().err


def test_an_empty_place(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tiny.toml), "--out", ""])
    assert caught.value.code == 2
    assert "write . for the current folder" in capsys.readouterr().err


def test_a_thread_count_that_is_none(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLDLINE_THREADS", "many")
    assert main(["run", str(tiny.toml), "--out", str(tmp_path / "out")]) == 2
    assert "FOLDLINE_THREADS = 'many': must be a whole number" in capsys.readouterr().err


def test_on_a_terminal_errors_go_to_the_standard_error(tiny: Tiny, tmp_path: Path) -> None:
    """Stop a run before its first step, with a terminal for its output and a file for errors."""
    pty = pytest.importorskip("pty", reason="a terminal to write to: on Linux and macOS only")
    main_end, child_end = pty.openpty()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pipelines.cli.main",
            "run",
            str(tiny.toml),
            "--out",
            tmp_path / "out",
        ],
        stdout=child_end,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FOLDLINE_THREADS": "many"},
        check=False,
    )
    os.close(child_end)
    shown = os.read(main_end, 100_000).decode()
    os.close(main_end)
    assert done.returncode == 2
    assert "FOLDLINE_THREADS = 'many': must be a whole number" in done.stderr
    assert "must be a whole number" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_a_reader_that_has_read_enough(tiny: Tiny) -> None:
    command = f"{sys.executable} -m pipelines.cli.main check {tiny.toml} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["runn"])
    assert caught.value.code == 2
    assert "runn" in capsys.readouterr().err


def test_verify(records_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(records_folder)]) == 0
    assert "complete: 6 files, 150 records" in capsys.readouterr().out
    assert main(["verify", str(tmp_path)]) == 1
    assert "no manifest.json" in capsys.readouterr().err


def test_compile(tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "build")
    assert (
        main(
            [
                "compile",
                str(tiny.toml),
                "--out",
                out,
                "--gpu",
                "L4",
                "--image-light",
                "a/b@sha256:1",
            ]
        )
        == 0
    )
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == [
        "kfold.yaml",
        "kfold.vertex.yaml",
        "kfold.gke.yaml",
    ]
    text = (tmp_path / "build" / "kfold.vertex.yaml").read_text()
    assert "NVIDIA_L4" in text
    assert "image: a/b@sha256:1" in text
    assert "defaultValue: tiny" in text
    assert main(["compile", "--out", out, "--tpu", "v9"]) == 2
    assert "machine.tpu = 'v9'" in capsys.readouterr().err
    assert main(["compile", "--out", out, "--gpus", "2"]) == 2
    assert "machine.gpus = 2: requires gpu" in capsys.readouterr().err


def test_compile_without_a_file_writes_both_pipelines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", "--out", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}{ending}.yaml" for name in ("gan", "kfold") for ending in (".gke", ".vertex", "")
    ]


def test_check_a_gan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_gan(tmp_path)
    assert main(["check", str(path)]) == 0
    assert (
        "valid: 200 labelled and 0 test images, 10 classes, 3 folds, judge judge"
        in capsys.readouterr().out
    )
    for before, after, said in (
        (
            "count = 3",
            "count = 20",
            "folds.count = 20: holds out only 10 of 200 images, too few to judge 10 classes: lower"
            " it",
        ),
        ("latent = 8", "latent = 8\nbatch = 3", "gan.batch is an unknown key"),
        (
            "steps = 48\nbatch_size = 16",
            "steps = 48\nbatch_size = 160",
            "gan.batch_size = 160: only 133 images are left",
        ),
        ('train = "train.csv"', 'train = "gone.csv"', "gone.csv': no such file"),
        (
            "samples = 40",
            'samples = 40\nfeatures = { weights = "gone.keras" }',
            "gone.keras': no such file",
        ),
    ):
        changed = tmp_path / "changed.toml"
        assert before in path.read_text()
        changed.write_text(path.read_text().replace(before, after))
        assert main(["check", str(changed)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("machine", "devices", "named"),
    [
        ('tpu = "v3-8"', 8, "tpu = 'v3-8'"),
        ('tpu = "v5e-4"', 4, "tpu = 'v5e-4'"),
        ('gpu = "L4"\ngpus = 2', 2, "gpu = 'L4'"),
    ],
)
def test_a_gan_s_batch_is_shared_by_all_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], machine: str, devices: int, named: str
) -> None:
    """Reported before a judge is trained for hours on these devices."""
    path = write_gan(tmp_path)
    text = path.read_text()
    path.write_text(f"{text}\n[machine]\n{machine}\n")
    assert main(["check", str(path)]) == 0
    capsys.readouterr()
    path.write_text(
        text.replace("batch_size = 16\nlatent", "batch_size = 17\nlatent")
        + f"\n[machine]\n{machine}\n"
    )
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert (
        f"gan.batch_size = 17: must be a multiple of the {devices} devices of machine.{named}"
        in said
    )


def test_a_gan_has_no_leaderboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "list", str(write_gan(tmp_path))]) == 2
    assert "is a GAN file" in capsys.readouterr().err


def test_check_knows_machines(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.toml.write_text(tiny.toml.read_text() + '\n[machine]\ntpu = "v5e-7"\n')
    assert main(["check", str(tiny.toml)]) == 2
    assert "machine.tpu = 'v5e-7': unknown accelerator; did you mean" in capsys.readouterr().err


def test_checking_loads_no_heavy_library(tiny: Tiny) -> None:
    code = (
        "import sys\nfrom pipelines.cli.main import main\nassert main(sys.argv[1:]) =="
        " 0\nprint(sorted({'tensorflow', 'keras', 'kfp', 'pandas', 'sklearn', 'pyarrow'} &"
        " set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(tiny.toml)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_installed_command_is_there() -> None:
    command = Path(sys.executable).parent / "foldline"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "check" in done.stdout
