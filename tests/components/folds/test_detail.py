import io

import cv2
import numpy as np
import pytest
from PIL import Image

from components.folds.detail import grey, same_in_detail


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[60:400, 100:440])


def saved(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


def stored(pixels: np.ndarray) -> np.ndarray:
    return grey(cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA))


COPIES = {
    "saved again": lambda image: saved(image, 40),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "brighter": lambda image: np.clip(image * 1.15, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.8).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255.0) ** 0.8).astype(np.uint8),
    "cropped": lambda image: image[4:-4, 4:-4],
    "cropped on one side": lambda image: image[:, 4:],
    "small and saved again": lambda image: saved(cv2.resize(image, (150, 150)), 60),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_the_same_in_every_detail(picture: np.ndarray, copy) -> None:  # type: ignore[no-untyped-def]
    assert same_in_detail(stored(picture), stored(copy(picture)))
    assert same_in_detail(stored(copy(picture)), stored(picture))


def test_a_scratch_or_a_thing_is_a_difference(picture: np.ndarray) -> None:
    scratched, parked = picture.copy(), picture.copy()
    cv2.line(scratched, (20, 10), (60, 40), (20, 20, 20), 3)
    cv2.rectangle(parked, (100, 250), (130, 270), (250, 200, 30), -1)
    for changed in (scratched, parked):
        noisy = changed + np.random.default_rng(0).normal(0, 4, changed.shape)
        other = stored(np.clip(noisy, 0, 255).astype(np.uint8))
        assert not same_in_detail(stored(picture), other)


def test_images_of_any_size_and_colour() -> None:
    black, white = (np.full((128, 128, 3), level, np.uint8) for level in (0, 255))
    assert same_in_detail(grey(black), grey(black))
    assert same_in_detail(grey(white), grey(white))
    assert grey(np.zeros((50, 50, 3), np.uint8)).shape == (50, 50)


def test_a_mark_on_white_paper_is_a_difference() -> None:
    for paper, ink in ((255, 0), (0, 255), (200, 0)):
        empty = np.full((128, 128, 3), paper, np.uint8)
        marked = empty.copy()
        marked[60:68, 40:60] = ink
        assert not same_in_detail(grey(empty), grey(marked))
