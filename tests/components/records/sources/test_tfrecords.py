import dataclasses
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from components.folds.make_folds import write_folds
from components.records.sources import tfrecords
from components.records.types import Rejected, Subset
from components.records.verify import verify
from tests.support.tiny import converted
from trainer.artifacts import tables
from trainer.artifacts.jpeg import decode
from trainer.artifacts.manifest import read_manifest
from trainer.artifacts.records import encode_example, frame
from trainer.config.competition import Competition, Member
from trainer.config.data import Data, External
from trainer.config.output import Submission
from trainer.config.preparation import ALWAYS_TRAINS, Folds, Records
from trainer.errors import DataError, IntegrityError
from trainer.input.shards import load

CLASSES = ["pink", "rose"]


def jpeg(seed: int, size: int) -> bytes:
    pixels = (
        np.random.default_rng(seed)
        .integers(0, 256, (4, 4, 3), dtype=np.uint8)
        .repeat(size // 4, 0)
        .repeat(size // 4, 1)
    )
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=92))


def write(path: Path, records: list[dict[str, bytes | int | float]]) -> None:
    """Write a shard like those of public data sets.

    TensorFlow's writer produces the same bytes (artifacts/test_records.py).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(frame(encode_example(record)) for record in records))


def flowers(root: Path, sizes: tuple[int, ...] = (32, 64)) -> None:
    """Write a small set in the layout of flowers-104: 12 + 6 train, 6 val and 5 test records.

    Each size is split into shards differently.
    """
    for size in sizes:
        folder = root / f"tfrecords-jpeg-{size}x{size}"
        splits = {"train": list(range(18)), "val": list(range(18, 24)), "test": list(range(24, 29))}
        for split, numbers in splits.items():
            cut = 12 if size == sizes[0] else 9
            for shard, start in enumerate(range(0, len(numbers), cut)):
                rows = [
                    {
                        "image": jpeg(n, size),
                        "id": f"f{n}".encode(),
                        **({"class": n % 2} if split != "test" else {}),
                    }
                    for n in numbers[start : start + cut]
                ]
                write(folder / split / f"{shard:02d}-{size}x{size}-{len(rows)}.tfrec", rows)


def competition(root: Path, sizes: list[int], **keys: object) -> Competition:
    data = Data(
        source="tfrecords",
        root=str(root),
        id="id",
        target="class",
        images="tfrecords-jpeg-{size}/train/*.tfrec",
        test_images="tfrecords-jpeg-{size}/test/*.tfrec",
        **keys,  # type: ignore[arg-type]
    )
    return Competition(
        name="f",
        task="multiclass",
        metric="macro_f1",
        classes=CLASSES,
        data=data,
        records=Records(sizes=sizes),
        members=[Member(name="m", epochs=3)],
        submission=Submission(sample="s.csv"),
    )


def test_two_sizes_side_by_side_and_validation_joins_training(tmp_path: Path) -> None:
    flowers(tmp_path / "data")
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrec")}
    file = competition(
        tmp_path / "data", [32, 64], validation_images="tfrecords-jpeg-{size}/val/*.tfrec"
    )
    out = converted(file, tmp_path / "out")
    examples = tables.read_examples(out)
    assert examples["id"].tolist() == [f"f{n}" for n in range(29)]
    assert examples["split"].tolist() == ["train"] * 24 + ["test"] * 5
    assert examples["target"].tolist() == [n % 2 for n in range(24)] + [-1] * 5
    assert examples["shard_32"][13] == "tfrecords-jpeg-32x32/train/01-32x32-6.tfrec"
    assert (examples["row_32"][13], examples["shard_64"][13], examples["row_64"][13]) == (
        1,
        "tfrecords-jpeg-64x64/train/01-64x64-9.tfrec",
        4,
    )
    # No file was rewritten or copied.
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrec")} == before
    assert not list(out.rglob("*.tfrec"))
    for size in (32, 64):
        for n, sums, squares in zip(
            range(29), examples[f"sum_c_{size}"], examples[f"sumsq_c_{size}"], strict=True
        ):
            pixels = simplejpeg.decode_jpeg(
                jpeg(n, size), fastdct=False, fastupsample=False
            ).astype(np.int64)
            assert sums.tolist() == pixels.sum(axis=(0, 1)).tolist()
            assert squares.tolist() == (pixels**2).sum(axis=(0, 1)).tolist()
    assert verify(str(out)).records == 58
    about = read_manifest(out)
    assert about["channels"] == 3
    images = load(about["root"], examples, about, size=64)
    assert [images.encoded[n] for n in range(29)] == [jpeg(n, 64) for n in range(29)]


def test_looking_reads_no_image(tmp_path: Path) -> None:
    flowers(tmp_path)
    file = competition(tmp_path, [32, 64])
    assert tfrecords.look(file.data, file.records) == (18, [f"f{n}" for n in range(24, 29)])
    with pytest.raises(
        DataError, match=r"no train shards of size 128 \(records.sizes\), only of size 32, 64"
    ):
        tfrecords.look(file.data, Records(sizes=[128]))


def melanoma(root: Path, *, year: str = "2020", first: int = 0, count: int = 12) -> None:
    """Write records in the melanoma schema.

    `width` and `height` are missing from one shard, `sex` from one record, and most features from
    the test file.
    """
    rows: list[dict[str, bytes | int | float]] = []
    for n in range(first, first + count):
        row: dict[str, bytes | int | float] = {
            "image": jpeg(n, 32),
            "image_name": f"ISIC_{n:07d}".encode(),
            "patient_id": n // 2,
            "sex": n % 2,
            "age_approx": 10 * n,
            "anatom_site_general_challenge": n % 3,
            "diagnosis": 0,
            "target": n % 2,
        }
        if n >= first + 6:
            row |= {"width": 6000, "height": 4000}
        if n == first + 3:
            del row["sex"], row["age_approx"]
        rows.append(row)
    write(root / f"melanoma-{year}" / f"train00-{6}.tfrec", rows[:6])
    write(root / f"melanoma-{year}" / f"train01-{count - 6}.tfrec", rows[6:])
    tests = [
        {
            "image": jpeg(900 + n, 32),
            "image_name": f"T{n}".encode(),
            "patient_id": n,
            "sex": 1,
            "age_approx": 7,
        }
        for n in range(3)
    ]
    write(root / f"melanoma-{year}" / "test00-3.tfrec", tests)  # type: ignore[arg-type]


def melanoma_data(root: Path, **keys: object) -> Data:
    return Data(
        source="tfrecords",
        root=str(root),
        id="image_name",
        target="target",
        group="patient_id",
        images="melanoma-2020/train*.tfrec",
        test_images="melanoma-2020/test*.tfrec",
        numeric=["age_approx"],
        categorical=["sex"],
        **keys,  # type: ignore[arg-type]
    )


def test_optional_features_really_are(tmp_path: Path) -> None:
    melanoma(tmp_path)
    data = melanoma_data(tmp_path)
    file = competition(tmp_path, [32])
    out = converted(Competition(**{**vars(file), "data": data}), tmp_path / "out")
    examples = tables.read_examples(out)
    assert examples["group"].tolist()[:4] == ["0", "0", "1", "1"]
    assert examples["width"].tolist() == [32] * 6 + [6000] * 6 + [32] * 3
    assert examples["height"].tolist() == [32] * 6 + [4000] * 6 + [32] * 3
    assert np.isnan(examples["tabular_age_approx"][3])
    assert examples["tabular_age_approx"][4] == 40
    assert examples["tabular_sex"].tolist()[:5] == ["0", "1", "0", "", "0"]
    assert examples["target"].tolist() == [n % 2 for n in range(12)] + [-1] * 3


@pytest.mark.parametrize("use", ["train", "folds"])
def test_external_records_join(tmp_path: Path, use: str) -> None:
    melanoma(tmp_path)
    melanoma(tmp_path, year="2019", first=50)
    external = External(name="2019", use=use, images="melanoma-2019/train*.tfrec")  # type: ignore[arg-type]
    file = competition(tmp_path, [32])
    file = Competition(**{**vars(file), "data": melanoma_data(tmp_path, external=[external])})
    out = converted(file, tmp_path / "out")
    examples = tables.read_examples(out)
    assert examples["id"][12] == "2019/ISIC_0000050"
    assert examples["external"].tolist() == [""] * 12 + [use] * 12 + [""] * 3
    assert verify(str(out)).records == 27
    written = {"out": tmp_path / "folds.csv", "audit_out": tmp_path / "audit.json"}
    write_folds(out, Folds(count=3), seed=1, classes=CLASSES, **written)
    folds = tables.read_folds(tmp_path / "folds.csv")["fold"]
    if use == "train":
        assert set(folds[12:]) == {ALWAYS_TRAINS}
    else:
        # External images are assigned on their own: each fold gets the same number of them.
        assert np.bincount(folds[12:]).tolist() == [4, 4, 4]
    assert np.bincount(folds[:12]).tolist() == [4, 4, 4]


def scanned(
    tmp_path: Path, records: list[dict[str, bytes | int | float]]
) -> list[tfrecords.Scanned]:
    write(tmp_path / "a" / f"t-{len(records)}.tfrec", records)
    data = Data(
        source="tfrecords",
        root=str(tmp_path),
        id="id",
        target="class",
        images="a/*.tfrec",
        test_images="a/*.tfrec",
    )
    shard = tfrecords.Shard(
        Subset(data, "train", "", ""), 32, f"a/t-{len(records)}.tfrec", len(records)
    )
    return list(tfrecords.scan(shard, tmp_path))


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            {"image": b"x", "class": 1},
            "a/t-1.tfrec: record 0: no feature 'id'; it has class, image",
        ),
        (
            {"image": b"x", "id": b"a"},
            r"record 0: no feature 'class' \(data.target\); it has id, image",
        ),
        ({"id": b"a", "class": 1}, "record 0: no bytes feature 'image'"),
        ({"image": 3, "id": b"a", "class": 1}, "record 0: no bytes feature 'image'"),
        (
            {"image": b"x", "id": b"a\n", "class": 1},
            "feature 'id': 'a.n' has a character that cannot be printed",
        ),
        ({"image": b"x", "id": b"a", "class": 1.5}, "no feature 'class'"),
    ],
)
def test_records_that_cannot_be_are_named(
    tmp_path: Path, record: dict[str, bytes | int | float], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        scanned(tmp_path, [record])


def test_images_that_cannot_be_used_are_rejected(tmp_path: Path) -> None:
    rows = [
        {"image": image, "id": b"a", "class": 1}
        for image in (jpeg(0, 32), jpeg(0, 32)[:200], b"<html>", b"", jpeg(0, 64))
    ]
    good, *bad = (one.image for one in scanned(tmp_path, rows))  # type: ignore[arg-type]
    assert not isinstance(good, Rejected)
    assert all(isinstance(one, Rejected) for one in bad)
    assert bad[-1] == Rejected("a", "a/t-5.tfrec", "64 × 64 pixels, not 32 × 32", len(jpeg(0, 64)))


def test_a_payload_that_is_no_example_and_a_damaged_shard(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    data = Data(
        source="tfrecords",
        root=str(tmp_path),
        id="id",
        target="class",
        images="a/*.tfrec",
        test_images="a/*.tfrec",
    )
    shard = tfrecords.Shard(Subset(data, "train", "", ""), 32, "a/x.tfrec", None)
    (tmp_path / "a" / "x.tfrec").write_bytes(frame(b"\xff\xff"))
    with pytest.raises(IntegrityError, match="a/x.tfrec: record 0: not a tf.train.Example"):
        list(tfrecords.scan(shard, tmp_path))
    (tmp_path / "a" / "x.tfrec").write_bytes(frame(b"")[:-1] + b"z")
    with pytest.raises(IntegrityError, match="damaged record 0 at byte 0"):
        list(tfrecords.scan(shard, tmp_path))


def test_an_id_that_lacks_a_size_and_one_that_stands_twice(tmp_path: Path) -> None:
    flowers(tmp_path / "data")
    lone = tmp_path / "data" / "tfrecords-jpeg-64x64" / "test" / "00-64x64-5.tfrec"
    write(lone, [{"image": jpeg(n, 64), "id": f"f{n}".encode()} for n in range(24, 28)])
    lone.rename(lone.with_name("00-64x64-4.tfrec"))
    with pytest.raises(DataError, match="id 'f28' has no record of size 64 .1 ids lack one"):
        converted(competition(tmp_path / "data", [32, 64]), tmp_path / "out")
    twice = tmp_path / "data" / "tfrecords-jpeg-32x32" / "train" / "09-32x32-1.tfrec"
    write(twice, [{"image": jpeg(1, 32), "id": b"f1", "class": 1}])
    with pytest.raises(DataError, match="id 'f1' occurs more than once"):
        converted(competition(tmp_path / "data", [32]), tmp_path / "out")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ({"group": "patient"}, r"no training record has the feature 'patient' \(data.group\)"),
        ({"numeric": ["aeg"]}, r"the feature 'aeg' \(data.numeric\)"),
        ({"categorical": ["sexx"]}, r"the feature 'sexx' \(data.categorical\)"),
    ],
)
def test_a_feature_that_no_record_has_is_misspelt(
    tmp_path: Path, key: dict[str, object], words: str
) -> None:
    melanoma(tmp_path)
    data = dataclasses.replace(melanoma_data(tmp_path), **key)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=words):
        converted(dataclasses.replace(competition(tmp_path, [32]), data=data), tmp_path / "out")


def test_patients_that_are_unknown_are_no_group(tmp_path: Path) -> None:
    rows = [
        {"image": jpeg(n, 32), "id": str(n).encode(), "class": n % 2, "who": w}
        for n, w in enumerate((-1, -1, 3, b"NA"))
    ]
    write(tmp_path / "a" / "x.tfrec", rows)  # type: ignore[arg-type]
    data = Data(
        source="tfrecords",
        root=str(tmp_path),
        id="id",
        target="class",
        group="who",
        images="a/*",
        test_images="a/*",
    )
    shard = tfrecords.Shard(Subset(data, "train"), 32, "a/x.tfrec", None)
    assert [one.row.group for one in tfrecords.scan(shard, tmp_path)] == ["", "", "3", ""]


def test_labels_of_two_sizes_must_agree(tmp_path: Path) -> None:
    flowers(tmp_path / "data")
    path = tmp_path / "data" / "tfrecords-jpeg-64x64" / "train" / "01-64x64-9.tfrec"
    write(
        path,
        [
            {"image": jpeg(n, 64), "id": f"f{n}".encode(), "class": int(n != 12)}
            for n in range(9, 18)
        ],
    )
    with pytest.raises(DataError, match="has a different target in size 64 .3 such ids"):
        converted(competition(tmp_path / "data", [32, 64]), tmp_path / "out")


def test_an_image_that_is_damaged_in_one_size_is_left_out_of_both(tmp_path: Path) -> None:
    flowers(tmp_path / "data")
    for size, shard, first, count in ((32, "00-32x32-12", 0, 12), (64, "00-64x64-9", 0, 9)):
        path = tmp_path / "data" / f"tfrecords-jpeg-{size}x{size}" / "train" / f"{shard}.tfrec"
        rows = [
            {"image": jpeg(n, size), "id": f"f{n}".encode(), "class": n % 2}
            for n in range(first, first + count)
        ]
        # One image is damaged in both sizes, another only in the larger one.
        rows[3]["image"] = b"x"
        if size == 64:
            rows[5]["image"] = b"x"
        write(path, rows)  # type: ignore[arg-type]
    file = competition(tmp_path / "data", [32, 64])
    stored = Records(sizes=[32, 64], on_bad_image="skip", max_bad_fraction=2 / 18)
    out = converted(dataclasses.replace(file, records=stored), tmp_path / "out")
    assert tables.read_rejects(out / "rejects.csv")["id"].tolist() == ["f3", "f5"]
    assert not {"f3", "f5"} & set(tables.read_examples(out)["id"])


def test_a_jpeg_with_a_harmless_fault_is_used_and_a_damaged_one_named(tmp_path: Path) -> None:
    flowers(tmp_path / "data", sizes=(32,))
    path = tmp_path / "data" / "tfrecords-jpeg-32x32" / "train" / "00-32x32-12.tfrec"
    rows = [{"image": jpeg(n, 32), "id": f"f{n}".encode(), "class": n % 2} for n in range(12)]
    whole = jpeg(4, 32)
    rows[4]["image"] = whole.replace(b"JFIF\0\1\1", b"JFIF\0\0\0")
    assert rows[4]["image"] != whole
    write(path, rows)  # type: ignore[arg-type]
    out = converted(competition(tmp_path / "data", [32]), tmp_path / "out")
    examples = tables.read_examples(out).query("split == 'train'").set_index("id")
    assert "JFIF" in examples["fault"]["f4"]
    assert set(examples["fault"].drop("f4")) == {""}
    # Training reads the same record.
    row = examples.loc[["f4"]].reset_index()
    images = load(tmp_path / "data", row, read_manifest(out), size=32)
    pixels = np.empty((32, 32, 3), np.uint8)
    images.decode(0, pixels)
    np.testing.assert_array_equal(pixels, decode(whole, "RGB")[0])
    for data, words in (
        (whole[: len(whole) // 2], "damaged or truncated JPEG"),
        (b"\x93NUMPY" + whole, "not a JPEG: it is a NumPy array"),
    ):
        rows[4]["image"] = data
        write(path, rows)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=rf"00-32x32-12.tfrec: id 'f4': {words}"):
            converted(competition(tmp_path / "data", [32]), tmp_path / "out")


def test_a_shard_that_was_replaced_is_seen(tmp_path: Path) -> None:
    flowers(tmp_path / "data", sizes=(32,))
    out = converted(competition(tmp_path / "data", [32]), tmp_path / "out")
    path = tmp_path / "data" / "tfrecords-jpeg-32x32" / "train" / "01-32x32-6.tfrec"
    write(
        path,
        [
            {"image": jpeg(n + 500, 32), "id": f"f{n}".encode(), "class": n % 2}
            for n in range(12, 18)
        ],
    )
    with pytest.raises(
        IntegrityError, match="01-32x32-6.tfrec: record 0 is not the image that was scanned"
    ):
        verify(str(out))
    about = read_manifest(out)
    with pytest.raises(IntegrityError, match="is not the image in the examples table"):
        load(about["root"], tables.read_examples(out), about, size=32)


def test_names_of_tensorflow_s_own_kind(tmp_path: Path) -> None:
    for number in range(2):
        rows = [
            {"image": jpeg(n, 32), "id": f"f{n}".encode(), "class": n % 2}
            for n in range(10 * number, 10 * number + 10)
        ]
        write(tmp_path / "train" / f"train-0000{number}-of-00002.tfrecord", rows)  # type: ignore[arg-type]
    write(tmp_path / "test" / "part-00000.tfrecords", [{"image": jpeg(99, 32), "id": b"t"}])
    data = Data(
        source="tfrecords",
        root=str(tmp_path),
        id="id",
        target="class",
        images="train/*",
        test_images="test/*",
    )
    file = dataclasses.replace(competition(tmp_path, [32]), data=data)
    assert tfrecords.look(data, file.records) == (20, ["t"])
    assert len(tables.read_examples(converted(file, tmp_path / "out"))) == 21


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb = bytes(simplejpeg.encode_jpeg(np.zeros((2000, 2000, 3), np.uint8)))
    (bad,) = scanned(tmp_path, [{"image": bomb, "id": b"a", "class": 1}])
    assert isinstance(bad.image, Rejected)
    assert bad.image.reason == "2000 × 2000 pixels, not 32 × 32"
