"""Find near-duplicate images: the same picture saved again, resized, or made a little brighter.

Candidates are pairs whose perceptual hashes differ in at most `DISTANCE` of 64 bits; each is then
verified on the pixels of the stored images: as a whole, and in their details
(`components/folds/detail.py`). All pairs within that distance are found: if two hashes
differ in at most five bits, then at least one of three bands of them differs in at most one bit.
So for each of the three bands, the hashes are sorted by the band, and each is looked up as it is
and with each bit of the band flipped (multi-index hashing: Norouzi, Punjani and Fleet, Fast Search
in Hamming Space with Multi-Index Hashing, CVPR 2012). Time grows as n log n, plus the pairs that
agree by chance, n² / 60,000 of them, plus the pairs that really look alike, as scans of one form
do.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import csgraph

from components.folds import detail
from components.parallel import in_order
from trainer.artifacts.jpeg import decode
from trainer.artifacts.records import check_id, decode_example, read_shard
from trainer.errors import DataError

DISTANCE = 5
_BANDS = ((0, 22), (22, 21), (43, 21))
# Pairs of hashes, and of thumbnails, to compare at once.
_CHUNK = 1 << 22
_PAIRS = 1 << 11
# If there are more candidates than this, all images look alike.
_MOST = 5_000_000
# If more pairs than this look alike, their details are not compared: it would take minutes.
_MOST_DETAILED = 500_000
# If more pairs than this look alike, cropped copies are not aligned.
_MOST_ALIGNED = 20_000
# Pairs whose details a thread compares at once.
_AT_ONCE = 64
# Side of the thumbnails that are compared: finer detail does not survive being saved again. The
# thresholds were chosen on photographs, emoji and digits: of the pairs of different digits, which
# look much alike, one in 12 million passes.
SIDE = 32
CORRELATION = 0.95
# Largest difference of any of 8 by 8 tiles, in standard deviations: rejects pairs of which only one
# has some mark or a mouth.
TILE = 0.40
_TILES = 8
# In levels: an image with a smaller deviation is flat; with a smaller channel spread it is grey.
_FLAT = 1.0
_GREY = 3.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def near_duplicates(
    examples: pd.DataFrame, root: str | Path, about: Mapping[str, Any]
) -> np.ndarray:
    """Find the images that are near-duplicates of each other.

    Args:
        examples: n rows of the examples table.
        root: the folder that the shards are below.
        about: the manifest of the records.

    Returns:
        (pairs, 2) sha256 digests, each pair once. Byte-identical images count as one image here.

    Raises:
        DataError: most images look alike to the hash, and comparing their pixels would take too
            long.
    """
    first = np.unique(examples["sha256"].to_numpy(dtype=str), return_index=True)[1]
    unique_images = examples.iloc[np.sort(first)].reset_index(drop=True)
    hashes, code = np.unique(unique_images["phash"].to_numpy(dtype=np.uint64), return_inverse=True)
    pairs = _candidates(hashes, code)
    involved = np.unique(pairs)
    thumbnails = np.empty((len(involved), SIDE, SIDE, 3), np.uint8)
    _read(unique_images.iloc[involved], root, about, thumbnail, thumbnails)
    indices = np.searchsorted(involved, pairs)
    passed = [
        alike(thumbnails[chunk[:, 0]], thumbnails[chunk[:, 1]])
        for chunk in (indices[start : start + _PAIRS] for start in range(0, len(indices), _PAIRS))
    ]
    near = pairs[np.concatenate([np.empty(0, dtype=bool), *passed])]
    if min(about["sizes"]) >= detail.LEAST and 0 < len(near) <= _MOST_DETAILED:
        near = _same_in_detail(near, unique_images, root, about)
    return unique_images["sha256"].to_numpy(dtype=str)[near]


def _same_in_detail(
    pairs: np.ndarray, images: pd.DataFrame, root: str | Path, about: Mapping[str, Any]
) -> np.ndarray:
    """Return the pairs, (k, 2) row numbers of `images`, that have no local difference."""
    involved = np.unique(pairs)
    side = min(detail.SIDE, *about["sizes"])
    greys = np.empty((len(involved), side, side), np.uint8)
    _read(images.iloc[involved], root, about, lambda data: detail.grey(_pixels(data)), greys)
    places = np.searchsorted(involved, pairs)
    same = in_order(
        lambda chunk: [
            detail.same_in_detail(greys[one], greys[other], align=len(pairs) <= _MOST_ALIGNED)
            for one, other in chunk
        ],
        (places[start : start + _AT_ONCE].tolist() for start in range(0, len(places), _AT_ONCE)),
    )
    return pairs[[value for chunk in same for value in chunk]]


def _candidates(hashes: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return the pairs of images whose hashes are equal or similar, (pairs, 2) int64 indices.

    Args:
        hashes: (h,) uint64, the distinct hashes.
        code: (n,) for each image, the index of its hash.

    Raises:
        DataError: there are too many pairs to compare.
    """
    rows = np.argsort(code, kind="stable")
    counts = np.bincount(code)
    starts = np.cumsum(counts) - counts
    left, right = similar(hashes)
    left, right = (np.concatenate([side, np.flatnonzero(counts > 1)]) for side in (left, right))
    sizes = counts[left] * counts[right]
    total = int(np.where(left == right, sizes - counts[left], 2 * sizes).sum()) // 2
    if total > _MOST:
        raise DataError(
            f"{total:,} pairs of images have similar perceptual hashes, too many to compare: if all"
            " images look alike, set folds.duplicates = 'identical'"
        )
    which = np.repeat(np.arange(len(left)), sizes)
    within = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = rows[starts[left[which]] + within // counts[right[which]]]
    second = rows[starts[right[which]] + within % counts[right[which]]]
    # Images that share a hash yield each pair twice, and each image paired with itself.
    keep = (left[which] != right[which]) | (first < second)
    return np.stack([first[keep], second[keep]], axis=1)


def linked(digests: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Return which of some images belong together, by links among them over any number of steps.

    Args:
        digests: (n,) sha256 digests.
        links: (pairs, 2) sha256 digests; links to other images are ignored.

    Returns:
        (n,) texts: the same for images that belong together, "" for one that has no link.
    """
    distinct, code = np.unique(digests.astype(str), return_inverse=True)
    ends = np.searchsorted(distinct, links)
    ends = np.minimum(ends, max(0, len(distinct) - 1))
    inside = (
        (distinct[ends] == links).all(axis=1)
        if len(distinct) and len(links)
        else np.zeros(len(links), dtype=bool)
    )
    left, right = ends[inside].reshape(-1, 2).T
    graph = sparse.coo_matrix(
        (np.ones(len(left), dtype=bool), (left, right)), shape=(len(distinct), len(distinct))
    )
    component = csgraph.connected_components(graph, directed=False)[1]
    several = np.bincount(component)[component] > 1 if len(distinct) else np.zeros(0, dtype=bool)
    return np.where(several, component.astype(str), "")[code]


def similar(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of distinct hashes that differ in at most `DISTANCE` bits.

    Args:
        hashes: (n,) uint64, each once.

    Returns:
        two (pairs,) int64 arrays of indices, left below right, sorted, each pair once.
    """
    agreeing = [
        np.stack([left, right])
        for first_bit, bits in _BANDS
        for left, right in _agreeing(
            hashes, (hashes >> np.uint64(first_bit)) & np.uint64((1 << bits) - 1), bits
        )
    ]
    pairs = np.unique(np.concatenate([np.empty((2, 0), dtype=np.int64), *agreeing], axis=1), axis=1)
    return pairs[0], pairs[1]


def _agreeing(
    hashes: np.ndarray, band: np.ndarray, bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs that differ in at most one bit of a band and in at most `DISTANCE` bits overall.

    Args:
        hashes: (n,) uint64, each once.
        band: (n,) uint64, the bits of the band of each hash.
        bits: the width of the band in bits.

    Yields:
        two (pairs,) int64 arrays of indices, left below right.
    """
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    for flip in [0, *(1 << bit for bit in range(bits))]:
        probe = band ^ np.uint64(flip)
        start, end = (
            np.searchsorted(ordered, probe, "left"),
            np.searchsorted(ordered, probe, "right"),
        )
        counts = end - start
        # Process rows in runs whose pairs fit into memory.
        runs = np.flatnonzero(np.diff(np.cumsum(counts) // _CHUNK, prepend=-1))
        for first, last in zip(runs, [*runs[1:], len(hashes)], strict=True):
            size = counts[first:last]
            left = np.repeat(np.arange(first, last), size)
            within = np.arange(len(left)) - np.repeat(np.cumsum(size) - size, size)
            right = order[np.repeat(start[first:last], size) + within]
            keep = left < right
            left, right = left[keep], right[keep]
            near = np.bitwise_count(hashes[left] ^ hashes[right]) <= DISTANCE
            yield left[near], right[near]


def _read(
    examples: pd.DataFrame,
    root: str | Path,
    about: Mapping[str, Any],
    shrink: Callable[[bytes], np.ndarray],
    out: np.ndarray,
) -> None:
    """Write what `shrink` makes of the JPEG of each row of `examples`, in the smallest size, to
    `out`: (rows, …) uint8."""
    size = min(about["sizes"])
    shards, rows = examples[f"shard_{size}"].tolist(), examples[f"row_{size}"].tolist()
    rows_with_ids = enumerate(zip(shards, rows, examples["id"], strict=True))
    positions = {(shard, row): (index, id_) for index, (shard, row, id_) in rows_with_ids}

    def payloads() -> Iterator[tuple[int, bytes]]:
        for shard in sorted(set(shards)):
            for number, payload in enumerate(read_shard(Path(root) / shard)):
                if (shard, number) in positions:
                    index, id_ = positions[shard, number]
                    features = decode_example(payload)
                    check_id(features, about, id_, f"{shard}: record {number}")
                    yield index, features[about["image_feature"]]  # type: ignore[misc]  # bytes, by the record schema

    for index, image in in_order(lambda entry: (entry[0], shrink(entry[1])), payloads()):
        out[index] = image


def _pixels(data: bytes) -> np.ndarray:
    """Return the (height, width, 3) uint8 RGB pixels of a JPEG."""
    return decode(data, "RGB")[0]


def thumbnail(data: bytes) -> np.ndarray:
    """Return a (32, 32, 3) uint8 RGB thumbnail of a JPEG."""
    pixels = _pixels(data)
    interpolation = cv2.INTER_AREA if min(pixels.shape[:2]) >= SIDE else cv2.INTER_LINEAR
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=interpolation)


def alike(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return whether pairs of thumbnails show the same picture, at any brightness and contrast.

    Flat thumbnails are alike if their colour is the same. If one of a pair is grey, both are
    compared as grey.

    Args:
        ones: (n, 32, 32, 3) uint8, the first of each pair.
        others: (n, 32, 32, 3) uint8, the second of each pair.

    Returns:
        (n,) bool.
    """
    first, second = (
        images.reshape(len(images), SIDE * SIDE * 3).astype(np.float32) for images in (ones, others)
    )
    means, deviations = zip(*(_moments(images) for images in (first, second)), strict=True)
    covariance = np.einsum("ni,ni->n", first, second) / first.shape[1] - means[0] * means[1]
    flat = [deviation < _FLAT for deviation in deviations]
    grey = [_spread(images) < _GREY for images in (ones, others)]
    # Most pairs end here: they do not correlate, and would not as grey either, unless only one of
    # the two is grey.
    likely = (covariance >= CORRELATION * deviations[0] * deviations[1]) | (grey[0] != grey[1])
    likely &= ~(flat[0] | flat[1])
    result = flat[0] & flat[1]
    colours = [images[result].mean(axis=(1, 2)) for images in (ones, others)]
    result[result] = np.abs(colours[0] - colours[1]).max(axis=1) <= _FLAT
    result[likely] = _same_picture(ones[likely], others[likely], (grey[0] | grey[1])[likely])
    return result


def _spread(images: np.ndarray) -> np.ndarray:
    """Return the (n,) mean spread of the channels of each image over its pixels, in levels."""
    red, green, blue = (images[..., channel] for channel in range(3))
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return apart.reshape(len(images), SIDE * SIDE).mean(axis=1)


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (n,) mean and the (n,) standard deviation of each row."""
    mean = images.mean(axis=1)
    return mean, np.sqrt(
        np.maximum(0, np.einsum("ni,ni->n", images, images) / images.shape[1] - mean * mean)
    )


def _same_picture(ones: np.ndarray, others: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Return whether pairs that are not flat correlate overall, and differ little in every tile.

    Args:
        ones: (n, 32, 32, 3) uint8, the first of each pair.
        others: (n, 32, 32, 3) uint8, the second of each pair.
        grey: (n,) bool: which pairs to compare as grey.

    Returns:
        (n,) bool.
    """
    first, second = (images.astype(np.float32) for images in (ones, others))
    for images in (first, second):
        images[grey] = (images[grey] @ _LUMA)[..., None]
        flattened = images.reshape(len(images), SIDE * SIDE * 3)
        flattened -= flattened.mean(axis=1, keepdims=True)
        flattened /= np.maximum(flattened.std(axis=1, keepdims=True), 1e-6)
    correlation = np.einsum("nhwc,nhwc->n", first, second) / (SIDE * SIDE * 3)
    side = SIDE // _TILES
    differences = (
        np.abs(first - second)
        .mean(axis=3)
        .reshape(-1, _TILES, side, _TILES, side)
        .mean(axis=(2, 4))
    )
    return (correlation >= CORRELATION) & (differences.max(axis=(1, 2)) <= TILE)
