import gzip
import io
import zipfile

import numpy as np
import pytest

from components.records.images.decode import BadImage, decoding
from components.records.images.kinds import described


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "x" * 100)
    return stream.getvalue()


def array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


KINDS = [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    (b"\0" * 128 + b"DICM" + b"\0" * 99, "a DICOM file"),
    (array(), "a NumPy array"),
    (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
    (b"\0\0\0\x18ftypmp42\0\0\0\0mp42", "a video"),
    (b'{"a": [1, 2]}', "a JSON document"),
    (zipped("xl/workbook.xml"), "a Microsoft Office document: save a table as CSV"),
    (zipped("a.png"), "a ZIP archive: unpack"),
    (gzip.compress(b"x"), "a gzip archive"),
    (b"%PDF-1.4", "a PDF document"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "an EPS or PostScript drawing"),
    (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    (b"<svg width='9'/>", "an SVG drawing"),
    (b"\xef\xbb\xbf<!DOCTYPE html><title>404", "an HTML page"),
    (b"<Error><Code>AccessDenied</Code></Error>", "an XML document"),
    (b"id,label\n1,cat\n", "a text that starts with 'id,label"),
    ("äöü".encode() * 2000, "a text that starts with 'äöü"),
    (b"\x93\x01\x02\x03" * 9, "unknown; it starts with"),
]


@pytest.mark.parametrize(("data", "words"), KINDS, ids=[words for _, words in KINDS])
def test_what_is_no_image_is_named_for_what_it_is(data: bytes, words: str) -> None:
    assert words in described(data)
    with (
        pytest.raises(BadImage, match="not an image") as caught,
        decoding(data, side=9, max_pixels=10_000),
    ):
        pass
    assert words in str(caught.value)
