"""Test the files that images are built from; `make container-test` builds and runs the images."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

IMAGES = ROOT / "infra" / "images"
LOCKS = ["light", "cpu", "gpu", "tpu"]


def pinned(path: Path) -> dict[str, set[str]]:
    """Return the versions in a lock file by package.

    A package has several if they depend on the version of Python.
    """
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([a-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_the_versions_that_are_tested(name: str) -> None:
    text = (IMAGES / f"{name}.lock").read_text()
    mine, tested = pinned(IMAGES / f"{name}.lock"), pinned(ROOT / "requirements.lock")
    assert len(mine) > 30
    different = {
        key: (versions, tested[key])
        for key, versions in mine.items()
        if key in tested and not versions <= tested[key]
    }
    assert different == {}
    # Every package is pinned by hash, and no line gives a download address.
    assert len(re.findall(r"^[a-z0-9._-]+==", text, re.MULTILINE)) == len(
        re.findall(r"==[^\n]*\\\n    --hash=sha256:", text)
    )
    assert "://" not in text
    assert "--index" not in text


def test_each_image_has_what_it_needs_and_no_more() -> None:
    libraries = {name: set(pinned(IMAGES / f"{name}.lock")) for name in LOCKS}
    heavy = {"tensorflow", "tensorflow-cpu", "keras", "jax", "libtpu"}
    assert {name: sorted(heavy & found) for name, found in libraries.items()} == {
        "light": [],
        "cpu": ["jax", "keras", "tensorflow-cpu"],
        "gpu": ["jax", "keras"],
        "tpu": ["jax", "keras", "libtpu"],
    }
    assert {"jax-cuda12-plugin", "nvidia-cudnn-cu12"} <= libraries["gpu"]
    # A light step starts JobSets.
    assert [name for name in LOCKS if "kubernetes" in libraries[name]] == ["light"]
    for found in libraries.values():
        assert "kfp" in found
        # Only launchers need these, and kfp to talk to a cluster.
        assert not found & {
            "kfp-server-api",
            "google-cloud-aiplatform",
            "kagglesdk",
            "docker",
            "pip",
        }


def test_the_dockerfile_installs_by_hash_and_starts_nothing() -> None:
    text = (IMAGES / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert "--no-deps" in text
    assert "--only-binary :all:" in text
    assert not re.search(r"^(ENTRYPOINT|HEALTHCHECK|ADD)\b", text, re.MULTILINE)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "${IMAGE_USER}"
    assert "\nARG IMAGE_USER=1000\n" in text
    assert "org.opencontainers.image.version" in text
    assert "FOLDLINE_IMAGE_CODE=${SOURCE_DIGEST}" in text


def test_what_goes_to_the_builder_is_listed() -> None:
    first, *more = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    assert "**/.*" in more
    allowed = {line.removeprefix("!") for line in more if line.startswith("!")}
    copied = {
        word
        for line in re.findall(
            r"^COPY (?!--from)(\S+)", (IMAGES / "Dockerfile").read_text(), re.MULTILINE
        )
        for word in [line]
    }
    assert {name.replace("${LOCK}", "*") for name in copied} == allowed
    # Of these folders, an image keeps exactly the file types that exist in them, which the code
    # digest covers.
    kept = set(re.findall(r"! -name '\*(\.\w+)'", (IMAGES / "Dockerfile").read_text()))
    kinds = {
        path.suffix
        for folder in ("components", "trainer")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    # Other projects' type checkers read py.typed; no step does.
    assert kinds - {".pyc", ".typed"} == kept == {".py", ".html", ".css"}


def test_training_on_jax_needs_no_tensorflow(tmp_path: Path, records_folder: Path) -> None:
    """The TPU image has no TensorFlow."""
    from tests.support.tiny import dealt

    inputs = dealt(records_folder, tmp_path, classes=[str(digit) for digit in range(10)])
    code = f"""
import importlib.abc, sys

class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
from dataclasses import asdict
from components.training.run_job import run_job
from trainer.config.machine import Train
from trainer.config.member import Cnn, Member
from trainer.artifacts.objective import Objective

member = Member(name="m", size=8, cnn=Cnn(filters=[4], strides=[2]), epochs=1, batch_size=16)
settings = asdict(Train(backend="jax"))
run_job(
    {{"member": asdict(member), "folds": [0], "settings": settings, "weights_digest": ""}},
    Objective("multiclass", list("0123456789"), "accuracy", 1),
    images={str(inputs.records)!r},
    folds={str(inputs.folds_table)!r},
    statistics={str(inputs.statistics)!r},
    out={str(tmp_path / "out")!r},
)
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "fold0.keras").is_file()


def test_cloud_build_declares_what_it_uses() -> None:
    import yaml

    text = (ROOT / "infra" / "cloudbuild.yaml").read_text()
    build = yaml.safe_load(text)
    # $$ is a literal dollar sign for the shell.
    used = set(re.findall(r"(?<!\$)\$\{?(_[A-Z]+)", "".join(str(step) for step in build["steps"])))
    assert used == set(build["substitutions"])
    unescaped = re.findall(
        r"(?<!\$)\$(?!\$|\{?_[A-Z])\{?\w+",
        "".join("".join(step["args"]) for step in build["steps"]),
    )
    assert unescaped == []
    # A tag that never moves must cover everything that an image is built from.
    (build_step,) = [step["args"][-1] for step in build["steps"] if step["id"] == "build"]
    copied = re.findall(r"^COPY (infra/\S+)", (IMAGES / "Dockerfile").read_text(), re.MULTILINE)
    for name in [*copied, "infra/images/Dockerfile"]:
        assert name.replace("${LOCK}", "$$lock") in build_step, name
    ids = [step["id"] for step in build["steps"]]
    assert ids == ["test", "build", "compile", "upload"]
    for step in build["steps"]:
        assert set(step.get("waitFor", [])) <= set(ids)
        done = subprocess.run(
            [
                "bash",
                "-n",
                "-c",
                re.sub(r"\$\{?(_[A-Z]+)\}?", "x", step["args"][-1]).replace("$$", "$"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (step["id"], done.stderr)


@pytest.mark.parametrize(("kind", "needed"), [("gpu", "jax-cuda12-plugin"), ("tpu", "libtpu")])
def test_an_installation_here_has_what_the_images_have(kind: str, needed: str) -> None:
    """`make install` adds this lock to requirements.lock, where a machine has the accelerator."""
    added, tested = pinned(ROOT / "infra" / f"{kind}.lock"), pinned(ROOT / "requirements.lock")
    image = pinned(IMAGES / f"{kind}.lock")
    assert needed in added
    assert {name for name in added if name in tested and not added[name] <= tested[name]} == set()
    assert {name: added[name] for name in added if name in image} == {
        name: image[name] for name in added if name in image
    }
    assert added.keys() <= tested.keys() | image.keys()
