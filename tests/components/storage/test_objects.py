import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components import retry
from components.records.verify import verify
from components.storage import client, folders, objects
from components.storage.folders import fetch, fetch_folder, local_root, publish
from components.storage.objects import bucket_location, send
from components.storage.shards import local_shards
from tests.support.tiny import upload
from trainer.artifacts.manifest import MANIFEST, write_json
from trainer.errors import IntegrityError, StorageError


def put(uri: str, data: bytes) -> None:
    client.blob(uri).upload_from_string(data)


def names(uri: str) -> list[str]:
    return [entry.uri.removeprefix(uri + "/") for entry in objects.listing(uri + "/")]


def test_listing_covers_all_pages(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PAGE", 3)
    for number in range(11):
        put(f"{bucket}/a/{number:02}.txt", b"x" * number)
    put(f"{bucket}/ab/other", b"")
    put(f"{bucket}/a/folder/", b"")
    found = objects.listing(f"{bucket}/a/")
    assert [(entry.uri, entry.bytes) for entry in found] == [
        (f"{bucket}/a/{n:02}.txt", n) for n in range(11)
    ]
    assert all(entry.generation > 0 for entry in found)
    assert objects.listing(f"{bucket}/none/") == []


def test_reading(bucket: str) -> None:
    put(f"{bucket}/ä b/x.csv", "id\nä\n".encode())
    assert objects.read(f"{bucket}/ä b/x.csv") == "id\nä\n".encode()
    near = objects.local_path(f"{bucket}/ä b/x.csv")
    # The copy has the object's name, so an error that names the copy identifies the object.
    assert near.endswith(f"{bucket.removeprefix('gs://')}/ä b/x.csv")
    assert Path(near).read_text() == "id\nä\n"
    assert objects.local_path("/local/x.csv") == "/local/x.csv"
    assert objects.exists(f"{bucket}/ä b/x.csv")
    assert not objects.exists(f"{bucket}/none")


def test_what_is_not_there_is_named(bucket: str) -> None:
    with pytest.raises(StorageError, match=f"{bucket}/none: no such bucket or object"):
        objects.read(f"{bucket}/none")
    with pytest.raises(StorageError, match="gs://no-such-bucket/x/: no such bucket or object"):
        objects.listing("gs://no-such-bucket/x/")


def test_a_service_that_is_gone_is_tried_for_so_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr(retry, "PATIENCE", 2.0)
    client.reset()
    with pytest.raises(StorageError, match="gs://x/y: the storage service failed for 2 s"):
        objects.read("gs://x/y")
    client.reset()


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (
            401,
            "Anonymous caller does not have storage.buckets.get access",
            "not signed in: run `gcloud auth application-def",
        ),
        (
            403,
            "me@x does not have storage.buckets.get access",
            "which roles/storage.bucketViewer on the bucket has",
        ),
        (
            403,
            "me@x does not have storage.objects.create access",
            "which roles/storage.objectUser on the bucket has",
        ),
        (403, "no", "check the account's roles on the bucket"),
    ],
)
def test_a_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, status: int, said: str, words: str
) -> None:
    from tests.support.servers.loopback import Server, google_error

    with Server() as server:
        server.routes = [
            ("GET", "/storage/v1/b/x.*", lambda match, call: (status, google_error(status, said)))
        ]
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setattr(retry, "PATIENCE", 1.0)
        client.reset()
        if status == 403:
            monkeypatch.setattr(client, "is_anonymous", lambda: False)
        with pytest.raises(StorageError, match=words):
            bucket_location("gs://x/y")
        client.reset()


@pytest.fixture
def folder(records_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(records_folder, tmp_path / "records"))


