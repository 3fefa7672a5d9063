import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from components.records.images.decode import BadImage, decoding, opened
from components.records.images.deep import LARGEST, highest, suggested


def tiff(
    *pages: np.ndarray,
    reduced: tuple[int, ...] = (),
    more: tuple[tuple[int, int, int, int], ...] = (),
) -> bytes:
    """An uncompressed TIFF of any kind of numbers (TIFF 6.0, section 2); `reduced` are the numbers
    of pages that are marked as smaller versions, `more` are further tags."""
    data = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for number, page in enumerate(pages):
        offset = len(data)
        data += page.tobytes()
        samples = 1 if page.ndim == 2 else page.shape[2]
        place = len(data)
        data += struct.pack(f"<{samples}H", *[page.dtype.itemsize * 8] * samples)
        entries = [
            (254, 4, 1, int(number in reduced)),
            (256, 4, 1, page.shape[1]),
            (257, 4, 1, page.shape[0]),
            (258, 3, samples, place if samples > 2 else page.dtype.itemsize * 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1 if samples == 1 else 2),
            (273, 4, 1, offset),
            (277, 3, 1, samples),
            (278, 4, 1, page.shape[0]),
            (279, 4, 1, page.nbytes),
            (339, 3, 1, {"u": 1, "i": 2, "f": 3}[page.dtype.kind]),
        ]
        entries = sorted([*entries, *more])
        struct.pack_into("<I", data, link, len(data))
        data += struct.pack("<H", len(entries))
        data += b"".join(struct.pack("<HHII", *entry) for entry in entries)
        link = len(data)
        data += bytes(4)
    return bytes(data)


def png(pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def decoded(data: bytes, white: int = LARGEST) -> np.ndarray:
    with decoding(data, side=100, max_pixels=10_000, white_level=white) as found:
        assert found.bits > 8
        return found.pixels


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32"])
def test_all_bits_are_read_and_the_white_level_becomes_white(dtype: str) -> None:
    values = np.array([[0, 8, 2048, 4095]], dtype=dtype)
    assert decoded(tiff(values), 4095)[0, :, 1].tolist() == [0, 0, 128, 255]


def test_values_of_thirty_two_bits() -> None:
    values = np.array([[0, 100_000, 2**32 - 1]], dtype=np.uint32)
    assert decoded(tiff(values), 2**32 - 1)[0, :, 0].tolist() == [0, 0, 255]
    assert decoded(tiff(values[:, :2]), 131_071)[0, :, 0].tolist() == [0, 195]


def test_colours_of_sixteen_bits_keep_their_bits() -> None:
    pixels = np.array([[[4095, 0, 2048], [1, 2, 4095]]], dtype=np.uint16)
    expected = [[128, 0, 255], [255, 0, 0]]
    # OpenCV writes blue first.
    assert decoded(png(pixels), 4095)[0].tolist() == expected
    assert decoded(tiff(pixels[:, :, ::-1].copy()), 4095)[0].tolist() == expected


def test_transparency_of_sixteen_bits_is_laid_over_white() -> None:
    pixels = np.array([[[0, 0, 1000, 65535], [0, 0, 1000, 0]]], dtype=np.uint16)
    assert decoded(png(pixels), 1000)[0].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(
    ("values", "white", "words"),
    [
        ([[-5, 100]], 4095, "values from -5 to 100: negative ones"),
        (
            [[0, 4096]],
            4095,
            "up to 4096, .* above the white level 4095: set .* = 8191",
        ),
    ],
)
def test_values_out_of_range_are_refused(values: list[list[int]], white: int, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decoded(tiff(np.array(values, dtype=np.int16)), white)


def test_the_white_level_has_as_many_bits_as_the_values() -> None:
    assert [suggested(value) for value in (3, 255, 256, 4095, 4096, 65535, 70_000)] == [
        255,
        255,
        511,
        4095,
        8191,
        65535,
        131_071,
    ]


def test_a_thumbnail_on_the_first_page_is_passed_over() -> None:
    small, large = np.full((4, 4), 9, np.uint8), np.full((40, 30), 77, np.uint8)
    for pages, reduced in (((small, large), (0,)), ((large, small), ())):
        with decoding(tiff(*pages, reduced=reduced), side=100, max_pixels=10_000) as found:
            assert found.pixels.shape == (40, 30, 3)
            assert set(found.pixels.ravel()) == {77}
    # If all are marked, the first counts.
    with decoding(tiff(small, small, reduced=(0, 1)), side=9, max_pixels=99) as found:
        assert found.size == (4, 4)


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("float64", "a TIFF of a kind that cannot be read: 1 values a pixel, floating-point numb"),
        ("uint64", "1 values a pixel, whole numbers of 64 bits, no compression: convert it"),
    ],
)
def test_a_tiff_that_cannot_be_read_says_of_which_kind_it_is(dtype: str, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decoded(tiff(np.zeros((3, 3), dtype=dtype)))


def test_a_picture_inside_an_icon_is_as_limited_as_others() -> None:
    inner = io.BytesIO()
    Image.new("RGBA", (512, 512)).save(inner, "PNG")
    entry = b"ic09" + struct.pack(">I", len(inner.getvalue()) + 8) + inner.getvalue()
    icon = b"icns" + struct.pack(">I", len(entry) + 8) + entry
    with decoding(icon, side=9, max_pixels=512 * 512) as found:
        assert found.size == (512, 512)
    # The icon says 512 pixels a side, whatever is inside.
    large = io.BytesIO()
    Image.new("RGBA", (3000, 3000)).save(large, "PNG")
    entry = b"ic09" + struct.pack(">I", len(large.getvalue()) + 8) + large.getvalue()
    icon = b"icns" + struct.pack(">I", len(entry) + 8) + entry
    with (
        pytest.raises(BadImage, match="3000 × 3000 pixels are more than records.max_pixels"),
        decoding(icon, side=9, max_pixels=512 * 512),
    ):
        pass


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_a_tiff_of_any_depth_comes_out_upright(orientation: int, depth: str) -> None:
    """A picture that is stored turned or mirrored, with a tag that says so (TIFF 6.0, page 36)."""
    upright = np.zeros((6, 4, 3), dtype=depth)
    white = np.iinfo(depth).max
    upright[0, 0], upright[0, -1] = (white, 0, 0), (0, white, 0)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]
    data = tiff(np.ascontiguousarray(stored), more=((274, 3, 1, orientation),))
    with decoding(data, side=100, max_pixels=10_000) as found:
        assert found.size == (4, 6)
        np.testing.assert_array_equal(found.pixels, (upright // (white // 255)).astype(np.uint8))


def test_planes_of_their_own_are_refused() -> None:
    data = tiff(np.zeros((6, 4, 3), np.uint16), more=((284, 3, 1, 2),))
    with pytest.raises(BadImage, match="in planes of their own"):
        decoded(data)


def test_transparency_is_no_brightness() -> None:
    pixels = np.array([[[1000, 900, 4000, 65535]]], dtype=np.uint16)
    with opened(png(pixels)) as image:
        assert highest(image, png(pixels)) == 4000
