"""Checkpoints: a training job that was killed resumes, and ends with the bytes it would have had.

A checkpoint is a file of arrays and a JSON text, with the sha256 of both at its end. It gets its
name when it is complete. The two newest are kept, and a damaged one is skipped for the one before.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.artifacts.manifest import atomic_write
from trainer.events import emit

_NAME = re.compile(r"(\d{8})\.checkpoint")
_KEPT = 2
_DIGEST_BYTES = 32

Arrays = Mapping[str, list[np.ndarray]]
# Returns the number that each of the processes that train together has passed.
AllGather = Callable[[int], Sequence[int]]


class Checkpoint(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        arrays: lists of arrays by name.
        state: JSON values.
    """

    arrays: dict[str, list[np.ndarray]]
    state: dict[str, Any]


def single_process(value: int) -> list[int]:
    """The `AllGather` of a process that trains alone."""
    return [value]


class Checkpoints:
    """A folder with the checkpoints of a training job and the results of its finished folds."""

    def __init__(self, folder: str | Path, on_write: Callable[[Path], None] | None = None) -> None:
        """
        Args:
            folder: is created if needed.
            on_write: called with each file once it is complete, for instance to copy it to a
                bucket.
        """
        self.folder = Path(folder)
        self.on_write = on_write or (lambda path: None)
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Write the next checkpoint, and delete the third newest.

        Args:
            arrays: lists of arrays by name.
            state: JSON values.
        """
        number = max(map(_number, self._names()), default=-1) + 1
        path = self._path(number)
        _write(path, arrays, state)
        self.on_write(path)
        for old in self._names()[:-_KEPT]:
            (self.folder / old).unlink()

    def latest(self, all_gather: AllGather = single_process) -> Checkpoint | None:
        """The newest undamaged checkpoint; None if there is none.

        Args:
            all_gather: of processes that train together: they all resume from the newest checkpoint
                that every one of them has.
        """
        numbers = (number for number in map(_number, self._names()) if self._is_complete(number))
        common = min(all_gather(max(numbers, default=-1)))
        # It may be older than this process's newest, which is why two are kept.
        if common < 0 or min(all_gather(int(self._is_complete(common)))) == 0:
            return None
        return _read(self._path(common))

    def finish(self, name: str, arrays: Arrays, state: Mapping[str, Any]) -> None:
        """Keep the results of a fold, and delete the checkpoints that led to them."""
        path = self.folder / f"{name}.finished"
        _write(path, arrays, state)
        self.on_write(path)
        for old in self._names():
            (self.folder / old).unlink()

    def finished(self, name: str) -> Checkpoint | None:
        """What `finish` kept; None if there is nothing, or it is damaged."""
        path = self.folder / f"{name}.finished"
        return _read(path) if path.exists() else None

    def remove(self) -> None:
        """Delete the folder when the job is done."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.checkpoint"

    def _names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def _is_complete(self, number: int) -> bool:
        path = self._path(number)
        if not path.exists():
            return False
        if not _is_complete(path):
            emit("note", "train", f"warning: {path} is damaged; using the checkpoint before it")
            return False
        return True


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _write(path: Path, arrays: Arrays, state: Mapping[str, Any]) -> None:
    flat = {
        f"{name}/{index}": array
        for name, group in arrays.items()
        for index, array in enumerate(group)
    }
    flat["state"] = np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)
    with atomic_write(path) as partial:
        with open(partial, "wb") as stream:
            np.savez(stream, **flat)  # type: ignore[arg-type]  # none of the keys is an option
        digest = _digest(partial, partial.stat().st_size)
        with open(partial, "ab") as stream:
            stream.write(digest)


def _digest(path: Path, length: int) -> bytes:
    """The sha256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while length > 0 and (block := stream.read(min(length, 2**20))):
            digest.update(block)
            length -= len(block)
    return digest.digest()


def _is_complete(path: Path) -> bool:
    """Whether a file ends with the digest of the rest."""
    length = path.stat().st_size - _DIGEST_BYTES
    with open(path, "rb") as stream:
        stream.seek(max(0, length))
        return length > 0 and stream.read() == _digest(path, length)


def _read(path: Path) -> Checkpoint | None:
    """What a file holds; None if it is damaged."""
    if not _is_complete(path):
        return None
    arrays: dict[str, list[np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            if key != "state":
                arrays.setdefault(key.rpartition("/")[0], []).append(file[key])
        state = json.loads(file["state"].tobytes().decode())
    return Checkpoint(arrays, state)
