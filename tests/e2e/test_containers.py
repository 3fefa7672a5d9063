"""A whole pipeline with every step in a container, by a real Docker engine; `make container-test`
builds the images for it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import components
from components.storage.client import blob
from tests.support.paths import ROOT
from tests.support.tiny import Tiny, in_bucket

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        "FOLDLINE_CONTAINER_TEST" not in os.environ,
        reason="needs images and a Docker engine: make container-test",
    ),
]
DOCKER = os.environ.get("DOCKER", "docker")
MOST_BYTES = 620_000_000


def docker(*arguments: str) -> str:
    return subprocess.run([DOCKER, *arguments], capture_output=True, text=True, check=True).stdout


def run(toml: Path, out: Path, *more: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pipelines.cli.main",
        "run",
        str(toml),
        "--out",
        str(out),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture
def digits(tmp_path: Path, bucket: str) -> Path:
    """The digits competition with its data in a bucket of a storage server on this machine, and
    fewer epochs."""

    data = tmp_path / "digits"
    subprocess.run(
        [sys.executable, "-m", "pipelines.competitions.digits", str(data)],
        check=True,
        capture_output=True,
    )
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        blob(f"{bucket}/digits/{name}").upload_from_filename(data / name)
    text = (ROOT / "pipelines" / "competitions" / "digits.toml").read_text()
    text = text.replace('root = "../../data/digits"', f'root = "{bucket}/digits"').replace(
        "epochs = 14", "epochs = 2"
    )
    text = text.replace("warmup_epochs = 2", "warmup_epochs = 1").replace(
        "answers.csv", str(data / "answers.csv")
    )
    toml = tmp_path / "digits.toml"
    toml.write_text(text)
    return toml


def test_containers_and_processes_write_the_same_submission(digits: Path, tmp_path: Path) -> None:
    in_containers = run(digits, tmp_path / "containers", "--docker").stdout
    for step in ("check", "records", "train", "blend", "report"):
        assert f"\n{step:<12}done in" in in_containers
    run(digits, tmp_path / "processes")
    for name in ("submission.csv", "oof.csv", "test.csv", "folds.csv"):
        assert (tmp_path / "containers" / name).read_bytes() == (
            tmp_path / "processes" / name
        ).read_bytes(), name
    scores = json.loads((tmp_path / "containers" / "metrics.json").read_text())
    assert scores["blend"]["oof"] > 0.9
    # Run again, and nothing is done twice.
    again = run(digits, tmp_path / "containers", "--docker").stdout
    assert "train       running" not in again


def test_files_of_this_machine_are_read_through_a_mount(tiny: Tiny, tmp_path: Path) -> None:
    run(tiny.toml, tmp_path / "out", "--docker")
    assert (tmp_path / "out" / "submission.csv").read_text().startswith("ImageId,Label\n1,")


def test_a_step_that_fails_in_its_container_fails_the_run(tiny: Tiny, tmp_path: Path) -> None:
    # A bad pixel: check reads the labels.
    lines = tiny.train.read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ",999"
    tiny.train.write_text("\n".join(lines) + "\n")
    done = run(tiny.toml, tmp_path / "out", "--docker", status=1)
    assert "step records failed" in done.stderr
    assert "999 is not a whole number from 0 to 255" in done.stderr


def test_an_image_of_other_code_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    kept = docker("image", "inspect", "--format", "{{.Id}}", components.LIGHT_IMAGE).strip()
    other = tmp_path / "Dockerfile"
    other.write_text(
        f'FROM {components.LIGHT_IMAGE}\nLABEL org.opencontainers.image.version="0.0.0-other"\n'
    )
    docker("build", "--quiet", "--tag", components.LIGHT_IMAGE, str(tmp_path))
    try:
        done = run(tiny.toml, tmp_path / "out", "--docker", status=1)
        assert f"image {components.LIGHT_IMAGE} holds code version 0.0.0-other" in done.stderr
        assert "make images" in done.stderr
    finally:
        docker("tag", kept, components.LIGHT_IMAGE)


@pytest.mark.parametrize("image", [components.LIGHT_IMAGE, components.TRAINING_IMAGE])
def test_what_an_image_is(image: str) -> None:
    from pipelines.definitions import fingerprint

    (about,) = json.loads(docker("image", "inspect", image))
    assert about["Config"]["User"] == "1000"
    assert not about["Config"]["Entrypoint"]
    assert (
        f"FOLDLINE_IMAGE_CODE={fingerprint.version(fingerprint.IN_IMAGES)}"
        in about["Config"]["Env"]
    )
    assert about["Config"]["Labels"]["org.opencontainers.image.version"] == fingerprint.version(
        fingerprint.IN_IMAGES
    )
    if image == components.LIGHT_IMAGE:
        assert about["Size"] < MOST_BYTES
    shell = "command -v pip pip3 apt-get perl; python3 -c 'import pip' 2>&1; true"
    assert docker("run", "--rm", image, "sh", "-c", shell).strip().endswith("No module named 'pip'")
    light = docker(
        "run",
        "--rm",
        image,
        "python3",
        "-c",
        "import importlib.util as u; print(bool(u.find_spec('keras')))",
    ).strip()
    assert light == str(image == components.TRAINING_IMAGE)


@pytest.mark.parametrize("image", [components.LIGHT_IMAGE, components.TRAINING_IMAGE])
def test_no_secret_is_in_an_image(image: str) -> None:
    """Some lay beside the sources that it was built of."""
    kept = docker("create", image).strip()
    try:
        # Its files as they are: the layers of an image may be compressed.
        with subprocess.Popen([DOCKER, "export", kept], stdout=subprocess.PIPE) as exported:
            stream = exported.stdout
            assert stream is not None
            found = [
                word
                for block in overlapping(iter(lambda: stream.read(1 << 20), b""))
                for word in (b"planted-secret", b"FOLDLINE_WANTED_CODE")
                if word in block
            ]
        assert exported.returncode == 0
    finally:
        docker("rm", kept)
    # The other word is in a module that it must have: this looks into files.
    assert set(found) == {b"FOLDLINE_WANTED_CODE"}
    assert "planted-secret" not in docker("history", "--no-trunc", image)


def overlapping(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks that share their ends, so that nothing is missed between two."""
    end = b""
    for block in blocks:
        yield end + block
        end = block[-64:]


def test_a_bucket_elsewhere_needs_no_mount(tiny: Tiny, bucket: str, tmp_path: Path) -> None:
    in_bucket(tiny, bucket)
    tiny.train.unlink()
    tiny.test.unlink()
    run(tiny.toml, tmp_path / "out", "--docker")
    assert (tmp_path / "out" / "submission.csv").is_file()
