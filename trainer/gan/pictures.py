"""Pictures of samples: grids, interpolations, and how they came about."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.artifacts.manifest import atomic_write

# Rows of a grid of samples.
GRID_ROWS = 8
# The least side in pixels that an image is shown with.
_SHOWN = 64
_MILLISECONDS = 350
_LAST = 8


def frame_name(step: int) -> str:
    """The file name of the grid at a step: step00001250.png."""
    return f"step{step:08d}.png"


def grid(images: np.ndarray, *, columns: int) -> np.ndarray:
    """(rows · side, columns · side, channels) uint8 of (n, side, side, channels), row by row; what
    is left is black."""
    count, side, _, channels = images.shape
    rows = -(-count // columns)
    whole = np.zeros((rows * columns, side, side, channels), np.uint8)
    whole[:count] = images
    return (
        whole.reshape(rows, columns, side, side, channels)
        .swapaxes(1, 2)
        .reshape(rows * side, columns * side, channels)
    )


def write_png(path: str | Path, picture: np.ndarray, *, side: int) -> None:
    """A grid as a PNG, each pixel a square of whole pixels, so that small images can be seen.

    Args:
        side: of the images in it.
    """
    with atomic_write(path) as partial:
        _enlarged(picture, side).save(partial, format="PNG")


def write_gif(path: str | Path, pictures: Sequence[str | Path]) -> None:
    """PNGs one after the other, the last one longer."""
    opened = []
    for picture in pictures:
        with Image.open(picture) as image:
            # One palette a frame, without dithering, which would make still pixels flicker.
            opened.append(image.convert("RGB").quantize(256, dither=Image.Dither.NONE))
    with atomic_write(path) as partial:
        opened[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=opened[1:],
            duration=[_MILLISECONDS] * (len(opened) - 1) + [_LAST * _MILLISECONDS],
            loop=0,
        )


def between(first: np.ndarray, last: np.ndarray, *, steps: int) -> np.ndarray:
    """(steps, latent) float32 from one latent vector to another along the sphere, on which normal
    vectors nearly lie (White, arXiv:1609.04468, section 2.1.1)."""
    shares = np.linspace(0.0, 1.0, steps)[:, None]
    lengths = [np.linalg.norm(vector) for vector in (first, last)]
    angle = np.arccos(np.clip(first @ last / (lengths[0] * lengths[1]), -1.0, 1.0))
    if angle < 1e-6:
        return ((1 - shares) * first + shares * last).astype(np.float32)
    return (
        (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * last) / np.sin(angle)
    ).astype(np.float32)


def _enlarged(picture: np.ndarray, side: int) -> Image.Image:
    factor = max(1, -(-_SHOWN // side))
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
