import shutil
from pathlib import Path

import pytest

from components.storage import objects
from components.storage.shards import local_shards
from tests.support.tiny import upload


@pytest.mark.parametrize(
    ("kind", "fetched"), [("fuse.gcsfuse", True), ("fuse", True), ("ext4", False)]
)
def test_shards_of_a_mounted_bucket_are_fetched_once(
    records_folder: Path,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    fetched: bool,
) -> None:
    """Vertex AI mounts the bucket.

    On a cluster the same path is a folder that was filled before the step began.
    """
    monkeypatch.setattr(objects, "MOUNT", f"{tmp_path}/gcs/")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"overlay / overlay rw 0 0\ngcsfuse {tmp_path}/gcs {kind} rw,nosuid 0 0\n")
    monkeypatch.setattr(objects, "_MOUNTS", mounts)
    seen = tmp_path / "gcs" / bucket.removeprefix("gs://") / "run" / "images"
    shutil.copytree(records_folder, seen)
    upload(records_folder, f"{bucket}/run/images")
    with local_shards(seen) as root:
        assert (root == seen) is not fetched
        shards = sorted(path.relative_to(root) for path in root.rglob("*.tfrec"))
        assert len(shards) > 2
        for shard in shards:
            assert (root / shard).read_bytes() == (records_folder / shard).read_bytes()
    assert root.exists() is not fetched


def test_a_folder_of_this_machine_is_itself(records_folder: Path) -> None:
    assert objects.uri_of(records_folder) == str(records_folder)
    assert objects.uri_of("/gcs/b/x/y") == "gs://b/x/y"
    with local_shards(records_folder) as root:
        assert root == records_folder
