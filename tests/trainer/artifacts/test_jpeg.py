import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from trainer.artifacts.jpeg import decode, size

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


def saved(mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


WHOLE, PROGRESSIVE = saved(), saved(progressive=True)


def inserted(data: bytes, marker: bytes, extra: bytes) -> bytes:
    """Put bytes in front of the last occurrence of a marker."""
    place = data.rindex(marker)
    return data[:place] + extra + data[place:]


HARMLESS = {
    "JFIF 0.00": WHOLE.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"),
    "JFIF 2.10": WHOLE.replace(b"JFIF\0\1\1", b"JFIF\0\2\x0a"),
    "before a table": inserted(WHOLE, b"\xff\xdb", b"abcdef"),
    "before the end": inserted(WHOLE, b"\xff\xd9", bytes(range(1, 200))),
    "between scans": inserted(PROGRESSIVE, b"\xff\xc4", bytes(range(1, 100))),
    "several faults": inserted(
        inserted(WHOLE.replace(b"JFIF\0\1\1", b"JFIF\0\0\0"), b"\xff\xdb", b"abc"),
        b"\xff\xc0",
        b"defgh",
    ),
}
REFUSED = {
    "half": WHOLE[: len(WHOLE) // 2],
    "half with an end": WHOLE[: len(WHOLE) // 2] + b"\xff\xd9",
    "half of a progressive one": PROGRESSIVE[: len(PROGRESSIVE) // 2] + b"\xff\xd9",
    "no end": WHOLE[:-2],
    "harmless and half": HARMLESS["before a table"][: len(WHOLE) // 2] + b"\xff\xd9",
    "JFIF 0.00 and half": HARMLESS["JFIF 0.00"][: len(WHOLE) // 2] + b"\xff\xd9",
    "nothing": b"",
    "text": b"<html>",
}


@pytest.mark.parametrize("data", HARMLESS.values(), ids=HARMLESS)
def test_a_fault_that_other_tools_ignore_is_reported_and_no_hindrance(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        simplejpeg.decode_jpeg(data)
    pixels, fault = decode(data, "RGB")
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert "extraneous bytes" in fault or "JFIF" in fault
    assert size(data) == (48, 64)


def test_a_sound_file_has_no_fault() -> None:
    pixels, fault = decode(WHOLE, "RGB")
    assert (pixels.shape, fault, size(WHOLE)) == ((64, 48, 3), "", (48, 64))
    assert decode(saved("L"), "GRAY")[0].shape == (64, 48, 1)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_truncated_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data, "RGB")


def test_it_decodes_into_a_buffer_and_at_a_fraction() -> None:
    buffer = np.empty((64, 48, 3), np.uint8)
    decode(HARMLESS["before a table"], "RGB", buffer=buffer)
    np.testing.assert_array_equal(buffer, decode(WHOLE, "RGB")[0])
    small, _ = decode(HARMLESS["before the end"], "RGB", min_width=12, min_height=16)
    assert small.shape == (16, 12, 3)
