"""Converting images: decode, fit to 384 pixels and encode, against the notebooks' way (Pillow: open, convert, resize, save).

    python benchmarks/records.py

The photographs are the two that scikit-learn ships, enlarged where a size asks for it; that makes them smoother than real
ones of that size, so that the signal-to-noise ratios of the enlarged ones flatter.
"""

import io
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import simplejpeg
from PIL import Image
from sklearn.datasets import load_sample_image

from components.records.decode import decoding
from components.records.resize import fitted

SIZE = 384
ROUNDS = 5


def photographs(width: int, height: int) -> list[bytes]:
    """Two JPEGs of that size at quality 92, as a camera might leave them."""
    pictures = [
        cv2.resize(load_sample_image(name), (width, height), interpolation=cv2.INTER_CUBIC)
        for name in ("china.jpg", "flower.jpg")
    ]
    return [simplejpeg.encode_jpeg(picture, quality=92, colorsubsampling="420") for picture in pictures]


def _pixels(data: bytes) -> np.ndarray:
    with decoding(data, side=SIZE, max_pixels=100_000_000, exact=False) as (pixels, _, extent):
        return fitted(pixels, SIZE, "stretch", extent)


def ours(data: bytes) -> bytes:
    """The records step's way."""
    pixels = _pixels(data)
    return simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="420", fastdct=False)


def notebooks(data: bytes) -> bytes:
    """Pillow's."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def milliseconds(way: Callable[[bytes], bytes], images: list[bytes], least: int = 8) -> float:
    """Processor time an image, of this process and all its threads."""
    started = time.process_time()
    for number in range(least):
        way(images[number % len(images)])
    return 1000 * (time.process_time() - started) / least


def noise(data: bytes) -> float:
    """Peak signal-to-noise ratio of our pixels against those of a full-size decode, in decibels."""
    full = fitted(simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), SIZE, "stretch").astype(float)
    here = _pixels(data).astype(float)
    error = float(((full - here) ** 2).mean())
    return 10 * np.log10(255**2 / error) if error else float("inf")


def two_threads(images: list[bytes]) -> float:
    """How many times faster two threads are than one, by the clock."""
    work = images * 12
    seconds = []
    for workers in (1, 2):
        with ThreadPoolExecutor(workers) as pool:
            started = time.perf_counter()
            list(pool.map(ours, work))
            seconds.append(time.perf_counter() - started)
    return seconds[0] / seconds[1]


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    print(f"\n## Converting to {SIZE} × {SIZE}, against Pillow\n")
    print("| source | ms an image, ours | ms, Pillow | times faster | PSNR against full-size decoding |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for width, height in ((4000, 3000), (2048, 1536), (1024, 768), (640, 424)):
        images = photographs(width, height)
        pairs = [(milliseconds(ours, images), milliseconds(notebooks, images)) for _ in range(ROUNDS)]
        here, there = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(f"| {width} × {height} | {here:.1f} | {there:.1f} | {ratio:.1f} | {min(map(noise, images)):.1f} dB |")
    gains = [two_threads(photographs(1024, 768)) for _ in range(ROUNDS)]
    print(f"\nTwo threads on {os.cpu_count()} cores: {statistics.median(gains):.2f} times one (1024 × 768).")


if __name__ == "__main__":
    main()
