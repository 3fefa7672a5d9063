"""The record schema: the only module that writes or parses TFRecords; it does not import
TensorFlow.

A shard is a file of framed records (https://www.tensorflow.org/tutorials/load_data/tfrecord,
"TFRecords format details"): little-endian uint64 length, its masked crc32c, the payload, its masked
crc32c. A payload is a serialised `tensorflow.Example` with the usual feature names: `image` (JPEG
bytes), `image_name` (bytes), `target` (int64; absent if there is no label).
"""

import contextlib
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from trainer.errors import IntegrityError

# The mask avoids a weak crc for data that itself contains crcs; the constant is part of the format.
_MASK_DELTA = 0xA282EAD8
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
# Shard names with the number of records: ours, those of melanoma (train00-2071.tfrec) and those of
# flowers-104 (00-512x512-798.tfrec).
_COUNT = re.compile(r"(?:[a-z]+\d+|\d+-\d+x\d+)-(\d+)\.tfrec")


class ShardName(NamedTuple):
    """The name of a shard, such as `train00-2071.tfrec`.

    Attributes:
        split: `train`, `test` and the like.
        number: number of the shard within its split, from 0.
        records: number of records in the shard.
    """

    split: str
    number: int
    records: int

    def __str__(self) -> str:
        return f"{self.split}{self.number:02d}-{self.records}.tfrec"


def masked_crc(data: bytes) -> int:
    """Return the masked crc32c: rotated right by 15 bits, plus a constant, modulo 2**32."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """Return a payload with its length and crcs, as it is stored in a shard."""
    length = _LENGTH.pack(len(payload))
    return length + _CRC.pack(masked_crc(length)) + payload + _CRC.pack(masked_crc(payload))


def encode_example(features: Mapping[str, bytes | int | float]) -> bytes:
    """Return a serialised `tensorflow.Example`, one bytes, int64 or float32 value per feature."""
    example = _example_class()()
    for name, value in features.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return example.SerializeToString(deterministic=True)


def decode_example(payload: bytes) -> dict[str, bytes | int | float]:
    """Return the first value of each feature that has a value.

    Raises:
        google.protobuf.message.DecodeError: the payload is not a serialised `tensorflow.Example`.
    """
    values: dict[str, bytes | int | float] = {}
    for name, feature in _example_class().FromString(payload).features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind is not None and getattr(feature, kind).value:
            values[name] = getattr(feature, kind).value[0]
    return values


@contextlib.contextmanager
def open_shard(
    folder: str | Path, split: str, number: int
) -> Iterator[Callable[[Mapping[str, bytes | int | float]], None]]:
    """Yield a function that adds a record to a shard; the file gets its final name when the block
    ends.

    Without any record no file is written. At most one record is in memory.

    Args:
        folder: the folder of the shard; it is created if it does not exist.
        split: `train`, `test` and the like.
        number: number of the shard within its split.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{split}{number:02d}.partial"
    count = 0
    try:
        with open(partial, "wb") as stream:

            def add(features: Mapping[str, bytes | int | float]) -> None:
                nonlocal count
                stream.write(frame(encode_example(features)))
                count += 1

            yield add
        if count:
            partial.replace(folder / str(ShardName(split, number, count)))
    finally:
        partial.unlink(missing_ok=True)


def read_shard(path: str | Path) -> Iterator[bytes]:
    """Yield the payloads of a shard in order, each checked against its crc.

    Raises:
        IntegrityError: a record is truncated or damaged (the message has the shard and the byte
            offset of the record), or the number of records differs from the one in the name
            (`…-2071.tfrec`; names without a number are not checked).
    """
    path = Path(path)
    count = 0
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        while head := stream.read(12):
            offset = stream.tell() - len(head)
            if len(head) < 12 or _CRC.unpack_from(head, 8)[0] != masked_crc(head[:8]):
                raise IntegrityError(
                    f"{path}: damaged record {count} at byte {offset} (its length fails the crc)"
                )
            length = _LENGTH.unpack_from(head)[0]
            # A length that passes its crc may still be wrong: never read beyond the file's end.
            payload, crc = (
                (stream.read(length), stream.read(4))
                if length <= size - offset - 16
                else (b"", b"")
            )
            if len(crc) < 4 or _CRC.unpack(crc)[0] != masked_crc(payload):
                raise IntegrityError(
                    f"{path}: damaged record {count} at byte {offset} (its payload fails the crc)"
                )
            yield payload
            count += 1
    expected = named_count(path.name)
    if expected is not None and count != expected:
        raise IntegrityError(f"{path}: holds {count} records, but its name says {expected}")


def check_id(
    features: Mapping[str, object], about: Mapping[str, Any], id_: str, where: str
) -> None:
    """Check that a record belongs to the image `id_`.

    Args:
        features: the features of the record.
        about: the `about` of the records' manifest.
        id_: the id in the examples table. In finished TFRecords of an external set, the record
            lacks the name of the set before the id.
        where: shard and record, for the error.

    Raises:
        IntegrityError: the record belongs to another image.
    """
    value = features.get(about["id_feature"])
    name = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if name != id_ and not (about["root"] and id_.partition("/")[2] == name):
        raise IntegrityError(f"{where} is {name!r}, but the examples table has {id_!r}")


def named_count(name: str) -> int | None:
    """Return the number of records that a shard's name contains, or None."""
    match = _COUNT.fullmatch(name)
    return int(match[1]) if match else None


@lru_cache(maxsize=1)
def _example_class() -> Any:
    """Return the message class of `tensorflow.Example`, built from field numbers in a separate
    descriptor pool.

    TensorFlow registers the same message in protobuf's default pool; with a separate pool both can
    exist in one process. Field numbers: tensorflow/core/example/{example,feature}.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="foldline/example.proto", package="foldline", syntax="proto3"
    )

    def message(name: str, **fields: tuple[int, int, int, str]) -> descriptor_pb2.DescriptorProto:
        descriptor = file.message_type.add(name=name)
        for key, (number, kind, label, type_name) in fields.items():
            descriptor.field.add(
                name=key, number=number, type=kind, label=label, type_name=type_name or None
            )
        return descriptor

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    message("BytesList", value=(1, field.TYPE_BYTES, many, ""))
    message("FloatList", value=(1, field.TYPE_FLOAT, many, ""))
    message("Int64List", value=(1, field.TYPE_INT64, many, ""))
    feature = message(
        "Feature",
        bytes_list=(1, field.TYPE_MESSAGE, one, ".foldline.BytesList"),
        float_list=(2, field.TYPE_MESSAGE, one, ".foldline.FloatList"),
        int64_list=(3, field.TYPE_MESSAGE, one, ".foldline.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for entry in feature.field:
        entry.oneof_index = 0
    features = message(
        "Features", feature=(1, field.TYPE_MESSAGE, many, ".foldline.Features.FeatureEntry")
    )
    pair = features.nested_type.add(name="FeatureEntry")
    pair.options.map_entry = True
    pair.field.add(name="key", number=1, type=field.TYPE_STRING, label=one)
    pair.field.add(
        name="value", number=2, type=field.TYPE_MESSAGE, label=one, type_name=".foldline.Feature"
    )
    message("Example", features=(1, field.TYPE_MESSAGE, one, ".foldline.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("foldline.Example"))
