"""Atomic files, and complete folders: a file is either written completely or not at all, and a
folder is complete once its manifest exists."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import DataError, IntegrityError

MANIFEST = "manifest.json"


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; it is renamed to `path` when the block ends, and
    removed if the block raises."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that equal values give equal bytes. NaN raises an
    error, because JSON cannot represent it."""
    with atomic_write(path) as partial:
        partial.write_text(
            json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
        )


def read_json(path: str | Path) -> Any:
    """Return the value that `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path: str | Path) -> str:
    """Return the file's sha256 digest in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(paths: Iterable[str | Path]) -> str:
    """Return one digest of the bytes of several files, in order."""
    return hashlib.sha256("".join(sha256(path) for path in paths).encode()).hexdigest()


def check_digest(paths: Iterable[str | Path], expected: str) -> None:
    """Check that files are still those that the launcher found.

    Otherwise a cache would store the result under a wrong key.

    Args:
        paths: the files.
        expected: their `files_digest`, or "" if no launcher computed it.

    Raises:
        DataError: the files have changed.
    """
    paths = list(paths)
    if expected and files_digest(paths) != expected:
        raise DataError(
            f"{', '.join(map(str, paths))}: changed while the run was under way: run again"
        )


def write_manifest(
    folder: str | Path, about: Mapping[str, Any], counts: Mapping[str, int] | None = None
) -> None:
    """Write `manifest.json`, after all other files: the size and sha256 of each file in `folder`,
    and `about`.

    Args:
        folder: the folder.
        about: a description of the folder, as JSON values.
        counts: number of records or rows by path relative to the folder, for the files where it is
            known.
    """

    folder = Path(folder)
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            count = {"count": counts[name]} if counts and name in counts else {}
            files[name] = {"bytes": path.stat().st_size, "sha256": sha256(path), **count}
    write_json(folder / MANIFEST, {"about": dict(about), "files": files})


def read_manifest(folder: str | Path, *, only: Collection[str] | None = None) -> dict[str, Any]:
    """Check the files that the manifest of `folder` lists, and return its `about`.

    Args:
        folder: the folder.
        only: the files whose digests are checked, by default all; of the others only the size is
            checked. Reading records checks their crcs anyway.

    Raises:
        IntegrityError: there is no manifest, or a file is missing or differs from the manifest.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        about: dict[str, Any] = manifest["about"]
        files = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in manifest["files"].items()
        }
    except FileNotFoundError:
        raise IntegrityError(
            f"{folder}: no {MANIFEST}, so the step that wrote here did not finish: run it again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{folder / MANIFEST}: not a manifest ({error!r}): delete {folder} and run again"
        ) from None
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(
                f"{path}: missing, but {MANIFEST} lists it: delete {folder} and run again"
            )
        if path.stat().st_size != size or (
            (only is None or name in only) and sha256(path) != digest
        ):
            raise IntegrityError(
                f"{path}: not the file that {MANIFEST} lists: delete {folder} and run again"
            )
    return about
