"""Test that two jobs never have one device: real processes, made-up devices, and kills."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer import runtime
from trainer.backends.hardware import Hardware
from trainer.backends.lease import lease, share

# A job: takes its devices, says which, and keeps them until a file appears.
JOB = """
import os, sys, time
from pathlib import Path
from trainer.backends.hardware import found
from trainer.backends.lease import lease
name, batch = sys.argv[1:]
with lease(found(), batch_size=int(batch), holder=name) as hardware:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    print("has", ",".join(hardware.ids), visible, flush=True)
    while not Path(name).exists():
        time.sleep(0.02)
print("ends", flush=True)
"""


class Jobs:
    """Jobs on one made-up machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev").mkdir()
        self.events = root / "events.jsonl"
        self.started: list[subprocess.Popen[str]] = []

    def add(self, *names: str) -> None:
        for name in names:
            (self.root / "dev" / name).touch()

    def start(
        self, name: str, *, jobs: int = 2, batch_size: int = 32, **variables: str
    ) -> subprocess.Popen[str]:
        environment = {
            **{key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"},
            runtime.HARDWARE: str(self.root),
            runtime.EVENTS: str(self.events),
            **({runtime.JOBS: str(jobs)} if jobs else {}),
            **variables,
        }
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", JOB, str(self.root / name), str(batch_size)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.started.append(process)
        return process

    def end(self, name: str) -> None:
        (self.root / name).touch()

    def waiting(self, process: subprocess.Popen[str]) -> str:
        """What a job waits for, as soon as it waits."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            lines = self.events.read_text().splitlines() if self.events.exists() else []
            texts = [
                event["text"]
                for event in map(json.loads, lines)
                if event["pid"] == process.pid and event["text"]
            ]
            if texts:
                return str(texts[-1])
            time.sleep(0.02)
        raise AssertionError("it does not wait")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def devices(process: subprocess.Popen[str]) -> list[str]:
    """The devices that a job has, as soon as it has them."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("has"):
            return line.split()[1].split(",") if len(line.split()) > 1 else []
    raise AssertionError("it ended without devices")


def test_one_gpu_is_for_one_job_after_the_other(jobs: Jobs) -> None:
    jobs.add("nvidia0")
    first = jobs.start("first")
    assert devices(first) == ["0"]
    second = jobs.start("second")
    text = jobs.waiting(second)
    assert text == f"waits for gpu0, which process {first.pid} ({jobs.root}/first) uses"
    jobs.end("first")
    assert devices(second) == ["0"]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lease_ends_with_its_process(jobs: Jobs, signal_number: int) -> None:
    jobs.add("nvidia0")
    first = jobs.start("first")
    assert devices(first) == ["0"]
    second = jobs.start("second")
    jobs.waiting(second)
    first.send_signal(signal_number)
    assert devices(second) == ["0"]


def test_a_job_that_is_killed_while_it_waits_is_forgotten(jobs: Jobs) -> None:
    jobs.add("nvidia0")
    first, second = jobs.start("first"), jobs.start("second")
    holder = first if jobs_waiting(jobs, second, first) else second
    other = second if holder is first else first
    jobs.waiting(other)
    other.kill()
    third = jobs.start("third")
    assert f"process {holder.pid}" in jobs.waiting(third)
    holder.kill()
    assert devices(third) == ["0"]


def jobs_waiting(jobs: Jobs, waiting: subprocess.Popen[str], has: subprocess.Popen[str]) -> bool:
    """Whether `waiting` is the one of two that waits."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if jobs.events.exists():
            pids = {json.loads(line)["pid"] for line in jobs.events.read_text().splitlines()}
            if pids:
                assert len(pids) == 1
                assert pids <= {waiting.pid, has.pid}
                return waiting.pid in pids
        time.sleep(0.02)
    raise AssertionError("neither waits")


def test_two_gpus_are_one_each(jobs: Jobs) -> None:
    jobs.add("nvidia0", "nvidia1")
    one, two = jobs.start("one"), jobs.start("two")
    assert sorted(devices(one) + devices(two)) == ["0", "1"]
    third = jobs.start("third")
    assert jobs.waiting(third).count("which process") == 2
    jobs.end("two")
    assert len(devices(third)) == 1


def test_four_gpus_are_two_each(jobs: Jobs) -> None:
    jobs.add(*(f"nvidia{number}" for number in range(4)))
    one, two = jobs.start("one"), jobs.start("two")
    taken = [*devices(one), *devices(two)]
    assert sorted(taken) == ["0", "1", "2", "3"]


def test_a_launcher_of_one_job_gives_it_all(jobs: Jobs) -> None:
    jobs.add("nvidia0", "nvidia1")
    assert devices(jobs.start("gan", jobs=1)) == ["0", "1"]


def test_the_chips_of_a_tpu_go_together(jobs: Jobs) -> None:
    jobs.add("accel0", "accel1", "accel2", "accel3")
    first = jobs.start("first")
    assert devices(first) == ["0", "1", "2", "3"]
    second = jobs.start("second")
    assert jobs.waiting(second).startswith(f"waits for tpu, which process {first.pid} ")
    first.kill()
    assert devices(second) == ["0", "1", "2", "3"]


def test_only_visible_gpus_are_taken(jobs: Jobs) -> None:
    jobs.add("nvidia0", "nvidia1")
    first = jobs.start("first", CUDA_VISIBLE_DEVICES="1")
    assert devices(first) == ["1"]
    assert devices(jobs.start("second", CUDA_VISIBLE_DEVICES="0")) == ["0"]


def test_without_a_launcher_or_a_device_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.HARDWARE, str(tmp_path))
    gpu = Hardware("gpu", ("0",))
    for jobs, hardware in (("", gpu), ("2", Hardware())):
        monkeypatch.setenv(runtime.JOBS, jobs or "0")
        with (
            lease(hardware, batch_size=1, holder="a") as one,
            lease(hardware, batch_size=1, holder="b") as two,
        ):
            assert one == two == hardware
    assert list(tmp_path.iterdir()) == []


def test_many_jobs_never_share(jobs: Jobs) -> None:
    """Eight jobs on two GPUs, some of which are killed: at no time do two have the same one."""
    jobs.add("nvidia0", "nvidia1")
    waiting = {name: jobs.start(name) for name in map(str, range(8))}
    locks = jobs.root / "tmp" / "foldline-devices"
    finished = 0
    for turn in itertools.count():
        holders = {}
        for name, process in list(waiting.items()):
            text = f"process {process.pid} ("
            for lock in locks.glob("gpu*") if locks.exists() else []:
                if lock.read_text().startswith(text) and process.poll() is None:
                    assert lock.name not in holders
                    holders[lock.name] = name
        if holders:
            name = sorted(holders.values())[0]
            if turn % 2:
                waiting[name].kill()
            else:
                jobs.end(name)
            waiting.pop(name).wait(timeout=30)
            finished += 1
        if not waiting:
            break
        time.sleep(0.01)
    assert finished == 8


@pytest.mark.parametrize(
    ("gpus", "batch_size", "at_once", "taken"),
    [(1, 32, 2, 1), (2, 32, 2, 1), (4, 32, 2, 2), (8, 30, 2, 3), (6, 50, 2, 2), (8, 0, 1, 8)],
)
def test_a_share_divides_the_batch(gpus: int, batch_size: int, at_once: int, taken: int) -> None:
    assert share(Hardware("gpu", tuple(map(str, range(gpus)))), batch_size, at_once) == taken


def test_a_lock_of_another_user_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runtime.HARDWARE, str(tmp_path))
    monkeypatch.setenv(runtime.JOBS, "2")
    before = os.umask(0o077)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(lease(Hardware("gpu", ("0",)), batch_size=1, holder="a"))
    finally:
        os.umask(before)
    folder = tmp_path / "tmp" / "foldline-devices"
    assert oct(folder.stat().st_mode & 0o7777) == "0o1777"
    assert oct((folder / "gpu0").stat().st_mode & 0o777) == "0o666"
