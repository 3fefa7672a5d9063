import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from components.records.images.jpeg import encoded, is_plain_jpeg
from trainer.artifacts.jpeg import decode

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def saved(mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, "JPEG", **options)
    return stream.getvalue()


def oriented() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "data",
    [
        saved(),
        saved(quality=30),
        saved(subsampling=0),
        bytes(simplejpeg.encode_jpeg(PIXELS)),
        saved(comment=b"hello"),
    ],
    ids=["plain", "low quality", "full colours", "simplejpeg's", "with a comment"],
)
def test_baseline_colour_jpegs_pass(data: bytes) -> None:
    assert is_plain_jpeg(data)


@pytest.mark.parametrize(
    "data",
    [
        saved(progressive=True),
        saved("L"),
        saved("CMYK"),
        saved(exif=oriented()),
        saved(keep_rgb=True),
        saved()[:-2],
        saved()[:300],
        saved() + b"more",
        b"",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\0" * 40 + b"\xff\xd9",
        bytes(PIXELS),
    ],
    ids=[
        "progressive",
        "grey",
        "cmyk",
        "turned",
        "rgb",
        "no end",
        "cut",
        "more after",
        "empty",
        "nothing",
        "zeros",
        "noise",
    ],
)
def test_others_do_not(data: bytes) -> None:
    assert not is_plain_jpeg(data)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_stored_comes_back_nearly(channels: int) -> None:
    smooth = np.linspace(0, 255, 24 * 24 * channels).reshape(24, 24, channels).astype(np.uint8)
    back, _ = decode(encoded(smooth, 95), "GRAY" if channels == 1 else "RGB")
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).mean() < 4
    assert len(encoded(PIXELS, 95)) > len(encoded(PIXELS, 60))
