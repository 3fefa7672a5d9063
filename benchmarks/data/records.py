"""Benchmark converting a JPEG (decode, fit to 384 pixels, encode) against Pillow.

    python benchmarks/data/records.py

The baseline is the notebooks' way with Pillow: open, convert, resize, save. The photographs are the
two that scikit-learn ships, enlarged for the larger sources. Enlarged photographs are smoother than
real ones of that size, so their signal-to-noise ratios are optimistic.
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

from components.records.images.decode import decoding
from components.records.images.resize import fitted

SIZE = 384
ROUNDS = 5


def photographs(width: int, height: int) -> list[bytes]:
    """Return two JPEGs of width × height pixels at quality 92, as a camera might save them."""
    images = [
        cv2.resize(load_sample_image(name), (width, height), interpolation=cv2.INTER_CUBIC)
        for name in ("china.jpg", "flower.jpg")
    ]
    return [simplejpeg.encode_jpeg(image, quality=92, colorsubsampling="420") for image in images]


def _pixels(data: bytes) -> np.ndarray:
    with decoding(data, side=SIZE, max_pixels=100_000_000, exact=False) as (pixels, _, extent):
        return fitted(pixels, SIZE, "stretch", extent)


def ours(data: bytes) -> bytes:
    """Convert a JPEG as the records step does."""
    pixels = _pixels(data)
    return simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="420", fastdct=False)


def notebooks(data: bytes) -> bytes:
    """Convert a JPEG as the notebooks do, with Pillow."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=95
    )
    return stream.getvalue()


def milliseconds(convert: Callable[[bytes], object], images: list[bytes], calls: int = 8) -> float:
    """Return the processor time per image in ms, of this process and all its threads."""
    started = time.process_time()
    for number in range(calls):
        convert(images[number % len(images)])
    return 1000 * (time.process_time() - started) / calls


def psnr(data: bytes) -> float:
    """Return the peak signal-to-noise ratio in dB of our pixels against a full-size decode."""
    full = fitted(
        simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), SIZE, "stretch"
    ).astype(float)
    pixels = _pixels(data).astype(float)
    error = float(((full - pixels) ** 2).mean())
    return 10 * np.log10(255**2 / error) if error else float("inf")


def decoders(data: bytes, fraction: int) -> dict[str, Callable[[], np.ndarray]]:
    """Return the JPEG decoders to compare, by name: at full size and at 1/fraction of it."""
    reduced = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[fraction]
    buffer = np.frombuffer(data, np.uint8)
    width, height = Image.open(io.BytesIO(data)).size
    minimum_size = {"min_width": width // fraction, "min_height": height // fraction}

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
            data, fastdct=False, fastupsample=True, **minimum_size
        ),
    }


def resizers(pixels: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return the resizers to compare, by name; each shrinks `pixels` to SIZE."""
    image = Image.fromarray(pixels)
    return {
        "Pillow, bicubic": lambda: np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)),
        "Pillow, box": lambda: np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX)),
        "OpenCV, INTER_AREA": lambda: cv2.resize(
            pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA
        ),
        "Foldline, by halves": lambda: fitted(pixels, SIZE, "stretch"),
    }


def table_of_parts() -> None:
    """Print the comparison that the decoder and the resizer were chosen by."""
    print("\n## Decoders and resizers\n")
    print("PyTurboJPEG is left out: it needs a newer libjpeg-turbo than Debian 12 has.\n")
    print("| method | source | ms |")
    print("| --- | --- | ---: |")
    for width, height, fraction in ((4000, 3000, 4), (1024, 768, 2)):
        data = photographs(width, height)[0]
        crop = np.ascontiguousarray(simplejpeg.decode_jpeg(data)[: height // 2, : width // 2])
        groups = (
            (f"{width} × {height}", decoders(data, fraction)),
            (f"to {SIZE} from {crop.shape[1]} × {crop.shape[0]}", resizers(crop)),
        )
        for source, methods in groups:
            rounds = [
                {
                    name: milliseconds(lambda _, method=method: method(), [b""], 5)
                    for name, method in methods.items()
                }
                for _ in range(ROUNDS)
            ]
            for name in methods:
                print(f"| {name} | {source} | {statistics.median(ms[name] for ms in rounds):.2f} |")


def two_threads(images: list[bytes]) -> float:
    """Return how many times as fast two threads are as one, by wall-clock time."""
    work = images * 12
    seconds = []
    for workers in (1, 2):
        with ThreadPoolExecutor(workers) as pool:
            started = time.perf_counter()
            list(pool.map(ours, work))
            seconds.append(time.perf_counter() - started)
    return seconds[0] / seconds[1]


def main() -> None:
    """Print the tables."""
    cv2.setNumThreads(1)
    print(f"\n## Converting to {SIZE} × {SIZE}, against Pillow\n")
    print(
        "| source | Foldline, ms per image | Pillow, ms per image | speed-up | PSNR against"
        " full-size decoding |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for width, height in ((4000, 3000), (2048, 1536), (1024, 768), (640, 424)):
        images = photographs(width, height)
        pairs = [
            (milliseconds(ours, images), milliseconds(notebooks, images)) for _ in range(ROUNDS)
        ]
        our_ms, pillow_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
        speed_up = statistics.median(b / a for a, b in pairs)
        print(
            f"| {width} × {height} | {our_ms:.1f} | {pillow_ms:.1f} | {speed_up:.1f} |"
            f" {min(map(psnr, images)):.1f} dB |"
        )
    table_of_parts()
    speed_ups = [two_threads(photographs(1024, 768)) for _ in range(ROUNDS)]
    print(
        f"\n## Two threads\n\nOn {os.cpu_count()} cores, two threads are"
        f" {statistics.median(speed_ups):.2f} times as fast as one (1024 × 768)."
    )


if __name__ == "__main__":
    main()
