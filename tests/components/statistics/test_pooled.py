import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.statistics.pooled import by_size, pooled


def sums(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = images.astype(np.int64)
    return wide.sum(axis=(1, 2)), (wide**2).sum(axis=(1, 2))


@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 2**31))
def test_it_is_the_deviation_of_all_pixels_together(
    count: int, side: int, channels: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(
        0, 256, (count, side, side, channels), dtype=np.uint8
    )
    found = pooled(*sums(images), side * side)
    pixels = images.reshape(-1, channels).astype(np.float64)
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], pixels.std(axis=0), rtol=1e-9, atol=1e-9)
    assert (found["images"], found["pixels"]) == (count, len(pixels))


def test_sums_are_exact_where_floats_are_not() -> None:
    # 2**32 pixels of 255, and as many with one 254 instead: computing n Σx² - (Σx)² in floats would
    # lose the deviation.
    side = 2**32
    found = pooled(
        np.array([[255 * side], [255 * side - 1]]),
        np.array([[255**2 * side], [255**2 * side - 509]]),
        side,
    )
    n = 2 * side
    assert found["std"] == [pytest.approx(np.sqrt(n - 1) / n, rel=1e-12)]


def test_the_notebooks_mean_of_deviations_is_not_what_we_compute() -> None:
    images = np.stack([np.full((4, 4, 1), 0, np.uint8), np.full((4, 4, 1), 200, np.uint8)])
    assert np.mean([image.std() for image in images]) == 0
    assert pooled(*sums(images), 16)["std"] == [100.0]


def test_no_images_have_no_statistics() -> None:
    empty = np.empty((0, 3), dtype=np.int64)
    assert pooled(empty, empty, 16) == {"images": 0, "pixels": 0, "mean": None, "std": None}


def test_a_fold_is_left_out_of_its_own_statistics() -> None:
    generator = np.random.default_rng(0)
    images = {
        size: generator.integers(0, 256, (7, size, size, 3), dtype=np.uint8) for size in (4, 6)
    }
    table = pd.DataFrame({"split": ["train"] * 5 + ["test"] * 2})
    for size, pixels in images.items():
        table[f"sum_c_{size}"], table[f"sumsq_c_{size}"] = (list(value) for value in sums(pixels))
    # The fourth image is left out (-1), the fifth always trains (-2).
    fold = np.array([0, 1, 0, -1, -2])
    found = by_size(table, fold, [4, 6])
    for size, pixels in images.items():
        folds = found[str(size)]["folds"]
        assert set(folds) == {"0", "1"}
        for held_out, rows in (("0", [1, 4]), ("1", [0, 2, 4])):
            inside = pixels[rows].reshape(-1, 3).astype(np.float64)
            np.testing.assert_allclose(folds[held_out]["mean"], inside.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(folds[held_out]["std"], inside.std(axis=0), rtol=1e-12)
        np.testing.assert_allclose(
            found[str(size)]["splits"]["test"]["mean"],
            pixels[5:].reshape(-1, 3).mean(axis=0),
            rtol=1e-12,
        )
