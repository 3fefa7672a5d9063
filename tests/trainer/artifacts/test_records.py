import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.artifacts.records import (
    ShardName,
    check_id,
    decode_example,
    encode_example,
    frame,
    masked_crc,
    named_count,
    open_shard,
    read_shard,
)
from trainer.errors import IntegrityError


def write(folder: Path, rows, split: str = "train", number: int = 0) -> Path:  # type: ignore[no-untyped-def]
    """Write the records to a shard and return its path."""
    with open_shard(folder, split, number) as add:
        for row in rows:
            add(row)
    (path,) = folder.glob("*.tfrec")
    return path


FLOATS = st.floats(width=32, allow_nan=False)
FEATURES = st.dictionaries(
    st.text(max_size=12),
    st.binary(max_size=40) | st.integers(-(2**63), 2**63 - 1) | FLOATS,
    max_size=5,
)


@given(FEATURES)
def test_examples_survive_the_trip(features: dict[str, bytes | int | float]) -> None:
    assert decode_example(encode_example(features)) == features


def test_masked_crc_is_that_of_the_format() -> None:
    # crc32c of "123456789" is 0xe3069283 (RFC 3720, appendix B.4 lists the polynomial's check
    # values).
    crc = 0xE3069283
    assert (
        masked_crc(b"123456789")
        == (((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF
    )


def test_tensorflow_reads_what_we_write(tmp_path: Path) -> None:
    import tensorflow as tf

    rows = [
        {"image": bytes([index]) * index, "target": index, "age": index / 2, "image_name": b"x"}
        for index in range(5)
    ]
    path = write(tmp_path, rows)
    assert path.name == "train00-5.tfrec"
    schema = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "target": tf.io.FixedLenFeature([], tf.int64),
        "age": tf.io.FixedLenFeature([], tf.float32),
    }
    read = [
        tf.io.parse_single_example(record, schema) for record in tf.data.TFRecordDataset(str(path))
    ]
    assert [row["image"].numpy() for row in read] == [row["image"] for row in rows]
    assert [int(row["target"]) for row in read] == [0, 1, 2, 3, 4]
    assert [float(row["age"]) for row in read] == [0, 0.5, 1, 1.5, 2]


def test_we_read_what_tensorflow_writes(tmp_path: Path) -> None:
    import tensorflow as tf

    path = tmp_path / "test03-2.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(2):
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"jpeg"])),
                "target": tf.train.Feature(int64_list=tf.train.Int64List(value=[-index])),
                "empty": tf.train.Feature(),
            }
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
            )
    assert [decode_example(payload) for payload in read_shard(path)] == [
        {"image": b"jpeg", "target": 0},
        {"image": b"jpeg", "target": -1},
    ]


def test_a_missing_record_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, [{"target": 1}, {"target": 2}]).rename(tmp_path / "train00-3.tfrec")
    with pytest.raises(IntegrityError, match="holds 2 records, but its name says 3"):
        list(read_shard(path))


def test_any_damaged_byte_is_named_with_its_record(tmp_path: Path) -> None:
    path = write(tmp_path, [{"target": 1}, {"target": 2}])
    whole = path.read_bytes()
    first = len(whole) // 2
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(bytes(damaged))
        with pytest.raises(
            IntegrityError,
            match=rf"record {int(place >= first)} at byte {first * int(place >= first)} ",
        ):
            list(read_shard(path))
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match=r"damaged record|holds 1 records"):
            list(read_shard(path))


def test_a_frame_is_little_endian() -> None:
    framed = frame(b"abc")
    assert struct.unpack_from("<Q", framed)[0] == 3
    assert len(framed) == 8 + 4 + 3 + 4


def test_shard_names() -> None:
    assert str(ShardName("train", 0, 2071)) == "train00-2071.tfrec"


def test_a_failed_write_leaves_no_shard(tmp_path: Path) -> None:
    def rows():  # type: ignore[no-untyped-def]
        yield {"target": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path, rows())
    assert list(tmp_path.iterdir()) == []


def test_numpy_integers_are_refused_as_features() -> None:
    # The alternative would be a silent conversion to float: the caller must convert.
    with pytest.raises(TypeError):
        encode_example({"target": np.array([1, 2])})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("train00-2071.tfrec", 2071),
        ("00-512x512-798.tfrec", 798),
        ("train-00003-of-00016.tfrecord", None),
        ("train-00.tfrec", None),
        ("part-00003.tfrecords", None),
    ],
)
def test_public_names_say_how_many_records_there_are(name: str, records: int | None) -> None:
    assert named_count(name) == records


def test_a_shard_of_nothing_is_no_file(tmp_path: Path) -> None:
    with open_shard(tmp_path / "new", "train", 3):
        pass
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("root", "id_", "good"),
    [
        ("", "a", True),
        ("", "2019/a", False),
        ("/data", "a", True),
        ("/data", "2019/a", True),
        ("/data", "x/2019/a", False),
    ],
)
def test_a_record_is_held_against_its_id(root: str, id_: str, good: bool) -> None:
    # Only a ready record of an external set has an id without the set's name.
    about = {"id_feature": "image_name", "root": root}
    if good:
        check_id({"image_name": b"a"}, about, id_, "x: record 1")
    else:
        with pytest.raises(
            IntegrityError, match=f"x: record 1 is 'a', but the examples table has '{id_}'"
        ):
            check_id({"image_name": b"a"}, about, id_, "x: record 1")


@pytest.mark.parametrize("length", [2**62, 2**40, 17])
def test_a_length_that_is_not_there_is_not_asked_for(tmp_path: Path, length: int) -> None:
    head = struct.pack("<Q", length)
    path = tmp_path / "x.tfrec"
    path.write_bytes(head + struct.pack("<I", masked_crc(head)) + b"0123456789abcdef")
    with pytest.raises(IntegrityError, match="damaged record 0 at byte 0 .its payload fails"):
        list(read_shard(path))
