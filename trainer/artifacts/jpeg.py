"""Decodes JPEGs strictly, but for faults that every other tool ignores, which are common.

libjpeg warns about bytes that belong to nothing, about an unknown revision of JFIF and about an
unknown number for the colours. Here they are removed, and the rest must decode without any warning.
Bytes that are left over after the last pixel may be padding, or the trace of a damage that no
decoder can see. A truncated file is refused, also where other decoders fill it up with grey.
"""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import simplejpeg

# libjpeg's messages (jerror.h): JWRN_EXTRANEOUS_DATA, JWRN_JFIF_MAJOR, JWRN_ADOBE_XFORM.
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_REVISION, _TRANSFORM = "unknown JFIF revision", "Unknown Adobe color transform"
# JWRN_BOGUS_PROGRESSION and JWRN_NOT_SEQUENTIAL: the parameters are odd, the data is complete.
_ODD_SCANS = ("Inconsistent progression sequence", "Invalid SOS parameters")
# Faults of one file that are removed, and places where one may be.
_MOST_FAULTS, _MOST_PLACES = 16, 32


def decode(data: bytes, colorspace: str, **options: Any) -> tuple[np.ndarray, str]:
    """Decode a JPEG by the accurate transform.

    Args:
        data: the bytes of the file.
        colorspace: of the result: RGB, GRAY or CMYK.
        options: further arguments of `simplejpeg.decode_jpeg`.

    Returns:
        (height, width, channels) uint8 pixels; and the faults that were ignored, "" if there are
        none.

    Raises:
        ValueError: the file is damaged, truncated, or not a JPEG.
    """
    options = {"fastdct": False, "fastupsample": False, **options}
    try:
        return simplejpeg.decode_jpeg(data, colorspace, **options), ""
    except ValueError as error:
        mended, faults, strict = _mended(data, colorspace, str(error))
    return simplejpeg.decode_jpeg(mended, colorspace, strict=strict, **options), faults


def size(data: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels, from the header.

    Raises:
        ValueError: as for `decode`.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        mended, _, strict = _mended(data, "RGB", str(error))
        height, width, _, _ = simplejpeg.decode_jpeg_header(mended, strict=strict)
    return width, height


def _mended(data: bytes, colorspace: str, message: str) -> tuple[bytes, str, bool]:
    """Return a file without its harmless faults, what they were, and whether it decodes strictly.

    Raises:
        ValueError: a fault is not harmless; the message is the decoder's.
    """
    faults: list[str] = []
    while message:
        if any(odd in message for odd in _ODD_SCANS) and _is_whole(data):
            return data, "; ".join([*faults, message]), False
        better = next(_mending(data, colorspace, message), None)
        if better is None or len(faults) == _MOST_FAULTS:
            raise ValueError(message)
        if message not in faults:
            faults.append(message)
        data, message = better
    return data, "; ".join(faults), True


def _mending(data: bytes, colorspace: str, message: str) -> Iterator[tuple[bytes, str]]:
    """Yield files without the fault in `message`, and what the decoder says about each."""
    for candidate in _without(data, colorspace, message):
        left = _fault(candidate, colorspace)
        if left != message:
            yield candidate, left


def _without(data: bytes, colorspace: str, message: str) -> Iterator[bytes]:
    if _REVISION in message and (place := data.find(b"JFIF\0")) >= 0:
        yield data[: place + 5] + b"\1\1" + data[place + 7 :]
    if _TRANSFORM in message and (place := data.find(b"Adobe")) >= 0:
        # 1 stands for YCbCr and 2 for YCCK, which is what decoders assume.
        assumed = b"\2" if colorspace == "CMYK" else b"\1"
        yield data[: place + 11] + assumed + data[place + 12 :]
    if found := _EXTRANEOUS.search(message):
        length, marker = int(found[1]), bytes([0xFF, int(found[2], 16)])
        end = len(data)
        for _ in range(_MOST_PLACES):
            end = data.rfind(marker, 0, end)
            if end < length:
                return
            yield data[: end - length] + data[end:]


def _fault(data: bytes, colorspace: str) -> str:
    """Return the first thing that the strict decoder does not like, "" if there is none."""
    try:
        # An eighth of the size: all data is read, and the pixels cost little.
        simplejpeg.decode_jpeg(data, colorspace, min_width=1, min_height=1)
    except ValueError as error:
        return str(error)
    return ""


def _is_whole(data: bytes) -> bool:
    """Return whether Pillow, which refuses truncated files, decodes a file."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
