"""Near-duplicate images: the same picture saved again, resized, or made a little brighter.

Candidates are pairs whose perceptual hashes differ in at most `DISTANCE` of 64 bits; each is then verified on the pixels of the
stored images. All pairs within that distance are found: if two hashes differ in at most five bits, then of three bands of them
at least one differs in at most one bit. So three times, hashes are sorted by a band, and each is looked up as it is and with
each bit of the band flipped (multi-index hashing: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with Multi-Index
Hashing, CVPR 2012). Time grows as n log n, and by chance pairs, n² / 60,000 of them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from scipy import sparse
from scipy.sparse import csgraph

from components.ordered import in_order
from trainer.records import check_id, decode_example, read_shard

DISTANCE = 5
_BANDS = ((0, 22), (22, 21), (43, 21))
# Pairs that are looked at at once.
_CHUNK = 1 << 22
# Thumbnails are compared, for what is finer does not survive being saved again. Chosen on photographs, emoji and digits: of
# pairs of different digits, which look much alike, one of 12 million passes.
SIDE = 32
CORRELATION = 0.95
# Of 8 by 8 tiles, the one that differs most, in deviations: a mark or a mouth that only one of the two has.
TILE = 0.40
_TILES = 8
# Levels: with a smaller deviation an image is flat; with less between its channels it is grey.
_FLAT = 1.0
_GREY = 3.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def near_duplicates(examples: pd.DataFrame, root: str | Path, about: Mapping[str, Any]) -> np.ndarray:
    """Which images are near-duplicates of each other.

    Args:
        examples: n rows of the examples table.
        root: the folder that the shards lie below.
        about: of the records' manifest.

    Returns:
        (n,) int64: a number for each set of near-duplicates, which are linked over any number of steps; -1 for an image that
            has none. Byte-identical images are one image here.
    """
    first = np.unique(examples["sha256"].to_numpy(dtype=str), return_index=True)[1]
    alone = examples.iloc[np.sort(first)].reset_index(drop=True)
    hashes, code = np.unique(alone["phash"].to_numpy(dtype=np.uint64), return_inverse=True)
    left, right = similar(hashes)
    rows_of = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    crowded = np.flatnonzero(np.bincount(code) > 1)
    wanted = sorted({int(row) for unique in [*left, *right, *crowded] for row in rows_of[unique]})
    thumbnails = _thumbnails(alone.iloc[wanted], root, about)
    links: list[tuple[int, int]] = []
    for unique in crowded:
        links += _within(rows_of[unique].tolist(), thumbnails)
    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        links += _between(rows_of[one].tolist(), rows_of[other].tolist(), thumbnails)
    near = np.full(len(alone), -1)
    if links:
        ends = np.array(links).T
        graph = sparse.coo_matrix((np.ones(len(links), dtype=bool), (ends[0], ends[1])), shape=(len(alone), len(alone)))
        component = csgraph.connected_components(graph, directed=False)[1]
        several = np.bincount(component)[component] > 1
        near[several] = np.unique(component[several], return_inverse=True)[1]
    return examples["sha256"].map(dict(zip(alone["sha256"], near.tolist(), strict=True))).to_numpy(dtype=np.int64)


def similar(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of distinct hashes that differ in at most `DISTANCE` bits.

    Args:
        hashes: (n,) uint64, each once.

    Returns:
        two (pairs,) int64 arrays of places, left below right, sorted, each pair once.
    """
    found = [
        np.stack([one, other])
        for first_bit, bits in _BANDS
        for one, other in _agreeing(hashes, (hashes >> np.uint64(first_bit)) & np.uint64((1 << bits) - 1), bits)
    ]
    pairs = np.unique(np.concatenate([np.empty((2, 0), dtype=np.int64), *found], axis=1), axis=1)
    return pairs[0], pairs[1]


def _agreeing(hashes: np.ndarray, band: np.ndarray, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs that agree in a band but for one bit at most, and differ in few bits overall."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    for flip in [0, *(1 << bit for bit in range(bits))]:
        probe = band ^ np.uint64(flip)
        start, end = np.searchsorted(ordered, probe, "left"), np.searchsorted(ordered, probe, "right")
        counts = end - start
        # Rows are taken in runs whose pairs fit into memory.
        runs = np.flatnonzero(np.diff(np.cumsum(counts) // _CHUNK, prepend=-1))
        for first, last in zip(runs, [*runs[1:], len(hashes)], strict=True):
            size = counts[first:last]
            one = np.repeat(np.arange(first, last), size)
            within = np.arange(len(one)) - np.repeat(np.cumsum(size) - size, size)
            other = order[np.repeat(start[first:last], size) + within]
            keep = one < other
            one, other = one[keep], other[keep]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= DISTANCE
            yield one[near], other[near]


def _thumbnails(examples: pd.DataFrame, root: str | Path, about: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Thumbnails of the rows of `examples`, by their index."""
    size = min(about["sizes"])
    places = {
        (str(shard), int(place)): (int(row), str(id_))
        for row, id_, shard, place in zip(
            examples.index, examples["id"], examples[f"shard_{size}"], examples[f"row_{size}"], strict=True
        )
    }

    def payloads() -> Iterator[tuple[int, bytes]]:
        for shard in sorted({shard for shard, _ in places}):
            for number, payload in enumerate(read_shard(Path(root) / shard)):
                if (shard, number) in places:
                    row, id_ = places[shard, number]
                    features = decode_example(payload)
                    check_id(features, about, id_, f"{shard}: record {number}")
                    yield row, features[about["image_feature"]]  # type: ignore[misc]  # bytes, by the record schema

    return dict(in_order(lambda given: (given[0], thumbnail(given[1])), payloads()))


def thumbnail(jpeg: bytes) -> np.ndarray:
    """(32, 32, 3) float32 RGB, 0 to 255."""
    pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
    how = cv2.INTER_AREA if min(pixels.shape[:2]) >= SIDE else cv2.INTER_LINEAR
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=how).astype(np.float32)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two thumbnails show the same picture, at whatever brightness and contrast; flat ones, whether their colour is the
    same.

    Where one of the two is grey, both are compared as grey.
    """
    deviations = float(one.std()), float(other.std())
    if min(deviations) < _FLAT:
        near = np.abs(one.mean(axis=(0, 1)) - other.mean(axis=(0, 1))).max()
        return max(deviations) < _FLAT and bool(near <= _FLAT)
    if min(float(np.ptp(image, axis=2).mean()) for image in (one, other)) < _GREY:
        one, other = ((image @ _LUMA)[:, :, None] for image in (one, other))
    one, other = ((image - image.mean()) / image.std() for image in (one, other))
    if float((one * other).mean()) < CORRELATION:
        return False
    side = SIDE // _TILES
    tiles = np.abs(one - other).mean(axis=2).reshape(_TILES, side, _TILES, side).mean(axis=(1, 3))
    return float(tiles.max()) <= TILE


def _within(rows: list[int], thumbnails: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    """Links among images of one hash: each to the first earlier one that it is like, among those that are unlike each other."""
    unlike: list[int] = []
    links = []
    for row in rows:
        like = next((first for first in unlike if alike(thumbnails[first], thumbnails[row])), None)
        if like is None:
            unlike.append(row)
        else:
            links.append((like, row))
    return links


def _between(rows: list[int], others: list[int], thumbnails: Mapping[int, np.ndarray]) -> list[tuple[int, int]]:
    return [(row, other) for row in rows for other in others if alike(thumbnails[row], thumbnails[other])]
