import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.folds.near_duplicates import (
    DISTANCE,
    _candidates,
    alike,
    linked,
    near_duplicates,
    similar,
    thumbnail,
)
from components.records.images.describe import perceptual_hash
from components.records.images.jpeg import encoded
from tests.support.tiny import digits
from trainer.artifacts import tables
from trainer.config.competition import Competition, Member
from trainer.config.data import Data
from trainer.config.output import Submission
from trainer.config.preparation import Records
from trainer.errors import DataError


def brute(hashes: np.ndarray) -> set[tuple[int, int]]:
    far = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return {(int(a), int(b)) for a, b in np.argwhere(far <= DISTANCE) if a < b}


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 300))
def test_all_pairs_within_the_distance_are_found_and_no_other(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**64, 40, dtype=np.uint64)
    hashes = centres[generator.integers(0, 40, count)]
    for _ in range(7):
        flip = generator.random(count) < 0.6
        hashes = np.where(
            flip,
            hashes ^ (np.uint64(1) << generator.integers(0, 64, count).astype(np.uint64)),
            hashes,
        )
    hashes = np.unique(hashes)
    left, right = similar(hashes)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == brute(hashes)
    assert len(left) == len(brute(hashes))


def test_runs_of_many_pairs_are_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.folds.near_duplicates._CHUNK", 50)
    hashes = np.unique(np.random.default_rng(0).integers(0, 2**12, 600).astype(np.uint64))
    left, right = similar(hashes)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == brute(hashes)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    """Return eight different crops of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_image

    whole = [np.asarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    return [
        np.ascontiguousarray(image[y : y + 210, x : x + 310])
        for image in whole
        for y in (0, 215)
        for x in (0, 325)
    ]


def saved(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


CHANGES = {
    "quality 40": lambda pixels: saved(pixels, 40),
    "half the size": lambda pixels: cv2.resize(
        pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    ),
    "brighter": lambda pixels: np.clip(pixels * 1.1, 0, 255).astype(np.uint8),
    "less contrast": lambda pixels: np.clip((pixels - 128.0) * 0.9 + 128, 0, 255).astype(np.uint8),
    "grey": lambda pixels: np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")),
}


def both_alike(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(alike(one[None], other[None])[0])


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_changed_copy_is_a_near_duplicate(photographs: list[np.ndarray], change: str) -> None:
    found = 0
    for pixels in photographs:
        other = np.ascontiguousarray(CHANGES[change](pixels))
        far = (perceptual_hash(pixels) ^ perceptual_hash(other)).bit_count()
        found += far <= DISTANCE and both_alike(
            *(thumbnail(encoded(image, 95)) for image in (pixels, other))
        )
    # One of eight may be missed: the search is a heuristic, and is documented as one.
    assert found >= 7


def test_different_images_are_not(photographs: list[np.ndarray]) -> None:
    thumbnails = [thumbnail(encoded(pixels, 95)) for pixels in photographs]
    assert not any(
        both_alike(a, b) for place, a in enumerate(thumbnails) for b in thumbnails[:place]
    )
    images, _ = digits(400)
    pairs = [thumbnail(encoded(image, 95)) for image in images]
    hashes = [perceptual_hash(image) for image in images]
    merged = sum(
        (hashes[a] ^ hashes[b]).bit_count() <= DISTANCE and both_alike(pairs[a], pairs[b])
        for a in range(400)
        for b in range(a)
    )
    # Digits of one class look much alike, especially at 8 by 8 pixels; of 79,800 pairs, at most
    # three may pass as copies.
    assert merged <= 3


def test_flat_images_are_compared_by_their_colour() -> None:
    def flat(*colour: int) -> np.ndarray:
        return thumbnail(encoded(np.full((16, 16, 3), colour, np.uint8), 95))

    assert both_alike(flat(90, 90, 90), flat(90, 90, 90))
    assert not both_alike(flat(90, 90, 90), flat(120, 120, 120))
    assert not both_alike(flat(90, 90, 90), flat(90, 90, 140))
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert not both_alike(flat(90, 90, 90), thumbnail(encoded(noise, 95)))


def test_sets_over_a_whole_competition(tmp_path: Path, photographs: list[np.ndarray]) -> None:
    from tests.support.tiny import converted

    # The first view appears three times, two of them byte-identical; the fourth appears three
    # times, one of them in test.
    train = [
        *photographs,
        CHANGES["half the size"](photographs[0]),
        CHANGES["quality 40"](photographs[3]),
        photographs[0],
    ]
    for split, images in (
        ("train", train),
        ("test", [CHANGES["brighter"](photographs[3]), np.rot90(photographs[1])]),
    ):
        (tmp_path / split).mkdir()
        for number, pixels in enumerate(images):
            Image.fromarray(np.ascontiguousarray(pixels)).save(
                tmp_path / split / f"{number:02}.png"
            )
    (tmp_path / "train.csv").write_text(
        "id,label\n" + "".join(f"{n:02},{'ab'[n % 2]}\n" for n in range(len(train)))
    )
    data = Data(
        source="files",
        root=str(tmp_path),
        train=str(tmp_path / "train.csv"),
        id="id",
        target="label",
        images="train/{id}.png",
        test_images="test/{id}.png",
    )
    file = Competition(
        name="x",
        task="multiclass",
        metric="accuracy",
        classes=["a", "b"],
        data=data,
        records=Records(sizes=[64, 96]),
        members=[Member(name="m", epochs=3)],
        submission=Submission(sample="s"),
    )
    folder = converted(file, tmp_path / "out")
    from trainer.artifacts.manifest import read_manifest

    examples = tables.read_examples(folder)
    links = near_duplicates(examples, folder, read_manifest(folder))
    train, test = (
        examples[examples["split"] == split]["sha256"].to_numpy(dtype=str)
        for split in ("train", "test")
    )
    near = linked(train, links)
    assert near[[1, 2, 4, 5, 6, 7]].tolist() == [""] * 6
    assert near[0] == near[8] == near[10] != ""
    assert near[3] == near[9] != ""
    assert near[0] != near[3]
    # The test image that resembles the fourth view links to both of its training images.
    assert {end for pair in links.tolist() for end in pair if test[0] in pair} >= {train[3]}
    assert test[1] not in links


def test_links_over_images_that_are_not_there_do_not_count() -> None:
    links = np.array([["a", "b"], ["b", "c"], ["d", "e"]])
    assert len(set(linked(np.array(["a", "b", "c", "x"]), links)[:3])) == 1
    # Without b, nothing connects a and c.
    assert linked(np.array(["a", "c", "x"]), links).tolist() == ["", "", ""]
    found = linked(np.array(["e", "a", "d", "e"]), links)
    assert found[0] == found[2] == found[3] != ""
    assert found[1] == ""
    assert linked(np.array(["a"]), np.empty((0, 2), dtype=str)).tolist() == [""]


def test_where_all_images_look_alike_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.folds.near_duplicates._MOST", 100)
    hashes = np.array([5, 7], dtype=np.uint64)
    # 10 and 5 images with similar hashes: 50 pairs between the two sets, and 45 and 10 within each.
    code = np.repeat([0, 1], [10, 5])
    with pytest.raises(
        DataError,
        match="105 pairs of images have similar perceptual hashes.*duplicates = 'identical'",
    ):
        _candidates(hashes, code)
    monkeypatch.setattr("components.folds.near_duplicates._MOST", 105)
    pairs = _candidates(hashes, code)
    assert len(pairs) == len({tuple(sorted(pair)) for pair in pairs.tolist()}) == 105
    assert (pairs[:, 0] != pairs[:, 1]).all()
