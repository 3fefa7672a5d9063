import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.records.images.resize import fitted

SIDES = st.integers(1, 60) | st.sampled_from([1, 500, 3000])


@settings(max_examples=60)
@given(
    SIDES,
    SIDES,
    st.integers(8, 40),
    st.sampled_from(["stretch", "crop", "pad"]),
    st.integers(0, 255),
)
def test_any_shape_becomes_square_and_a_plain_colour_stays(
    height: int, width: int, size: int, fit: str, value: int
) -> None:
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
    # Each halving step rounds.
    assert np.abs(fitted(image, 16, "stretch") - expected).max() <= 1


@pytest.mark.parametrize(
    "size",
    [
        (1000, 750),
        (1024, 768),
        (640, 427),
        (1300, 500),
        (90, 401),
        (2000, 90),
        (41, 40),
        (333, 334),
    ],
)
def test_shrinking_is_near_opencv_s_areas(size: tuple[int, int]) -> None:
    from sklearn.datasets import load_sample_image

    photograph = cv2.resize(
        np.asarray(load_sample_image("flower.jpg")), size, interpolation=cv2.INTER_AREA
    )
    for side in (40, 64, 90):
        if min(size) >= side:
            error = fitted(photograph, side, "stretch").astype(float) - cv2.resize(
                photograph, (side, side), interpolation=cv2.INTER_AREA
            )
            assert 10 * np.log10(255**2 / max((error**2).mean(), 1e-9)) > 36, (size, side)


def test_a_last_column_that_is_partly_filled_counts_as_much_as_it_is() -> None:
    # A ramp of 401 columns, halved: the last of the 201 columns covers one source column, not two.
    ramp = np.linspace(0, 250, 401)
    halved = np.append(ramp[:400].reshape(200, 2).mean(axis=1), ramp[400])
    image = np.repeat(np.rint(halved)[None, :, None], 40, axis=0).astype(np.uint8).repeat(3, axis=2)
    right = fitted(image, 40, "stretch", (200.5, 40))[0, :, 0]
    exact = [
        ramp[round(401 * place / 40) : round(401 * (place + 1) / 40)].mean() for place in range(40)
    ]
    assert np.abs(right - exact).max() < 1.5
    assert np.abs(fitted(image, 40, "stretch")[0, :, 0] - exact).max() < 2.5


def test_a_grey_image_keeps_its_axis() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    for fit in ("stretch", "crop", "pad"):
        for size in (14, 28, 32, 40):
            assert fitted(image, size, fit).shape == (size, size, 1)  # type: ignore[arg-type]


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
