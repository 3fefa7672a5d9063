"""Pictures of samples: grids, interpolations, and an animation of the training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.artifacts.manifest import atomic_write

# Rows of a grid of samples.
GRID_ROWS = 8
# The smallest side in pixels at which an image is shown.
_SHOWN = 64
# Duration of a frame; the last frame lasts _LAST times as long.
_MILLISECONDS = 350
_LAST = 8


def frame_name(step: int) -> str:
    """The file name of the grid at a step: step00001250.png."""
    return f"step{step:08d}.png"


def grid(images: np.ndarray, *, columns: int) -> np.ndarray:
    """Arrange images in a grid, row by row; the rest of the last row is black.

    Args:
        images: (n, side, side, channels) uint8.
        columns: images per row.

    Returns:
        (rows · side, columns · side, channels) uint8.
    """
    count, side, _, channels = images.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, side, side, channels), np.uint8)
    cells[:count] = images
    return (
        cells.reshape(rows, columns, side, side, channels)
        .swapaxes(1, 2)
        .reshape(rows * side, columns * side, channels)
    )


def write_png(path: str | Path, picture: np.ndarray, *, side: int) -> None:
    """Write a grid as a PNG, enlarged by a whole factor so that small images are visible.

    Args:
        path: the file to write.
        picture: (height, width, 1 or 3) uint8.
        side: side in pixels of the images in the grid.
    """
    with atomic_write(path) as partial:
        _enlarged(picture, side).save(partial, format="PNG")


def write_gif(path: str | Path, pictures: Sequence[str | Path]) -> None:
    """Write PNGs as an animation that shows the last one longer."""
    frames = []
    for picture in pictures:
        with Image.open(picture) as image:
            # One palette per frame. Dithering would make unchanged pixels flicker.
            frames.append(image.convert("RGB").quantize(256, dither=Image.Dither.NONE))
    with atomic_write(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=[_MILLISECONDS] * (len(frames) - 1) + [_LAST * _MILLISECONDS],
            loop=0,
        )


def between(first: np.ndarray, last: np.ndarray, *, steps: int) -> np.ndarray:
    """Interpolate between two latent vectors along the sphere, on which normal vectors nearly lie
    (White, arXiv:1609.04468, section 2.1.1).

    Args:
        first: (latent,).
        last: (latent,).
        steps: number of vectors, both ends included.

    Returns:
        (steps, latent) float32.
    """
    fractions = np.linspace(0.0, 1.0, steps)[:, None]
    lengths = [np.linalg.norm(vector) for vector in (first, last)]
    angle = np.arccos(np.clip(first @ last / (lengths[0] * lengths[1]), -1.0, 1.0))
    if angle < 1e-6:
        return ((1 - fractions) * first + fractions * last).astype(np.float32)
    return (
        (np.sin((1 - fractions) * angle) * first + np.sin(fractions * angle) * last) / np.sin(angle)
    ).astype(np.float32)


def _enlarged(picture: np.ndarray, side: int) -> Image.Image:
    factor = max(1, -(-_SHOWN // side))
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
