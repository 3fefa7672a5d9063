from typing import Any

import numpy as np
import pytest

from trainer.gan import diffaugment

KINDS = ["color", "translation", "cutout"]
SIDE = 16


def images(count: int = 12, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, SIDE, SIDE, channels)).astype(np.float32)


def drawn(kinds: list[str], count: int = 12) -> dict[str, np.ndarray]:
    return diffaugment.draw(kinds, np.random.default_rng(1), images=count, side=SIDE)


def by_hand(image: np.ndarray, arrays: dict[str, Any], place: int, part: str) -> np.ndarray:
    """Augment one image step by step."""
    image = image.astype(np.float64)
    if f"color_{part}" in arrays:
        brightness, saturation, contrast = arrays[f"color_{part}"][place]
        image = image + brightness
        grey = image.mean(axis=2, keepdims=True)
        image = grey + (image - grey) * saturation
        image = image.mean() + (image - image.mean()) * contrast
    if f"translation_{part}" in arrays:
        down, across = arrays[f"translation_{part}"][place]
        moved = np.zeros_like(image)
        for row in range(SIDE):
            for column in range(SIDE):
                if 0 <= row - down < SIDE and 0 <= column - across < SIDE:
                    moved[row, column] = image[row - down, column - across]
        image = moved
    if f"cutout_{part}" in arrays:
        row, column = arrays[f"cutout_{part}"][place]
        top, left = row - SIDE // 4, column - SIDE // 4
        image[max(0, top) : max(0, top + SIDE // 2), max(0, left) : max(0, left + SIDE // 2)] = 0
    return image


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] + [KINDS], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_changed_as_was_drawn_for_it(kinds: list[str], channels: int) -> None:
    given, arrays = images(channels=channels), drawn(kinds)
    for part in diffaugment.PARTS:
        found = np.asarray(diffaugment.apply(given, arrays, part))
        for place, image in enumerate(given):
            np.testing.assert_allclose(found[place], by_hand(image, arrays, place, part), atol=2e-5)


def test_nothing_is_changed_where_nothing_is_named() -> None:
    given = images()
    assert drawn([]) == {}
    assert np.array_equal(diffaugment.apply(given, {}, "real"), given)


def test_bounds_are_those_of_the_paper() -> None:
    arrays = diffaugment.draw(KINDS, np.random.default_rng(2), images=5000, side=32)
    colour = arrays["color_real"]
    np.testing.assert_allclose(colour.min(axis=0), [-0.5, 0, 0.5], atol=0.01)
    np.testing.assert_allclose(colour.max(axis=0), [0.5, 2, 1.5], atol=0.01)
    assert (arrays["translation_first"].min(), arrays["translation_first"].max()) == (-4, 4)
    assert (arrays["cutout_second"].min(), arrays["cutout_second"].max()) == (0, 32)


def test_gradients_pass_to_every_pixel_that_is_seen() -> None:
    import tensorflow as tf

    arrays = drawn(["color", "translation", "cutout"])
    given = tf.Variable(images())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(diffaugment.apply(given, arrays, "first")))
    gradient = tape.gradient(loss, given).numpy()
    moved = diffaugment.apply(
        np.ones_like(images()),
        {name: arrays[name] for name in arrays if "color" not in name},
        "first",
    )
    # At least as many source pixels get a gradient as pixels of the result come from the source.
    seen = np.asarray(moved)[..., 0].sum(axis=(1, 2))
    assert ((gradient != 0).any(axis=3).sum(axis=(1, 2)) >= seen).all()
