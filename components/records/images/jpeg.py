"""Encode stored JPEGs, and recognise JPEGs that can be stored unchanged."""

import numpy as np
import simplejpeg


def encoded(pixels: np.ndarray, quality: int) -> bytes:
    """Encode pixels as a JPEG, with colour at half the resolution.

    Args:
        pixels: (height, width, 1) grey or (height, width, 3) RGB, uint8 in 0 to 255.
        quality: the JPEG quality, 1 to 100.

    Returns:
        the bytes of the JPEG.
    """
    if pixels.shape[2] == 1:
        return bytes(
            simplejpeg.encode_jpeg(
                pixels, quality=quality, colorspace="GRAY", colorsubsampling="Gray"
            )
        )
    return bytes(
        simplejpeg.encode_jpeg(
            pixels, quality=quality, colorspace="RGB", colorsubsampling="420", fastdct=False
        )
    )


def is_plain_jpeg(data: bytes) -> bool:
    """Return whether these bytes are a JPEG that every decoder shows alike.

    It can then be stored unchanged: a baseline JPEG with three components in YCbCr and without
    EXIF, which could rotate it. Markers follow ITU-T T.81, table B.1; the Adobe and JFIF segments
    declare what the components are.
    """
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        return False
    offset = 2
    while offset + 4 <= len(data):
        marker, length = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        segment = data[offset + 4 : offset + 2 + length]
        if data[offset] != 0xFF:
            return False
        if marker == 0xE1 and segment[:4] == b"Exif":
            return False
        if marker == 0xEE and segment[:5] == b"Adobe" and segment[11:12] != b"\x01":
            return False
        if marker == 0xC0:
            # 8-bit precision, and three components numbered 1, 2, 3; components numbered "R", "G",
            # "B" would be just these colours.
            return (
                len(segment) == 15
                and segment[0] == 8
                and segment[5] == 3
                and segment[6::3] == b"\x01\x02\x03"
            )
        if marker in (0xC1, 0xC2, 0xC3, 0xDA) or (
            0xC5 <= marker <= 0xCF and marker not in (0xC8, 0xCC)
        ):
            return False
        offset += 2 + length
    return False
