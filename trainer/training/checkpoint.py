"""Where a training task is, on disk: so that one that was killed goes on, and ends with the bytes
it would have had.

A checkpoint is a file of arrays and a JSON text, with the sha256 of all of it at its end. It gets
its name when it is whole; the two newest are kept, and one that does not hold is passed over for
the one before."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.artifacts.manifest import atomic_write
from trainer.events import emit

_NAME = re.compile(r"(\d{8})\.checkpoint")
_KEPT = 2
_DIGEST_BYTES = 32

Arrays = Mapping[str, list[np.ndarray]]
# What a number is in each of the processes that train together.
AllGather = Callable[[int], Sequence[int]]


def single_process(value: int) -> list[int]:
    """Of a process that trains by itself."""
    return [value]


class Checkpoints:
    """The checkpoints of a task, and what its finished folds have left, in a folder of their
    own."""

    def __init__(self, folder: str | Path, mirror: Callable[[Path], None] | None = None) -> None:
        """
        Args:
            folder: made if need be.
            mirror: called with each file when it is whole, as to copy it where it outlives this
                machine.
        """
        self.folder = Path(folder)
        self.mirror = mirror or (lambda path: None)
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Write the next checkpoint; then the third newest goes.

        Args:
            arrays: lists of arrays by name.
            state: what JSON can hold.
        """
        number = max(map(self._number, self._names()), default=-1) + 1
        path = self.folder / f"{number:08d}.checkpoint"
        _write(path, arrays, state)
        self.mirror(path)
        for old in self._names()[:-_KEPT]:
            (self.folder / old).unlink()

    def latest(
        self, together: AllGather = single_process
    ) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """The newest checkpoint that holds; None where there is none.

        Args:
            together: of processes that train together, which must all go on from the same one: the
                newest that all have.
        """
        number = max(
            (number for number in map(self._number, self._names()) if self._holds(number)),
            default=-1,
        )
        common = min(together(number))
        # It may be one before this process's newest, which is kept for this.
        if common < 0 or min(together(int(self._holds(common)))) == 0:
            return None
        return _read(self.folder / f"{common:08d}.checkpoint")

    def _holds(self, number: int) -> bool:
        path = self.folder / f"{number:08d}.checkpoint"
        if not path.exists():
            return False
        if not _whole(path):
            emit("note", "train", f"warning: {path} is damaged; going on from the one before")
            return False
        return True

    def finish(self, name: str, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Keep what a fold has left for good, and drop the checkpoints of the way there."""
        path = self.folder / f"{name}.finished"
        _write(path, arrays, state)
        self.mirror(path)
        for old in self._names():
            (self.folder / old).unlink()

    def finished(self, name: str) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
        """What `finish` kept; None where there is nothing that holds."""
        path = self.folder / f"{name}.finished"
        return _read(path) if path.exists() else None

    def remove(self) -> None:
        """All of it, when the task is done."""
        shutil.rmtree(self.folder)

    @staticmethod
    def _number(name: str) -> int:
        return int(name.partition(".")[0])

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))


def _write(path: Path, arrays: Arrays, state: Mapping[str, Any]) -> None:
    flat = {
        f"{name}/{index}": array
        for name, group in arrays.items()
        for index, array in enumerate(group)
    }
    flat["state"] = np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)
    with atomic_write(path) as partial:
        with open(partial, "wb") as stream:
            np.savez(stream, **flat)  # type: ignore[arg-type]  # its other keyword is no key here
        digest = _digest(partial, partial.stat().st_size)
        with open(partial, "ab") as stream:
            stream.write(digest)


def _digest(path: Path, length: int) -> bytes:
    """The sha256 of the first bytes of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while length > 0 and (block := stream.read(min(length, 2**20))):
            found.update(block)
            length -= len(block)
    return found.digest()


def _whole(path: Path) -> bool:
    """Whether a file is what was written."""
    length = path.stat().st_size - _DIGEST_BYTES
    with open(path, "rb") as stream:
        stream.seek(max(0, length))
        return length > 0 and stream.read() == _digest(path, length)


def _read(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, Any]] | None:
    """The arrays and the state; None where the file is not what was written."""
    if not _whole(path):
        return None
    arrays: dict[str, list[np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as held:
        for key in held.files:
            if key != "state":
                arrays.setdefault(key.rpartition("/")[0], []).append(held[key])
        state = json.loads(held["state"].tobytes().decode())
    return arrays, state
