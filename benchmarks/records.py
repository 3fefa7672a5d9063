"""Converting images: decode, fit to 384 pixels and encode, against the notebooks' way (Pillow:
open, convert, resize, save).

    python benchmarks/records.py

The photographs are the two that scikit-learn ships, enlarged where a size asks for it; that makes
them smoother than real ones of that size, so that the signal-to-noise ratios of the enlarged ones
flatter."""

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

from components.records.images.decode import decoding
from components.records.images.resize import fitted

SIZE = 384
ROUNDS = 5


def photographs(width: int, height: int) -> list[bytes]:
    """Two JPEGs of that size at quality 92, as a camera might leave them."""
    pictures = [
        cv2.resize(load_sample_image(name), (width, height), interpolation=cv2.INTER_CUBIC)
        for name in ("china.jpg", "flower.jpg")
    ]
    return [
        simplejpeg.encode_jpeg(picture, quality=92, colorsubsampling="420") for picture in pictures
    ]


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
    Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=95
    )
    return stream.getvalue()


def milliseconds(way: Callable[[bytes], object], images: list[bytes], least: int = 8) -> float:
    """Processor time an image, of this process and all its threads."""
    started = time.process_time()
    for number in range(least):
        way(images[number % len(images)])
    return 1000 * (time.process_time() - started) / least


def noise(data: bytes) -> float:
    """Peak signal-to-noise ratio of our pixels against those of a full-size decode, in decibels."""
    full = fitted(
        simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), SIZE, "stretch"
    ).astype(float)
    here = _pixels(data).astype(float)
    error = float(((full - here) ** 2).mean())
    return 10 * np.log10(255**2 / error) if error else float("inf")


def decoders(data: bytes, fraction: int) -> dict[str, Callable[[], np.ndarray]]:
    """Ways to decode a JPEG, whole and at one over `fraction` of its size."""
    reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[fraction]
    buffer = np.frombuffer(data, np.uint8)
    width, height = Image.open(io.BytesIO(data)).size
    small = {"min_width": width // fraction, "min_height": height // fraction}

    def draft() -> np.ndarray:
        image = Image.open(io.BytesIO(data))
        image.draft("RGB", (width // fraction, height // fraction))
        return np.asarray(image)

    return {
        "Pillow": lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
        "OpenCV": lambda: cv2.imdecode(buffer, cv2.IMREAD_COLOR),
        "simplejpeg": lambda: simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False),
        f"Pillow, draft 1/{fraction}": draft,
        f"OpenCV, reduced 1/{fraction}": lambda: cv2.imdecode(buffer, reduced),
        f"simplejpeg, 1/{fraction}": lambda: simplejpeg.decode_jpeg(
            data, fastdct=False, fastupsample=True, **small
        ),
    }


def resizers(pixels: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Ways to shrink."""
    image = Image.fromarray(pixels)
    return {
        "Pillow, bicubic": lambda: np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)),
        "Pillow, box": lambda: np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)),
        "OpenCV, INTER_AREA": lambda: cv2.resize(
            pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA
        ),
        "ours, by halves": lambda: fitted(pixels, SIZE, "stretch"),
    }


def table_of_parts() -> None:
    """What the decoder and the resizer were chosen by."""
    print("\n## Decoders and resizers\n")
    print("PyTurboJPEG needs a newer libjpeg-turbo than Debian 12 has, and was left out.\n")
    print("| way | source | ms |")
    print("| --- | --- | ---: |")
    for width, height, fraction in ((4000, 3000, 4), (1024, 768, 2)):
        data = photographs(width, height)[0]
        half = np.ascontiguousarray(simplejpeg.decode_jpeg(data)[: height // 2, : width // 2])
        groups = (
            (f"{width} × {height}", decoders(data, fraction)),
            (f"to {SIZE} from {half.shape[1]} × {half.shape[0]}", resizers(half)),
        )
        for source, ways in groups:
            rounds = [
                {
                    name: milliseconds(lambda _, way=way: way(), [b""], 5)
                    for name, way in ways.items()
                }
                for _ in range(ROUNDS)
            ]
            for name in ways:
                print(
                    f"| {name} | {source} | {statistics.median(one[name] for one in rounds):.2f} |"
                )


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
    print(
        "| source | ms an image, ours | ms, Pillow | times faster | PSNR against full-size"
        " decoding |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for width, height in ((4000, 3000), (2048, 1536), (1024, 768), (640, 424)):
        images = photographs(width, height)
        pairs = [
            (milliseconds(ours, images), milliseconds(notebooks, images)) for _ in range(ROUNDS)
        ]
        here, there = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        print(
            f"| {width} × {height} | {here:.1f} | {there:.1f} | {ratio:.1f} |"
            f" {min(map(noise, images)):.1f} dB |"
        )
    table_of_parts()
    gains = [two_threads(photographs(1024, 768)) for _ in range(ROUNDS)]
    print(
        f"\n## Two threads\n\nOn {os.cpu_count()} cores: {statistics.median(gains):.2f} times one"
        " (1024 × 768)."
    )


if __name__ == "__main__":
    main()
