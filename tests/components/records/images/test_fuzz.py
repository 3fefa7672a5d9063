"""Mutated files of many formats, for a minute and within a limit of memory: each one is an image or
a bad one, and nothing else happens."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SECONDS, MEMORY = 60, 3 * 2**30

CHILD = """
import io, random, resource, sys, time, warnings
import cv2
import numpy as np
from PIL import Image
from components.records.images.decode import BadImage, decoding

warnings.simplefilter("ignore")
seconds, memory = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(7)
pixels = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
pixels[10:30, 10:40] = 200
image = Image.fromarray(pixels)
SAVED = {
    "jpeg": ("RGB", "JPEG", {}), "progressive": ("RGB", "JPEG", {"progressive": True}),
    "cmyk": ("CMYK", "JPEG", {}), "png": ("RGB", "PNG", {}), "palette": ("P", "PNG", {}),
    "grey alpha": ("LA", "PNG", {}), "gif": ("P", "GIF", {}), "bmp": ("RGB", "BMP", {}),
    "tiff": ("RGB", "TIFF", {}), "lzw": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "deflate": ("RGB", "TIFF", {"compression": "tiff_deflate"}),
    "jpeg in tiff": ("RGB", "TIFF", {"compression": "jpeg"}), "webp": ("RGB", "WEBP", {}),
    "lossless webp": ("RGBA", "WEBP", {"lossless": True}), "avif": ("RGB", "AVIF", {}),
    "jpeg 2000": ("RGB", "JPEG2000", {}), "ico": ("RGBA", "ICO", {}), "icns": ("RGBA", "ICNS", {}),
    "ppm": ("RGB", "PPM", {}), "tga": ("RGB", "TGA", {}), "pcx": ("RGB", "PCX", {}),
    "sgi": ("RGB", "SGI", {}), "dds": ("RGB", "DDS", {}), "im": ("RGB", "IM", {}),
    "dib": ("RGB", "DIB", {}),
}
WHOLE = {}
for name, (mode, kind, options) in SAVED.items():
    stream = io.BytesIO()
    image.convert(mode).save(stream, kind, **options)
    WHOLE[name] = stream.getvalue()
WHOLE["deep"] = cv2.imencode(".png", pixels.astype(np.uint16) * 16)[1].tobytes()
WHOLE["deep grey"] = cv2.imencode(".png", pixels[:, :, 0].astype(np.uint16) * 16)[1].tobytes()
WHOLE["deep tiff"] = cv2.imencode(".tiff", pixels.astype(np.uint16) * 16)[1].tobytes()


def mutated(data):
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(min(len(changed), chance.choice((64, 256, len(changed)))))
        kind = chance.randrange(5)
        if kind == 0:
            changed[place] = chance.randrange(256)
        elif kind == 1:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del changed[place : place + chance.choice((1, 2, 8, len(changed) // 2))]
        elif kind == 3:
            large = b"\\x7f\\xff\\xff\\xff"
            changed[place : place + 4] = chance.choice((b"\\xff" * 4, bytes(4), large))
        else:
            other = chance.choice(list(WHOLE.values()))
            start = chance.randrange(len(other))
            changed[place:place] = other[start : start + chance.randrange(64)]
        if not changed:
            break
    return bytes(changed)


def tried(name, data):
    try:
        with decoding(data, side=32, max_pixels=2_000_000, white_level=65535) as found:
            assert found.pixels.dtype == np.uint8 and found.pixels.ndim == 3, name
            assert found.pixels.size <= 3 * 2_000_000, name
            return True
    except BadImage as error:
        assert str(error), name
        return False


for name, data in WHOLE.items():
    assert tried(name, data), f"{name} is an image"
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
good = bad = 0
ends = time.monotonic() + seconds
while time.monotonic() < ends:
    for name, data in WHOLE.items():
        if tried(name, mutated(data)):
            good += 1
        else:
            bad += 1
print(len(WHOLE), good, bad)
"""


@pytest.mark.acceptance
def test_no_mutated_file_stops_a_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(SECONDS), str(MEMORY)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    formats, good, bad = map(int, done.stdout.split())
    assert formats >= 20
    assert good > 100
    assert bad > 1000
