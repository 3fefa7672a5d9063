"""Says what bytes are that are not an image, from how they start: for messages about files."""

import io
import json
import re

from PIL import TiffImagePlugin

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer in place of the file: run git lfs pull"),
    (b"\x89PNG\r\n", "a damaged or truncated PNG image"),
    (b"\xff\xd8\xff", "a damaged or truncated JPEG image"),
    (b"\x93NUMPY", "a NumPy array (.npy): save its images as PNG"),
    (b"\x89HDF", "an HDF5 file: save its images as PNG"),
    (b"SIMPLE  =", "a FITS file: save its images as PNG"),
    (b"PAR1", "a Parquet table"),
    (b"%PDF", "a PDF document: save its pages as PNG"),
    (b"%!PS", "an EPS or PostScript drawing, which has no pixels: save it as PNG"),
    (b"\xc5\xd0\xd3\xc6", "an EPS drawing, which has no pixels: save it as PNG"),
    (b"\xd7\xcd\xc6\x9a", "a WMF drawing, which has no pixels: save it as PNG"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\xff\x0a", "a JPEG XL image, which is not supported: convert it to PNG or JPEG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image, which is not supported: convert it to PNG or JPEG"),
    (b"\xd0\xcf\x11\xe0", "an old Microsoft Office document: save a table as CSV"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM): save its frames as images"),
    (b"OggS", "a sound or a video (Ogg)"),
    (b"ID3", "a sound (MP3)"),
    (b"FUJIFILM", "a camera's raw image: convert it to PNG or JPEG"),
)
# Brands of ISO media files (ISO/IEC 14496-12, section 4.3).
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_FORMATS = {1: "whole numbers", 2: "signed whole numbers", 3: "floating-point numbers"}
_COMPRESSIONS = {
    1: "no compression",
    2: "CCITT",
    3: "CCITT fax 3",
    4: "CCITT fax 4",
    5: "LZW",
    6: "old JPEG",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
}


def described(data: bytes) -> str:
    """Return what bytes are that no decoder knows, as the end of a sentence "it is …"."""
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data[128:132] == b"DICM":
        return "a DICOM file (.dcm): save its pixels as PNG, of 16 bits if it has more than 8"
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF:
            return "a HEIC image, which is not supported: convert it to JPEG or PNG"
        if data[8:12] in (b"avif", b"avis"):
            return "a damaged or truncated AVIF image"
        return "a video (MP4 or the like): save its frames as images"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "a damaged or truncated WebP image"
    if data[:4] == b"RIFF":
        return f"a {data[8:12].decode('latin-1').strip()} file in a RIFF container, not an image"
    if data[:4] in (b"PK\3\4", b"PK\5\6"):
        office = re.search(rb"(xl|word|ppt)/", data[:65536])
        if office:
            return "a Microsoft Office document: save a table as CSV, and images as files"
        return "a ZIP archive: unpack it first"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return f"a TIFF of a kind that cannot be read: {_tiff(data)}"
    return _text(data)


def _text(data: bytes) -> str:
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head[:1024].lower()
    if b"<svg" in lower:
        return "an SVG drawing, which has no pixels: save it as PNG"
    if lower.startswith((b"<!doctype html", b"<html")) or b"<html" in lower:
        return "an HTML page (an error message in place of a download?)"
    if lower.startswith(b"<"):
        return "an XML document (an error message in place of a download?)"
    if head[:1] in (b"{", b"["):
        try:
            json.loads(data)
        except ValueError:
            pass
        else:
            return "a JSON document"
    try:
        text = data[:4096].decode()
    except UnicodeDecodeError as error:
        # A character may be cut at the end.
        text = data[: error.start].decode() if error.start > 4090 else ""
    if text and all(character.isprintable() or character in "\t\r\n" for character in text):
        return f"a text that starts with {text[:40]!r}"
    return f"unknown; it starts with {data[:8]!r}"


def _tiff(data: bytes) -> str:
    """Return what the tags of a TIFF say about its pixels (TIFF 6.0, section 8)."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        bits = tags.get(258, (1,))
        bits = bits if isinstance(bits, tuple) else (bits,)
        kind = tags.get(339, (1,))
        kind = kind[0] if isinstance(kind, tuple) else kind
        samples, compression = tags.get(277, 1), tags.get(259, 1)
    # A directory that is damaged can make the parser fail in any way.
    except Exception as error:  # noqa: BLE001  # its message is passed on
        return f"its directory is damaged ({type(error).__name__}: {error})"
    return (
        f"{samples} values a pixel, {_FORMATS.get(kind, 'numbers of an unknown kind')} of"
        f" {'/'.join(map(str, bits[:5]))} bits, {_COMPRESSIONS.get(compression, compression)}:"
        " convert it to PNG"
    )
