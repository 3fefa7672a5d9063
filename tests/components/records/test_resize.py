import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.resize import fitted

SIDES = st.integers(1, 60) | st.sampled_from([1, 500, 3000])


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(8, 40), st.sampled_from(["stretch", "crop", "pad"]), st.integers(0, 255))
def test_any_shape_becomes_square_and_a_plain_colour_stays(height: int, width: int, size: int, fit: str, value: int) -> None:
    image = np.full((height, width, 3), value, np.uint8)
    out = fitted(image, size, fit)  # type: ignore[arg-type]
    assert out.shape == (size, size, 3)
    assert out.dtype == np.uint8
    found = set(np.unique(out).tolist())
    assert found <= ({value, 0} if fit == "pad" else {value})
    assert value in found


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for fit in ("stretch", "crop", "pad"):
        np.testing.assert_array_equal(fitted(image, 32, fit), image)  # type: ignore[arg-type]


def test_shrinking_is_a_mean_over_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    expected = image.reshape(16, 4, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(fitted(image, 16, "stretch") - expected).max() <= 0.51


def test_a_crop_is_the_middle_and_a_pad_keeps_all() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :10] = (255, 0, 0)
    image[:, 10:30] = (0, 255, 0)
    image[:, 30:] = (0, 0, 255)
    assert (fitted(image, 20, "crop") == (0, 255, 0)).all()
    padded = fitted(image, 20, "pad")
    assert not padded[:5].any()
    assert not padded[15:].any()
    assert padded[10, 0].tolist() == [255, 0, 0]
    assert padded[10, 19].tolist() == [0, 0, 255]


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1)])
def test_a_thread_of_an_image_does_not_grow_out_of_bounds(shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 9, np.uint8)
    assert fitted(image, 64, "crop").shape == (64, 64, 3)
    padded = fitted(image, 64, "pad")
    assert (padded == 9).all(axis=2).sum() == 64
