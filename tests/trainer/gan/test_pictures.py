from pathlib import Path

import numpy as np
from PIL import Image

from trainer.gan import pictures


def test_a_grid_has_its_images_row_by_row() -> None:
    images = (
        np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((5, 4, 4, 3), np.uint8) * 10
    )
    whole = pictures.grid(images, columns=3)
    assert whole.shape == (8, 12, 3)
    assert [whole[row * 4, column * 4, 0] for row in range(2) for column in range(3)] == [
        0,
        10,
        20,
        30,
        40,
        0,
    ]


def test_small_images_are_enlarged_without_a_new_colour(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 1), dtype=np.uint8)
    pictures.write_png(tmp_path / "grey.png", picture, side=32)
    with Image.open(tmp_path / "grey.png") as image:
        assert (image.mode, image.size) == ("L", (128, 64))
        assert np.array_equal(np.asarray(image)[::2, ::2], picture[:, :, 0])
    pictures.write_png(tmp_path / "colour.png", np.repeat(picture, 3, axis=2), side=64)
    with Image.open(tmp_path / "colour.png") as image:
        assert (image.mode, image.size) == ("RGB", (64, 32))


def test_a_gif_shows_every_picture_and_the_last_one_longer(tmp_path: Path) -> None:
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.png")
        pictures.write_png(paths[-1], np.full((64, 64, 3), 60 * number, np.uint8), side=64)
    pictures.write_gif(tmp_path / "all.gif", paths)
    with Image.open(tmp_path / "all.gif") as image:
        assert image.n_frames == 4
        shown = []
        for number in range(4):
            image.seek(number)
            shown.append((image.convert("RGB").getpixel((5, 5)), image.info["duration"]))
    assert [colour for colour, _ in shown] == [(60 * number,) * 3 for number in range(4)]
    assert shown[-1][1] > shown[0][1] > 0
    before = (tmp_path / "all.gif").read_bytes()
    pictures.write_gif(tmp_path / "all.gif", paths)
    assert (tmp_path / "all.gif").read_bytes() == before


def test_a_way_between_latent_vectors_stays_as_far_out_as_they_are() -> None:
    first, last = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    way = pictures.between(first, last, steps=9)
    np.testing.assert_allclose(way[[0, -1]], [first, last], atol=1e-5)
    lengths = np.linalg.norm(way, axis=1)
    assert lengths.min() > 0.95 * min(np.linalg.norm(first), np.linalg.norm(last))
    turns = np.diff(way, axis=0)
    assert np.linalg.norm(turns, axis=1).std() < 0.1 * np.linalg.norm(turns, axis=1).mean()
    np.testing.assert_allclose(pictures.between(first, first, steps=3), [first] * 3, atol=1e-6)
