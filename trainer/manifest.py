"""Every file appears whole or not at all, and a folder of files is complete once its manifest stands beside them."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import IntegrityError

MANIFEST = "manifest.json"


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it is renamed to `path` when the block ends, and removed when it raises."""
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
    """Write `value` as JSON, keys sorted, so that equal values are equal bytes. NaN is an error: JSON has none."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def sha256(path: str | Path) -> str:
    """The file's digest, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_manifest(folder: str | Path, about: Mapping[str, Any]) -> None:
    """Write `manifest.json`, last of all: bytes and sha256 of each file in `folder`, and what `about` says of the whole."""
    folder = Path(folder)
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    write_json(folder / MANIFEST, {"about": dict(about), "files": files})


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Check every file that the manifest of `folder` names, and return what it says `about` the whole.

    Raises:
        IntegrityError: there is no manifest, or a file is missing or is not the one the manifest names.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntegrityError(f"{folder}: no {MANIFEST}, so the step that wrote here did not finish: run it again") from None
    except ValueError as error:
        raise IntegrityError(f"{folder / MANIFEST}: not JSON ({error}): delete {folder} and run again") from None
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path}: missing, though {MANIFEST} names it: delete {folder} and run again")
        if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
            raise IntegrityError(f"{path}: not the file that {MANIFEST} names: delete {folder} and run again")
    return manifest["about"]
