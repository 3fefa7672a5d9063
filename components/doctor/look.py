"""Looks at a machine: who runs here, where outputs go, which devices there are, and do they work.

Each finding is one line. What no one can know without an account is in it (docs/architecture.md,
Unverified).
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from trainer import runtime
from trainer.backends import hardware
from trainer.errors import FoldlineError

# Environment variables by which services describe a machine.
_VARIABLES = (
    "CLOUD_ML_JOB_ID",
    "CUDA_VISIBLE_DEVICES",
    "JAX_PLATFORMS",
    "LD_LIBRARY_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "TPU_CHIPS_PER_HOST_BOUNDS",
    "TPU_CONFIG",
    "TPU_NODE_NAME",
    "TPU_SKIP_MDS_QUERY",
    "TPU_TOPOLOGY",
    "TPU_WORKER_HOSTNAMES",
    "TPU_WORKER_ID",
)
_LIBRARIES = ("kfp", "keras", "jax", "jaxlib", "libtpu", "tensorflow", "tensorflow-cpu", "numpy")
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default"
_WRITTEN_MIB = 16
# Seconds that a device may take to start and to multiply a matrix.
_PATIENCE = 240
# Runs in a process of its own: a driver that hangs or crashes must not end the report.
_MULTIPLY = """
import json, time
import numpy as np
import jax
devices = jax.devices()
left = np.random.default_rng(0).normal(size=(512, 512)).astype("float32")
started = time.perf_counter()
found = np.asarray(jax.numpy.matmul(left, left, precision="highest"))
seconds = time.perf_counter() - started
error = float(np.abs(found - left @ left).max())
print(json.dumps([len(devices), devices[0].platform, devices[0].device_kind, seconds, error]))
"""


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: its name, a word or two.
        text: what was found; for a problem also what to do.
        good: False if runs will fail here, or will not be what was paid for.
    """

    what: str
    text: str
    good: bool = True

    def __str__(self) -> str:
        return f"{'ok' if self.good else 'BAD':<4}{self.what:<12}{self.text}"


def look(folder: Path) -> Iterator[Finding]:
    """Yield what is found on this machine.

    Args:
        folder: where outputs go; it need not exist.
    """
    yield _machine()
    yield _user()
    yield Finding("account", _account())
    yield _memory()
    yield from _folder(folder)
    yield Finding("libraries", _libraries())
    yield Finding("variables", _variables())
    yield from _devices()


def _machine() -> Finding:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Finding(
        "machine",
        f"{platform.node()}, {system}, {os.cpu_count()} CPUs, Python {platform.python_version()},"
        f" image of code version {os.environ.get(runtime.IMAGE_CODE, 'none')}",
    )


def _user() -> Finding:
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    limit = "unlimited" if locked == resource.RLIM_INFINITY else f"{locked >> 10} KiB"
    return Finding(
        "user", f"uid {os.getuid()}, gid {os.getgid()}, groups {os.getgroups()}, may lock {limit}"
    )


def _account() -> str:
    """The Google account of this machine, from its metadata server."""
    if "GOOGLE_APPLICATION_CREDENTIALS" in os.environ:
        return f"key in {os.environ['GOOGLE_APPLICATION_CREDENTIALS']}"
    request = urllib.request.Request(f"{_METADATA}/email", headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=3) as answer:
            return str(answer.read(200).decode())
    except OSError:
        return "none: this machine has no metadata server of Google's"


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    free = shutil.disk_usage("/tmp").free
    return Finding("memory", f"{total / 2**30:.1f} GiB; {free / 2**30:.0f} GiB free in /tmp")


def _folder(folder: Path) -> Iterator[Finding]:
    """Write, read, rename, list and delete a file where outputs go."""
    path, renamed = (folder / f".foldline-{uuid.uuid4().hex[:12]}{end}" for end in ("", "-2"))
    data = os.urandom(1 << 20) * _WRITTEN_MIB
    step = "created"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        step = "written to"
        started = time.perf_counter()
        path.write_bytes(data)
        writing = time.perf_counter() - started
        step = "read from"
        started = time.perf_counter()
        same = path.read_bytes() == data
        reading = time.perf_counter() - started
        step = "renamed in"
        path.rename(renamed)
        step = "listed"
        listed = renamed.name in {entry.name for entry in folder.iterdir()}
        step = "deleted from"
        renamed.unlink()
    except OSError as error:
        advice = "this user must be able to write there"
        if runtime.IMAGE_CODE in os.environ:
            advice += "; an image built with IMAGE_USER=0 runs as root"
        yield Finding("outputs", f"{folder}: cannot be {step}: {error}: {advice}", good=False)
        for left in (path, renamed):
            with contextlib.suppress(OSError):
                left.unlink()
        return
    yield Finding(
        "outputs",
        f"{folder}: {_mount(folder)}; write {_WRITTEN_MIB / writing:.0f} MiB/s, read"
        f" {_WRITTEN_MIB / reading:.0f} MiB/s, rename, list, delete",
        good=same and listed,
    )


def _mount(folder: Path) -> str:
    """The file system of a folder, and who owns it."""
    kind, longest = "unknown file system", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        mounts = []
    for _, point, name, *_ in (line.split() for line in mounts):
        inside = f"{folder.resolve()}/".startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= len(longest):
            kind, longest = name, point
    about = folder.stat()
    return f"{kind}, of uid {about.st_uid}, mode {about.st_mode & 0o7777:o}"


def _libraries() -> str:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _variables() -> str:
    found = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    return ", ".join(found) or "none that describes devices"


def _devices() -> Iterator[Finding]:
    there = hardware.found()
    yield Finding("devices", f"{there}{': ' * bool(there.ids)}{', '.join(there.ids)}")
    promised = None
    try:
        promised = hardware.expected()
        hardware.checked()
    except FoldlineError as error:
        yield Finding("promise", str(error), good=False)
    else:
        text = f"{promised} ({runtime.EXPECTS})" if promised else "none: trains on what there is"
        yield Finding("promise", text)
    if there.kind != "cpu" and not hardware.is_usable(there):
        text = f"JAX has no library for {there}: pip install 'foldline[{there.kind}]'"
        yield Finding("library", text, good=promised is None)
    yield _multiplied(promised)


def _multiplied(promised: hardware.Expected | None) -> Finding:
    """Multiply a matrix on the first device that JAX finds."""
    try:
        importlib.metadata.version("jax")
    except importlib.metadata.PackageNotFoundError:
        return Finding("matrix", "JAX is not installed: pip install 'foldline[cpu]'", good=False)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MULTIPLY],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        text = f"JAX did not answer for {_PATIENCE} s: another process may use the device"
        return Finding("matrix", text, good=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return Finding("matrix", f"JAX cannot use its device: {reason}", good=False)
    count, kind, name, seconds, error = json.loads(done.stdout.splitlines()[-1])
    wrong = error > 1e-2
    text = f"512 × 512 on the first of {count} × {name} by JAX in {seconds:.2f} s"
    if wrong:
        text += f": WRONG by {error:g}"
    as_promised = promised is None or (
        kind == promised.kind and (promised.kind == "cpu" or count == promised.devices)
    )
    if not as_promised:
        text += f": {promised} was promised"
    return Finding("matrix", text, good=not wrong and as_promised)
