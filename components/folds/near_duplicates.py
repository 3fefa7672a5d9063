"""Near-duplicate images: the same picture saved again, resized, or made a little brighter.

Candidates are pairs whose perceptual hashes differ in at most `DISTANCE` of 64 bits; each is then
verified on the pixels of the stored images. All pairs within that distance are found: if two hashes
differ in at most five bits, then of three bands of them at least one differs in at most one bit. So
three times, hashes are sorted by a band, and each is looked up as it is and with each bit of the
band flipped (multi-index hashing: Norouzi, Punjani and Fleet, Fast Search in Hamming Space with
Multi-Index Hashing, CVPR 2012). Time grows as n log n, by chance pairs, n² / 60,000 of them, and by
pairs that really look alike, as scans of one form do."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from scipy import sparse
from scipy.sparse import csgraph

from components.parallel import in_order
from trainer.artifacts.records import check_id, decode_example, read_shard
from trainer.errors import DataError

DISTANCE = 5
_BANDS = ((0, 22), (22, 21), (43, 21))
# Pairs of hashes, and of thumbnails, that are looked at at once.
_CHUNK = 1 << 22
_PAIRS = 1 << 11
# More candidates than these, and all images look alike.
_MOST = 5_000_000
# Thumbnails are compared, for what is finer does not survive being saved again. Chosen on
# photographs, emoji and digits: of pairs of different digits, which look much alike, one of 12
# million passes.
SIDE = 32
CORRELATION = 0.95
# Of 8 by 8 tiles, the one that differs most, in deviations: a mark or a mouth that only one of the
# two has.
TILE = 0.40
_TILES = 8
# Levels: with a smaller deviation an image is flat; with less between its channels it is grey.
_FLAT = 1.0
_GREY = 3.0
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def near_duplicates(
    examples: pd.DataFrame, root: str | Path, about: Mapping[str, Any]
) -> np.ndarray:
    """Which images are near-duplicates of each other.

    Args:
        examples: n rows of the examples table.
        root: the folder that the shards lie below.
        about: of the records' manifest.

    Returns:
        (pairs, 2) sha256 digests, each pair once. Byte-identical images are one image here.

    Raises:
        DataError: most images look alike to the hash, and comparing their pixels would take too
            long.
    """
    first = np.unique(examples["sha256"].to_numpy(dtype=str), return_index=True)[1]
    alone = examples.iloc[np.sort(first)].reset_index(drop=True)
    hashes, code = np.unique(alone["phash"].to_numpy(dtype=np.uint64), return_inverse=True)
    pairs = _candidates(hashes, code)
    wanted = np.unique(pairs)
    thumbnails = _thumbnails(alone.iloc[wanted], root, about)
    places = np.searchsorted(wanted, pairs)
    passed = [
        alike(thumbnails[chunk[:, 0]], thumbnails[chunk[:, 1]])
        for chunk in (places[start : start + _PAIRS] for start in range(0, len(places), _PAIRS))
    ]
    near = pairs[np.concatenate([np.empty(0, dtype=bool), *passed])]
    return alone["sha256"].to_numpy(dtype=str)[near]


def _candidates(hashes: np.ndarray, code: np.ndarray) -> np.ndarray:
    """(pairs, 2) int64 places of images whose hashes are equal or similar.

    Args:
        hashes: the distinct hashes. code: of each image, the place of its hash.
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
            f"{total:,} pairs of images have like perceptual hashes, which are too many to compare:"
            " where all images look alike, set folds.duplicates = 'identical'"
        )
    which = np.repeat(np.arange(len(left)), sizes)
    within = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    one = rows[starts[left[which]] + within // counts[right[which]]]
    other = rows[starts[right[which]] + within % counts[right[which]]]
    # Of images that share a hash every pair comes twice, and each with itself.
    keep = (left[which] != right[which]) | (one < other)
    return np.stack([one[keep], other[keep]], axis=1)


def linked(digests: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Which of some images belong together by links among them, over any number of steps.

    Args:
        digests: (n,) sha256.
        links: (pairs, 2) sha256; those to other images are left aside.

    Returns:
        (n,) texts: the same for images that belong together, "" for one that has no link.
    """
    known, code = np.unique(digests.astype(str), return_inverse=True)
    ends = np.searchsorted(known, links)
    ends = np.minimum(ends, max(0, len(known) - 1))
    inside = (
        (known[ends] == links).all(axis=1)
        if len(known) and len(links)
        else np.zeros(len(links), dtype=bool)
    )
    one, other = ends[inside].reshape(-1, 2).T
    graph = sparse.coo_matrix(
        (np.ones(len(one), dtype=bool), (one, other)), shape=(len(known), len(known))
    )
    component = csgraph.connected_components(graph, directed=False)[1]
    several = np.bincount(component)[component] > 1 if len(known) else np.zeros(0, dtype=bool)
    return np.where(several, component.astype(str), "")[code]


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
        for one, other in _agreeing(
            hashes, (hashes >> np.uint64(first_bit)) & np.uint64((1 << bits) - 1), bits
        )
    ]
    pairs = np.unique(np.concatenate([np.empty((2, 0), dtype=np.int64), *found], axis=1), axis=1)
    return pairs[0], pairs[1]


def _agreeing(
    hashes: np.ndarray, band: np.ndarray, bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs that agree in a band but for one bit at most, and differ in few bits overall."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    for flip in [0, *(1 << bit for bit in range(bits))]:
        probe = band ^ np.uint64(flip)
        start, end = (
            np.searchsorted(ordered, probe, "left"),
            np.searchsorted(ordered, probe, "right"),
        )
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


def _thumbnails(examples: pd.DataFrame, root: str | Path, about: Mapping[str, Any]) -> np.ndarray:
    """(n, 32, 32, 3) uint8 thumbnails of the rows of `examples`."""
    size = min(about["sizes"])
    shards, rows = examples[f"shard_{size}"].tolist(), examples[f"row_{size}"].tolist()
    named = enumerate(zip(shards, rows, examples["id"], strict=True))
    places = {(shard, row): (place, id_) for place, (shard, row, id_) in named}

    def payloads() -> Iterator[tuple[int, bytes]]:
        for shard in sorted(set(shards)):
            for number, payload in enumerate(read_shard(Path(root) / shard)):
                if (shard, number) in places:
                    place, id_ = places[shard, number]
                    features = decode_example(payload)
                    check_id(features, about, id_, f"{shard}: record {number}")
                    yield place, features[about["image_feature"]]  # type: ignore[misc]  # bytes, by the record schema

    found = np.empty((len(examples), SIDE, SIDE, 3), dtype=np.uint8)
    for place, image in in_order(lambda given: (given[0], thumbnail(given[1])), payloads()):
        found[place] = image
    return found


def thumbnail(jpeg: bytes) -> np.ndarray:
    """(32, 32, 3) uint8 RGB."""
    pixels = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
    how = cv2.INTER_AREA if min(pixels.shape[:2]) >= SIDE else cv2.INTER_LINEAR
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=how)


def alike(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether pairs of thumbnails show the same picture, at whatever brightness and contrast; flat
    ones, whether their colour is the same. Where one of the two is grey, both are compared as grey.

    Args:
        ones, others: (n, 32, 32, 3) uint8.

    Returns:
        (n,) bool.
    """
    one, other = (
        images.reshape(len(images), SIDE * SIDE * 3).astype(np.float32) for images in (ones, others)
    )
    means, deviations = zip(*(_moments(images) for images in (one, other)), strict=True)
    covariance = np.einsum("ni,ni->n", one, other) / one.shape[1] - means[0] * means[1]
    flat = [deviation < _FLAT for deviation in deviations]
    grey = [_spread(images) < _GREY for images in (ones, others)]
    # Most pairs end here: correlated they are not, and as grey they would be no more so, but where
    # one alone is.
    likely = (covariance >= CORRELATION * deviations[0] * deviations[1]) | (grey[0] != grey[1])
    likely &= ~(flat[0] | flat[1])
    result = flat[0] & flat[1]
    colours = [images[result].mean(axis=(1, 2)) for images in (ones, others)]
    result[result] = np.abs(colours[0] - colours[1]).max(axis=1) <= _FLAT
    result[likely] = _same_picture(ones[likely], others[likely], (grey[0] | grey[1])[likely])
    return result


def _spread(images: np.ndarray) -> np.ndarray:
    """(n,) how far the channels of each image are apart, a mean over its pixels."""
    red, green, blue = (images[..., channel] for channel in range(3))
    apart = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return apart.reshape(len(images), SIDE * SIDE).mean(axis=1)


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each row."""
    mean = images.mean(axis=1)
    return mean, np.sqrt(
        np.maximum(0, np.einsum("ni,ni->n", images, images) / images.shape[1] - mean * mean)
    )


def _same_picture(ones: np.ndarray, others: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Of pairs that are not flat, whether they correlate as a whole and differ little in every
    tile."""
    one, other = (images.astype(np.float32) for images in (ones, others))
    for images in (one, other):
        images[grey] = (images[grey] @ _LUMA)[..., None]
        flattened = images.reshape(len(images), SIDE * SIDE * 3)
        flattened -= flattened.mean(axis=1, keepdims=True)
        flattened /= np.maximum(flattened.std(axis=1, keepdims=True), 1e-6)
    correlation = np.einsum("nhwc,nhwc->n", one, other) / (SIDE * SIDE * 3)
    side = SIDE // _TILES
    differences = (
        np.abs(one - other).mean(axis=3).reshape(-1, _TILES, side, _TILES, side).mean(axis=(2, 4))
    )
    return (correlation >= CORRELATION) & (differences.max(axis=(1, 2)) <= TILE)
