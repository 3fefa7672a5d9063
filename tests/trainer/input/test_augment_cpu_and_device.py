"""Test that augmenting on the host and on the device gives the same image."""

import os
import subprocess
import sys

import numpy as np
import pytest

from trainer.config.augment import Augment, AugmentChoice
from trainer.input import augment_cpu
from trainer.input.augment import AugmentParams, draw, epoch_draws

RECIPES = {
    "melanoma": Augment(
        distribution="normal",
        rotation=180,
        shear=2,
        zoom=0.125,
        shift=0.03,
        flip_horizontal=0.5,
        flip_vertical=0.5,
        hue=0.01,
        saturation=0.3,
        contrast=0.2,
        brightness=0.1,
        interpolation="nearest",
        fill="edge",
        cutmix=0.5,
    ),
    "bilinear": Augment(
        rotation=30,
        shear=10,
        zoom=0.3,
        shift=0.2,
        flip_horizontal=0.5,
        hue=0.1,
        erase=0.5,
        mixup=0.7,
    ),
    "crop": Augment(
        crop=21,
        quarter_turns=True,
        flip_vertical=0.5,
        one_of=[AugmentChoice(rotation=20), AugmentChoice(erase=1.0, contrast=0.4)],
    ),
    "nothing": Augment(),
}


def photographs(size: int, channels: int) -> np.ndarray:
    import cv2
    from sklearn.datasets import load_sample_images

    # Crops of two photographs, which have edges and flat areas.
    pieces = [
        cv2.resize(image[y : y + 200, x : x + 200], (size, size), interpolation=cv2.INTER_AREA)
        for image in load_sample_images().images
        for x in (0, 250, 400)
        for y in (50, 200)
    ]
    return np.stack(pieces)[..., :channels].copy()


def batch(name: str, size: int, channels: int) -> tuple[np.ndarray, AugmentParams, np.ndarray]:
    """Return stored images, their augmentation parameters and the host's result."""
    augment = RECIPES[name]
    images = photographs(size, channels)
    uniform = epoch_draws(augment, seed=3, epoch=1, rows=len(images))
    drawn = draw(augment, uniform, size=size, means=images.mean(axis=(1, 2)))
    side = augment.crop or size
    painted = np.empty((len(images), side, side, channels), np.uint8)
    for place, image in enumerate(images):
        augment_cpu.apply(image, drawn, place, augment, painted[place])
    return images, drawn, augment_cpu.mix(painted, drawn)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [32, 45])
@pytest.mark.parametrize("name", RECIPES)
def test_both_paths_give_the_same_image(name: str, size: int, channels: int) -> None:
    from keras import ops

    from trainer.input import augment_device

    augment = RECIPES[name]
    images, drawn, by_host = batch(name, size, channels)
    given = {field: ops.convert_to_tensor(getattr(drawn, field)) for field in augment_device.FIELDS}
    side = augment.crop or size
    painted = augment_device.apply(
        ops.convert_to_tensor(images), given, augment, side=side, mixing=True
    )
    by_device = np.asarray(ops.convert_to_numpy(painted))
    assert by_device.shape == by_host.shape
    difference = np.abs(by_device - by_host.astype(np.float32))
    # The host rounds to uint8 after moving, colouring and mixing; the colour map amplifies the
    # first of these roundings.
    assert (difference > 1.5).mean() < 1e-3
    assert difference.mean() < 0.5
    if name in ("nothing", "crop"):
        assert difference.max() < 1.2


def test_a_map_says_where_a_pixel_comes_from() -> None:
    image = photographs(9, 3)[0]
    drawn = draw(Augment(), np.full((1, 29), 0.5), size=9, means=np.zeros((1, 3)))
    moved = AugmentParams(**{**vars(drawn), "affine": np.array([[1, 0, 1, 0, 1, -2]], np.float32)})
    out = np.empty_like(image)
    augment_cpu.apply(image, moved, 0, Augment(), out)
    np.testing.assert_array_equal(out[2:, :-1], image[:-2, 1:])
    assert not out[:2].any()
    assert not out[:, -1].any()
    augment_cpu.apply(image, moved, 0, Augment(fill="edge"), out)
    np.testing.assert_array_equal(out[0, :-1], image[0, 1:])


def test_a_box_comes_from_the_partner_as_it_was_painted() -> None:
    augment = Augment(cutmix=1.0)
    images = photographs(16, 3)
    drawn = draw(
        augment,
        epoch_draws(augment, seed=0, epoch=0, rows=len(images)),
        size=16,
        means=images.mean(axis=(1, 2)),
    )
    joined = augment_cpu.mix(images, drawn)
    for place in range(len(images)):
        x0, y0, x1, y1 = drawn.box[place]
        expected = images[place].copy()
        expected[y0:y1, x0:x1] = images[drawn.partner[place]][y0:y1, x0:x1]
        np.testing.assert_array_equal(joined[place], expected)


@pytest.mark.acceptance
def test_jax_paints_as_tensorflow_does(tmp_path) -> None:  # type: ignore[no-untyped-def]
    code = """
import sys
import numpy as np
from tests.trainer.input.test_augment_cpu_and_device import RECIPES, batch
from keras import config, ops
from trainer.input import augment_device
made = []
for name in RECIPES:
    images, drawn, _ = batch(name, 33, 3)
    given = {field: ops.convert_to_tensor(getattr(drawn, field)) for field in augment_device.FIELDS}
    side = RECIPES[name].crop or 33
    images = ops.convert_to_tensor(images)
    painted = augment_device.apply(images, given, RECIPES[name], side=side, mixing=True)
    made.append(np.asarray(ops.convert_to_numpy(painted)))
np.savez(sys.argv[1] + "/" + config.backend(), *made)
"""
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    with np.load(tmp_path / "tensorflow.npz") as first, np.load(tmp_path / "jax.npz") as second:
        for name in first.files:
            np.testing.assert_allclose(first[name], second[name], atol=0.05)
