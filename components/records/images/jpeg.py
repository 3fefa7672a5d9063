"""An image as it is stored: its JPEG, and what the examples table says of its pixels."""

import numpy as np
import simplejpeg


def encoded(pixels: np.ndarray, quality: int) -> bytes:
    """(h, w, 1) grey or (h, w, 3) RGB uint8 -> JPEG, colours at half the resolution."""
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


def decoded(jpeg: bytes, channels: int) -> np.ndarray:
    """A stored JPEG -> (h, w, channels) uint8, by the accurate transforms, as the trainer decodes
    it.

    Raises:
        ValueError: it is no JPEG, or damaged.
    """
    colorspace = "GRAY" if channels == 1 else "RGB"
    return simplejpeg.decode_jpeg(jpeg, colorspace=colorspace, fastdct=False, fastupsample=False)


def is_plain_jpeg(data: bytes) -> bool:
    """Whether these bytes are a baseline JPEG of three components in YCbCr, with no word on how to
    turn it: one that every decoder shows alike, and that can be stored as it is.

    Markers are those of ITU-T T.81, table B.1; Adobe's segment and JFIF say what the components
    are."""
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        return False
    place = 2
    while place + 4 <= len(data):
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + length]
        if data[place] != 0xFF:
            return False
        if marker == 0xE1 and segment[:4] == b"Exif":
            return False
        if marker == 0xEE and segment[:5] == b"Adobe" and segment[11:12] != b"\x01":
            return False
        if marker == 0xC0:
            # Precision 8, three components numbered 1, 2, 3; numbered "R", "G", "B" they would be
            # just these.
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
        place += 2 + length
    return False