def test_a_published_folder_comes_back(bucket: str, folder: Path, tmp_path: Path) -> None:
    sent = publish(folder, f"{bucket}/p")
    assert sent == len(names(f"{bucket}/p")) == 7
    fetch_folder(f"{bucket}/p", tmp_path / "back")
    for path in folder.rglob("*.*"):
        assert (tmp_path / "back" / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert verify(f"{bucket}/p").records == 150
    # Publishing again sends nothing: everything is already there.
    assert publish(folder, f"{bucket}/p") == 0


def test_a_stop_in_the_middle_leaves_nothing_that_is_taken_for_whole(
    bucket: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lock, begun = send, threading.Lock(), []

    def stops(path: Path, uri: str, there: objects.Object | None) -> int:
        with lock:
            begun.append(uri)
            if len(begun) > 4:
                raise KeyboardInterrupt
        return real(path, uri, there)

    monkeypatch.setattr(folders, "send", stops)
    with pytest.raises(KeyboardInterrupt):
        publish(folder, f"{bucket}/p")
    there = names(f"{bucket}/p")
    assert len(there) == 4
    assert MANIFEST not in there
    with pytest.raises(
        IntegrityError, match=f"{bucket}/p: no manifest.json, so publishing did not finish"
    ):
        fetch_folder(f"{bucket}/p", tmp_path / "back")
    # Publishing again sends the rest, the manifest last.
    begun.clear()
    monkeypatch.setattr(folders, "send", lambda *given: begun.append(given[1]) or real(*given))
    assert publish(folder, f"{bucket}/p") == 3
    assert begun[-1] == f"{bucket}/p/{MANIFEST}"
    assert verify(f"{bucket}/p").records == 150


def test_other_records_are_not_overwritten(bucket: str, folder: Path) -> None:
    publish(folder, f"{bucket}/p")
    write_json(folder / MANIFEST, {"about": {}, "files": {}})
    with pytest.raises(StorageError, match=f"{bucket}/p: already has other complete records"):
        publish(folder, f"{bucket}/p")


def test_of_two_writers_of_one_object_one_wins(bucket: str, tmp_path: Path) -> None:
    paths = []
    for number in range(8):
        paths.append(tmp_path / f"{number}")
        paths[-1].write_bytes(bytes([number]) * 1000)

    def write(path: Path) -> str:
        try:
            send(path, f"{bucket}/one", None)
        except StorageError as error:
            return str(error)
        return "won"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(write, paths))
    assert said.count("won") == 1
    assert set(said) == {"won", f"{bucket}/one: another writer has changed this object meanwhile"}
    assert objects.read(f"{bucket}/one") == paths[said.index("won")].read_bytes()
    # An upload that is retried because its response was lost finds its own bytes there.
    assert send(paths[said.index("won")], f"{bucket}/one", None) == 1


def test_bytes_that_changed_on_the_way_are_seen(bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/x/a", b"hello")
    (entry,) = objects.listing(f"{bucket}/x/")
    with pytest.raises(IntegrityError, match=f"{bucket}/x/a: the download does not match"):
        fetch([entry._replace(crc32c="AAAAAA==")], f"{bucket}/x", tmp_path)
    with pytest.raises(IntegrityError, match="the download does not match the stored crc32c"):
        fetch([entry._replace(bytes=4)], f"{bucket}/x", tmp_path)


def test_a_name_that_leads_out_of_the_folder(bucket: str, tmp_path: Path) -> None:
    from trainer.errors import DataError

    evil = objects.Object(f"{bucket}/x/../../../evil", 1, "", 1)
    with pytest.raises(DataError, match="its name points outside of the download folder"):
        fetch([evil], f"{bucket}/x", tmp_path / "in")


def test_few_transfers_are_under_way_at_once(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        put(f"{bucket}/x/{number}", bytes(100))
    lock, under_way, most = threading.Lock(), 0, 0
    real = objects.file_crc32c
    monkeypatch.setattr(folders, "TRANSFERS", 3)
    blob = client.blob

    def counted(uri: str):  # type: ignore[no-untyped-def]
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        return blob(uri)

    def ended(path: Path) -> str:
        nonlocal under_way
        with lock:
            under_way -= 1
        return real(path)

    monkeypatch.setattr(client, "blob", counted)
    monkeypatch.setattr(folders, "file_crc32c", ended)
    fetch(objects.listing(f"{bucket}/x/"), f"{bucket}/x", tmp_path)
    assert len(list(tmp_path.iterdir())) == 40
    assert 1 <= most <= 3


def test_shards_that_are_gone_are_named(bucket: str, folder: Path) -> None:
    with local_shards(folder) as root:
        assert root == folder
    upload(folder / "8x8", f"{bucket}/r/8x8")
    with local_root(f"{bucket}/r", ["8x8/test00-30.tfrec"]) as root:
        assert [path.name for path in root.rglob("*.tfrec")] == ["test00-30.tfrec"]
    assert not root.exists()
    with (
        pytest.raises(
            IntegrityError, match=f"{bucket}/r/8x8/none.tfrec: no such object .1 missing in all"
        ),
        local_root(f"{bucket}/r", ["8x8/none.tfrec", "8x8/test00-30.tfrec"]),
    ):
        pass


def test_left_overs_of_other_records_are_not_published_over(bucket: str, folder: Path) -> None:
    put(f"{bucket}/p/8x8/train07-3.tfrec", b"of a publishing that was stopped")
    with pytest.raises(
        StorageError,
        match=f"{bucket}/p/8x8/train07-3.tfrec: exists, but is not part of these records",
    ):
        publish(folder, f"{bucket}/p")
    assert names(f"{bucket}/p") == ["8x8/train07-3.tfrec"]


def test_a_table_whose_name_leads_out_is_not_copied(bucket: str) -> None:
    from trainer.errors import DataError

    put(f"{bucket}/a/../../../../evil.csv", b"x")
    with pytest.raises(DataError, match="its name points outside of the download folder"):
        objects.local_path(f"{bucket}/a/../../../../evil.csv")


def test_what_the_client_finds_corrupt_is_reported(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.cloud.storage.exceptions import DataCorruption

    class Corrupt:
        def download_as_bytes(self, **_: object) -> bytes:
            raise DataCorruption(None, "Checksum mismatch")

    monkeypatch.setattr(client, "blob", lambda uri: Corrupt())
    with pytest.raises(
        IntegrityError, match=f"{bucket}/x: the download does not match .*Checksum mismatch"
    ):
        objects.read(f"{bucket}/x")


def test_shards_are_not_fetched_where_no_near_duplicates_are_looked_for(
    bucket: str, records_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.folds.make_folds import write_folds
    from trainer.config.preparation import Folds

    def refused(*_: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr("components.folds.make_folds.local_shards", refused)
    written = {"out": tmp_path / "folds.csv", "audit_out": tmp_path / "audit.json"}
    write_folds(
        records_folder,
        Folds(count=3, duplicates="identical"),
        seed=1,
        classes=list("0123456789"),
        **written,
    )
    assert (tmp_path / "folds.csv").exists()
