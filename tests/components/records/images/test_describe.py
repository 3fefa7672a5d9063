import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.images.describe import described, perceptual_hash, sums


def images(seed: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
def test_sums_are_exact(seed: int, height: int, width: int, channels: int) -> None:
    pixels = images(seed, height, width, channels)
    wide = pixels.astype(np.int64)
    assert sums(pixels) == (wide.sum(axis=(0, 1)).tolist(), (wide**2).sum(axis=(0, 1)).tolist())


@pytest.mark.parametrize("value", [0, 1, 254, 255])
@pytest.mark.parametrize("shape", [(2000, 1500, 3), (1, 4001, 3), (1024, 1024, 1)])
def test_sums_of_large_and_extreme_images_are_exact(
    shape: tuple[int, int, int], value: int
) -> None:
    pixels = np.full(shape, value, np.uint8)
    pixels[0, 0] = 7
    wide = pixels.astype(np.int64)
    assert sums(pixels) == (wide.sum(axis=(0, 1)).tolist(), (wide**2).sum(axis=(0, 1)).tolist())


def test_sums_of_a_view_that_is_not_contiguous() -> None:
    pixels = images(0, 40, 40, 3)[::2, 1:]
    wide = pixels.astype(np.int64)
    assert sums(pixels) == (wide.sum(axis=(0, 1)).tolist(), (wide**2).sum(axis=(0, 1)).tolist())


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 3]))
def test_any_image_has_a_hash_of_64_bits(seed: int, height: int, width: int, channels: int) -> None:
    found = perceptual_hash(images(seed, height, width, channels))
    assert 0 <= found < 2**64
    assert found == perceptual_hash(images(seed, height, width, channels))


def test_a_hash_is_the_signs_of_the_lowest_frequencies() -> None:
    from scipy.fft import dctn

    pixels = images(3, 32, 32, 1)
    low = dctn(pixels[:, :, 0].astype(np.float64), norm="ortho")
    kept = low[:8, :8].copy()
    kept[0, 0] = low[8, 0]
    expected = sum(1 << place for place, value in enumerate(kept.ravel()) if value > 0)
    assert perceptual_hash(pixels) == expected
    # A grey image with three channels has the same hash.
    assert perceptual_hash(pixels.repeat(3, axis=2)) == expected


def test_what_is_described() -> None:
    pixels = images(1, 16, 16, 3)
    made = described(pixels, b"abc")
    assert (made.bytes, made.sha256[:8], made.phash) == (3, "ba7816bf", perceptual_hash(pixels))
    assert (made.sum_c, made.sumsq_c) == sums(pixels)
