import hashlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from PIL import Image

from components.records import source
from components.records import units as units_module
from components.records.convert import convert
from components.records.types import Rejected
from components.records.units import _process
from components.records.verify import verify
from tests.support.tiny import Tiny, as_files, converted, digits
from trainer import runtime
from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.records import decode_example, read_shard
from trainer.config.load import load_competition
from trainer.errors import DataError


def records(tiny: Tiny, out: Path, *changes: tuple[str, str]) -> Path:
    """Return the records of a competition after the given changes to its file."""
    text = tiny.toml.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    tiny.toml.write_text(text)
    return converted(load_competition(tiny.toml), out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def stored(folder: Path, size: int = 8) -> list[dict[str, bytes | int | float]]:
    """Return every record of one size, in the order of the examples table."""
    examples = tables.read_examples(folder)
    shards = {name: list(read_shard(folder / name)) for name in examples[f"shard_{size}"].unique()}
    return [
        decode_example(shards[shard][row])
        for shard, row in zip(examples[f"shard_{size}"], examples[f"row_{size}"], strict=True)
    ]


def test_the_table_describes_the_shards(records_folder: Path) -> None:
    images, labels = digits(150)
    examples = tables.read_examples(records_folder)
    assert examples["id"].tolist() == [str(row) for row in [*range(1, 121), *range(1, 31)]]
    assert examples["split"].tolist() == ["train"] * 120 + ["test"] * 30
    assert examples["target"].tolist() == labels[:120].tolist() + [-1] * 30
    assert examples["shard_8"].unique().tolist() == [
        "8x8/train00-50.tfrec",
        "8x8/train01-50.tfrec",
        "8x8/train02-20.tfrec",
        "8x8/test00-30.tfrec",
    ]
    for place, row in enumerate(examples.itertuples()):
        pixels = images[place].astype(int)
        assert (row.width, row.height, row.bytes) == (8, 8, 64)
        assert row.sum_c_8.tolist() == [pixels.sum()]
        assert row.sumsq_c_8.tolist() == [(pixels**2).sum()]
        assert row.sha256 == hashlib.sha256(images[place].tobytes()).hexdigest()
    assert [len(record["image"]) for record in stored(records_folder)] == examples[
        "bytes_8"
    ].tolist()  # type: ignore[arg-type]


def test_the_records_hold_the_images_under_their_public_names(records_folder: Path) -> None:
    images, labels = digits(150)
    for place, features in enumerate(stored(records_folder)):
        assert set(features) == {"image", "image_name"} | ({"target"} if place < 120 else set())
        assert features["image_name"] == str(place % 120 + 1).encode()
        assert features.get("target", labels[place]) == labels[place]
        pixels = simplejpeg.decode_jpeg(features["image"], colorspace="GRAY").astype(int)
        # JPEG at quality 95: close, not equal.
        assert np.abs(pixels - images[place]).mean() < 4


def test_the_folder_is_whole_and_repeatable(tiny: Tiny, tmp_path: Path) -> None:
    one, two = records(tiny, tmp_path / "one"), records(tiny, tmp_path / "two")
    about = read_manifest(one)
    assert (about["sizes"], about["channels"], about["images"]) == (
        [8],
        1,
        {"train": 120, "test": 30},
    )
    assert contents(one) == contents(two)


@pytest.mark.parametrize("parts", [2, 3, 9])
def test_any_number_of_parts_gives_the_same_folder(tiny: Tiny, tmp_path: Path, parts: int) -> None:
    whole = contents(records(tiny, tmp_path / "whole"))
    cut = contents(
        records(
            tiny, tmp_path / "cut", ("shard_images = 50", f"shard_images = 50\nparts = {parts}")
        )
    )
    assert cut == whole


def test_several_sizes_from_one_decode(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_files(tiny)
    decoded = []
    real = units_module.decoding
    monkeypatch.setattr(
        units_module, "decoding", lambda data, **rest: decoded.append(1) or real(data, **rest)
    )
    folder = records(tiny, tmp_path / "out", ("sizes = [8]", "sizes = [16, 8, 40]"))
    assert len(decoded) == 150
    examples = tables.read_examples(folder)
    assert verify(str(folder)).records == 450
    for size in (16, 8, 40):
        for record, sums in zip(stored(folder, size), examples[f"sum_c_{size}"], strict=True):
            pixels = simplejpeg.decode_jpeg(record["image"])
            assert pixels.shape == (size, size, 3)
            assert np.abs(pixels.mean(axis=(0, 1)) - sums / size**2).max() < 6
    # The records of one size do not depend on the other sizes.
    alone = records(tiny, tmp_path / "alone", ("sizes = [16, 8, 40]", "sizes = [40]"))
    assert stored(alone, 40) == stored(folder, 40)


def test_a_jpeg_of_the_right_size_passes_through(tiny: Tiny, tmp_path: Path) -> None:
    as_files(tiny)
    generator = np.random.default_rng(0)
    folder = tiny.folder / "train"
    pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    kinds = {
        "plain": {},
        "progressive": {"progressive": True},
        "exif": {"exif": b"Exif\0\0" + Image.Exif().tobytes()[6:] or b"Exif\0\0"},
    }
    written = {}
    for number, (kind, options) in enumerate(kinds.items(), start=1):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=80, **options)
        written[kind] = stream.getvalue()
        # The extension of a file does not matter.
        (folder / f"img-{number:03}.png").write_bytes(written[kind])
    out = records(tiny, tmp_path / "out", ("sizes = [8]", "sizes = [16, 8]"))
    first = stored(out, 16)[:4]
    assert first[0]["image"] == written["plain"]
    assert first[1]["image"] != written["progressive"]
    assert stored(out, 8)[0]["image"] != written["plain"]
    # The sums are those of the stored pixels.
    row = tables.read_examples(out).iloc[0]
    exact = simplejpeg.decode_jpeg(written["plain"], fastdct=False, fastupsample=False).astype(int)
    assert row["sum_c_16"].tolist() == exact.sum(axis=(0, 1)).tolist()
    assert row["sumsq_c_16"].tolist() == (exact**2).sum(axis=(0, 1)).tolist()


def test_tabular_columns_go_into_the_table_and_the_records(tiny: Tiny, tmp_path: Path) -> None:
    for path in (tiny.train, tiny.test):
        header, *rows = path.read_text().splitlines()
        lines = [
            f"age,sex,{header}",
            *(f"{'' if n % 10 == 3 else n},{'fm'[n % 2]},{row}" for n, row in enumerate(rows)),
        ]
        path.write_text("\n".join(lines) + "\n")
    out = records(
        tiny,
        tmp_path / "out",
        ('target = "label"', 'target = "label"\nnumeric = ["age"]\ncategorical = ["sex"]'),
    )
    examples = tables.read_examples(out)
    assert examples["tabular_age"].isna().sum() == 15
    assert examples["tabular_age"][7] == 7
    assert examples["tabular_sex"][:3].tolist() == ["f", "m", "f"]
    kept = stored(out)
    assert (kept[2]["age"], kept[2]["sex"]) == (2.0, b"f")
    assert "age" not in kept[3]


def change(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert lines[line].startswith(old)
    lines[line] = new + lines[line][len(old) :]
    path.write_text("".join(lines))


def test_a_label_that_is_no_class(tiny: Tiny, tmp_path: Path) -> None:
    change(tiny.train, 17, tiny.train.read_text().splitlines()[17].split(",")[0], "ten")
    with pytest.raises(
        DataError,
        match=r"train.csv: row 17, column 'label': 'ten' is not a class; classes are 0, 1",
    ):
        records(tiny, tmp_path / "out")


def test_a_class_without_images(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image of class '10'"):
        records(tiny, tmp_path / "out", ("'9']", "'9', '10']"))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_file_that_changed_since_the_launcher_saw_it(tiny: Tiny, tmp_path: Path) -> None:
    competition = load_competition(tiny.toml)
    with pytest.raises(DataError, match="changed while the run was under way"):
        convert(
            competition.data,
            competition.records,
            classes=competition.classes,
            source_digest="0" * 64,
            out=tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_bad_images_fail_or_are_left_out_as_the_file_says(tiny: Tiny, tmp_path: Path) -> None:
    as_files(tiny)
    (tiny.folder / "train" / "img-003.png").write_bytes(b"")
    out = tmp_path / "out"
    with pytest.raises(
        DataError,
        match="img-003.png: an empty file\n1 images cannot be used: records.on_bad_image = 'skip' ",
    ):
        records(tiny, out)
    (tiny.folder / "train" / "img-007.png").unlink()
    with pytest.raises(
        DataError,
        match=r"train.csv: row 7: no file for id 'img-007' matches train/\{id\}.png \(1 such ids\)",
    ):
        records(tiny, out)
    skip = 'sizes = [8]\non_bad_image = "skip"\nmax_bad_fraction = 0.01'
    with pytest.raises(
        DataError, match=r"2 such images of 120, more than records.max_bad_fraction = 0.01 allows"
    ):
        records(tiny, out, ("sizes = [8]", skip))
    assert not (out / "manifest.json").exists()
    folder = records(tiny, out, ("max_bad_fraction = 0.01", "max_bad_fraction = 0.02"))
    examples = tables.read_examples(folder)
    assert len(examples) == 148
    assert not {"img-003", "img-007"} & set(examples["id"])
    rejects = tables.read_rejects(folder / "rejects.csv")
    assert rejects["id"].tolist() == ["img-003", "img-007"]
    assert rejects["reason"].tolist() == ["an empty file", "no file matches train/{id}.png"]
    assert rejects["bytes"].tolist() == [0, 0]
    assert verify(str(folder)).records == 148


def test_bad_test_images_are_all_named_and_may_get_the_mean_prediction(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_files(tiny)
    (tiny.folder / "test" / "t5.png").write_bytes(b"<html>")
    (tiny.folder / "test" / "t9.png").write_bytes(b"")
    skip = ("sizes = [8]", 'sizes = [8]\non_bad_image = "skip"\nmax_bad_fraction = 0')
    with pytest.raises(
        DataError,
        match=r"t5.png: .*HTML page.*\n.*t9.png: an empty file\n2 images cannot be used: "
        "records.on_bad_test_image = 'prior' gives test images the mean prediction",
    ):
        records(tiny, tmp_path / "out", skip)
    prior = ("sizes = [8]", 'sizes = [8]\non_bad_test_image = "prior"')
    (tiny.folder / "test" / "t11.png").unlink()
    folder = records(tiny, tmp_path / "out", prior)
    examples = tables.read_examples(folder)
    assert (examples["split"] == "test").sum() == 27
    rejects = tables.read_rejects(folder / "rejects.csv")
    assert rejects[["id", "split"]].to_numpy().tolist() == [
        ["t5", "test"],
        ["t9", "test"],
        ["t11", "test"],
    ]
    assert "warning: 3 test images cannot be used and get the mean" in capsys.readouterr().out


def test_files_without_a_row_are_reported(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_files(tiny)
    (tiny.folder / "test" / "more.png").write_bytes(b"")
    folder = records(tiny, tmp_path / "out")
    assert (
        "warning: 1 image files have no row in a table, and are not used: 'more.png'"
        in capsys.readouterr().out
    )
    assert read_manifest(folder)["unused_files"] == 1


def test_work_that_was_stopped_is_resumed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_files(tiny)
    competition = load_competition(tiny.toml)
    whole = contents(converted(competition, tmp_path / "whole"))
    monkeypatch.setenv(runtime.WORK, str(tmp_path / "work"))
    broken = tiny.folder / "train" / "img-077.png"
    good, times = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"x" * len(good))
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(DataError, match="img-077.png"):
        converted(competition, tmp_path / "out")
    broken.write_bytes(good)
    os.utime(broken, ns=(times.st_atime_ns, times.st_mtime_ns))
    (work,) = (tmp_path / "work").iterdir()
    # Only the part with the bad image is to be done again.
    done = {name for name in contents(work) if name.endswith(".parquet")}
    assert done == {"train00000.parquet", "train00002.parquet", "test00000.parquet"}
    read = []
    real = _process
    monkeypatch.setattr(
        units_module, "_process", lambda *given: read.append(given[3].row.id) or real(*given)
    )
    assert contents(converted(competition, tmp_path / "out")) == whole
    assert len(read) == 50
    assert list((tmp_path / "work").iterdir()) == []


CHILD = """
import sys
from pathlib import Path
from components.records.convert import convert
from trainer.config.load import load
competition = load(sys.argv[1])
print("begins", flush=True)
convert(competition.data, competition.records, classes=competition.classes, out=sys.argv[2])
"""


@pytest.mark.acceptance
def test_a_kill_leaves_nothing_that_is_taken_for_whole(tiny: Tiny, tmp_path: Path) -> None:
    as_files(tiny)
    tiny.toml.write_text(tiny.toml.read_text().replace("shard_images = 50", "shard_images = 3"))
    whole = contents(converted(load_competition(tiny.toml), tmp_path / "whole"))
    environment = {**os.environ, runtime.WORK: str(tmp_path / "work")}
    for tried in range(40):
        out = tmp_path / f"out{tried}"
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tiny.toml), str(out)],
            env=environment,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            try:
                # Kill later with each attempt, so that some kills come at the beginning and some
                # near the end.
                child.wait(timeout=0.08 * tried)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
        if (out / "manifest.json").exists():
            break
    assert tried > 0
    from components.records.merge import join

    competition = load_competition(tiny.toml)
    join(
        [out],
        competition.data,
        competition.records,
        classes=competition.classes,
        out=tmp_path / "joined",
    )
    assert contents(tmp_path / "joined") == whole


MEMORY = """
import resource, sys
import numpy as np
from components.records.convert import convert
from trainer.config.load import load
competition = load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert(competition.data, competition.records, classes=competition.classes, out=sys.argv[2])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="the system's largest memory figure is in kilobytes on Linux only",
)
def test_memory_is_bounded_by_the_pixels_that_may_be_decoded_at_once(
    tiny: Tiny, tmp_path: Path
) -> None:
    as_files(tiny)
    # 20 images of 9 million pixels with transparency: at seven bytes per pixel 1.3 GB, if all were
    # in memory.
    stream = io.BytesIO()
    Image.fromarray(np.zeros((3000, 3000, 4), np.uint8)).save(stream, "PNG")
    for number in range(1, 21):
        (tiny.folder / "train" / f"img-{number:03}.png").write_bytes(stream.getvalue())
    text = tiny.toml.read_text()
    tiny.toml.write_text(text.replace("sizes = [8]", "sizes = [8]\nmax_pixels = 9000000"))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tiny.toml), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    peak = int(done.stdout.split("peak ")[1]) * 1024
    # The bound that `convert` documents, 11 bytes per pixel, plus what libraries allocate on first
    # use.
    assert peak < 11 * 9_000_000 + 120_000_000


def test_the_source_s_digest_is_kept(tiny: Tiny, tmp_path: Path) -> None:
    competition = load_competition(tiny.toml)
    digest = source.digest(competition.data)
    assert read_manifest(converted(competition, tmp_path / "out"))["source_digest"] == digest


def test_columns_of_the_rejects(tmp_path: Path) -> None:
    tables.write_csv(
        tmp_path / "r.csv",
        pd.DataFrame([("007", "", "=x", 3, "train")], columns=list(Rejected._fields)),
    )
    assert tables.read_rejects(tmp_path / "r.csv").iloc[0].tolist() == ["007", "", "=x", 3, "train"]


@pytest.mark.parametrize(("groups", "names"), [("own", {"p", "old/p"}), ("shared", {"p"})])
def test_groups_of_an_external_set_are_its_own_unless_shared(
    tiny: Tiny, tmp_path: Path, groups: str, names: set[str]
) -> None:
    header, *rows = tiny.train.read_text().splitlines()
    tiny.train.write_text("\n".join([f"who,{header}", *(f"p,{row}" for row in rows)]) + "\n")
    (tiny.folder / "old.csv").write_text(
        "\n".join([f"who,{header}", *(f"p,{row}" for row in rows[:5])]) + "\n"
    )
    external = (
        f'\n[[data.external]]\nname = "old"\ntrain = "old.csv"\ngroups = "{groups}"\n\n[records]'
    )
    out = records(
        tiny,
        tmp_path / "out",
        ('target = "label"', 'target = "label"\ngroup = "who"'),
        ("[records]", external),
    )
    train = tables.read_examples(out).query("split == 'train'")
    assert set(train["group"]) == names
    assert train["id"].tolist()[-1] == "old/5"
