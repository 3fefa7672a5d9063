"""The artifacts of a local run, in a bucket as a remote run leaves them."""

import shutil
from collections.abc import Callable
from pathlib import Path

from components.storage.client import blob
from tests.support.tiny import upload
from trainer.artifacts.manifest import MANIFEST, read_manifest, write_manifest


def upload_gan(
    finished: Path, bucket: str, name: Callable[[str, str], str]
) -> dict[tuple[str, str], list[str]]:
    """The same of a run of the GAN's pipeline."""
    (root,) = (finished / "pipeline_root").glob("gan-*")
    uris = {}
    for task, output in (("train-gan", "trained"), ("gallery", "page"), ("statistics", "card")):
        uris[(task, output)] = [f"{bucket}/{name(task, output)}"]
        if (root / task / output).is_dir():
            upload(root / task / output, uris[(task, output)][0])
        else:
            blob(uris[(task, output)][0]).upload_from_filename(root / task / output)
    return uris


def upload_artifacts(
    finished: Path, bucket: str, name: Callable[[str, str, int], str]
) -> dict[tuple[str, str], list[str]]:
    """Upload them, models named by the paths that a task would have seen.

    Args:
        finished: the folder of a finished local run.
        bucket: `gs://name`.
        name: of the object or prefix of a task's output, with the number of the loop's iteration.

    Returns:
        the URIs by task and output.
    """
    (root,) = [
        path for path in (finished / "pipeline_root").glob("kfold-*") if (path / "report").is_dir()
    ]
    uris: dict[tuple[str, str], list[str]] = {}
    mounted = {}
    for number, path in enumerate(sorted(root.rglob("predictions"))):
        uri = f"{bucket}/{name('train', 'predictions', number)}"
        upload(path, uri)
        uris.setdefault(("train", "predictions"), []).append(uri)
        mounted[str(path)] = uri.replace("gs://", "/gcs/")
    # Beside the pipeline root, not in it: no other test finds it there.
    blended = Path(
        shutil.copytree(
            root / "blend" / "blended", finished.parent / f"blended-{bucket.removeprefix('gs://')}"
        )
    )
    about = read_manifest(blended)
    for files in about["models"].values():
        for fold, path in files.items():
            files[fold] = f"{mounted[str(Path(path).parent)]}/{Path(path).name}"
    (blended / MANIFEST).unlink()
    write_manifest(blended, about)
    uris[("blend", "blended")] = [f"{bucket}/{name('blend', 'blended', 0)}"]
    upload(blended, uris[("blend", "blended")][0])
    for task, output in (
        ("folds", "table"),
        ("submission", "csv"),
        ("report", "page"),
        ("statistics", "card"),
    ):
        uris[(task, output)] = [f"{bucket}/{name(task, output, 0)}"]
        blob(uris[(task, output)][0]).upload_from_filename(root / task / output)
    return uris
