"""The images of a split: JPEGs stay in their shards, which are mapped into memory.

Held per image: its place in its shard (24 bytes) and its mean. All decoded images are held where
they take less than HELD_BYTES. Mapped shards count as the system's cache, which it can take back.
"""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from trainer.artifacts.jpeg import decode
from trainer.artifacts.records import check_id, decode_example, read_shard
from trainer.errors import IntegrityError

HELD_BYTES = 256 * 2**20
# A record is a length of 8 bytes with a crc of 4, the payload, and a crc of 4.
_HEADER_BYTES, _FRAME_BYTES = 12, 16


class Encoded(Protocol):
    """JPEG files by row."""

    def __getitem__(self, row: int, /) -> bytes: ...


@dataclass(frozen=True)
class Images:
    """The encoded images of a split, with what is needed to decode and augment them.

    Attributes:
        encoded: the JPEG of each row.
        means: (n, channels) float64, the mean pixel of each image, 0 to 255.
        size: side of every image in pixels.
        channels: of every image, 1 or 3.
        decoded: (n, size, size, channels) uint8, or None if the images take too much memory.
    """

    encoded: Encoded
    means: np.ndarray
    size: int
    channels: int
    decoded: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.means)

    def decode(self, row: int, out: np.ndarray) -> None:
        """Write the pixels of an image to `out`, (size, size, channels) uint8."""
        if self.decoded is not None:
            out[:] = self.decoded[row]
        else:
            _decode(self.encoded[row], out)


class _MappedShards:
    """JPEGs in mapped shards: for each row its shard, offset and length."""

    def __init__(self, maps: list[mmap.mmap], places: np.ndarray) -> None:
        self.maps, self.places = maps, places

    def __getitem__(self, row: int, /) -> bytes:
        shard, offset, length = self.places[row].tolist()
        return self.maps[shard][offset : offset + length]


def load(
    root: str | Path, examples: pd.DataFrame, about: Mapping[str, Any], *, size: int
) -> Images:
    """The images of some examples in one size, in their order. Reads each shard once.

    Args:
        root: the folder that the shards are in.
        examples: rows of the examples table.
        about: `about` of the records' manifest.
        size: side in pixels.

    Raises:
        IntegrityError: a shard is damaged, or a record is not the one in the examples table.
    """
    table = examples.reset_index(drop=True)
    places = np.zeros((len(table), 3), dtype=np.int64)
    maps: list[mmap.mmap] = []
    for shard, rows in table.groupby(f"shard_{size}", sort=True):
        path = Path(root) / str(shard)
        _locate(path, str(shard), rows, about, places, size=size, number=len(maps))
        with open(path, "rb") as stream:
            maps.append(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    channels = int(about["channels"])
    sums = np.array(table[f"sum_c_{size}"].tolist(), dtype=np.float64)
    means = sums.reshape(len(table), channels) / (size * size)
    images = Images(_MappedShards(maps, places), means, size, channels)
    if len(images) * size * size * channels > HELD_BYTES:
        return images
    decoded = np.empty((len(images), size, size, channels), np.uint8)
    for row in range(len(images)):
        images.decode(row, decoded[row])
    return Images(images.encoded, means, size, channels, decoded)


def _locate(
    path: Path,
    shard: str,
    rows: pd.DataFrame,
    about: Mapping[str, Any],
    places: np.ndarray,
    *,
    size: int,
    number: int,
) -> None:
    """Write where the JPEGs of a shard's rows are into `places`: shard number, offset, length."""
    place_of = dict(zip(rows[f"row_{size}"], rows.index, strict=True))
    ids, lengths = rows["id"].to_dict(), rows[f"bytes_{size}"].to_dict()
    offset = 0
    for record, payload in enumerate(read_shard(path)):
        place = place_of.pop(record, None)
        if place is not None:
            features = decode_example(payload)
            check_id(features, about, ids[place], f"{shard}: record {record}")
            jpeg: Any = features[about["image_feature"]]
            if len(jpeg) != lengths[place]:
                raise IntegrityError(
                    f"{shard}: record {record} is not the image in the examples table"
                )
            places[place] = number, offset + _HEADER_BYTES + payload.index(jpeg), len(jpeg)
        offset += len(payload) + _FRAME_BYTES
    if place_of:
        raise IntegrityError(f"{shard}: no record {min(place_of)}, which the examples table names")


def _decode(jpeg: bytes, out: np.ndarray) -> None:
    decode(jpeg, "GRAY" if out.shape[2] == 1 else "RGB", buffer=out)
