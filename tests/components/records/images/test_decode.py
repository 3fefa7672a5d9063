import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from components.records.images.decode import BadImage, decoding
from components.records.images.resize import fitted

LIMIT = 1_000_000


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """Return a (427, 640, 3) uint8 photograph that scikit-learn ships."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"))


def saved(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(data: bytes, side: int = 1000) -> np.ndarray:
    with decoding(data, side=side, max_pixels=LIMIT) as (pixels, *_):
        return pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF"])
def test_lossless_formats_are_exact(photograph: np.ndarray, kind: str) -> None:
    # Few colours, so that GIF loses none.
    pixels = photograph[:40, :60] // 64 * 64
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decoded(saved(pixels, kind, **options)), pixels)


def test_a_jpeg_is_as_pillow_decodes_it(photograph: np.ndarray) -> None:
    data = saved(photograph, "JPEG", quality=92)
    np.testing.assert_array_equal(decoded(data), np.asarray(Image.open(io.BytesIO(data))))


def test_a_large_jpeg_is_decoded_smaller_and_never_below_what_is_needed(
    photograph: np.ndarray,
) -> None:
    data = saved(photograph[:400], "JPEG", quality=92)
    assert decoded(data, side=133).shape == (200, 320, 3)
    assert decoded(data, side=134).shape == (400, 640, 3)
    assert decoded(data, side=50).shape == (100, 160, 3)
    assert decoded(data, side=20).shape == (50, 80, 3)
    # 427 rows cannot be halved exactly.
    odd = saved(photograph, "JPEG")
    assert decoded(odd, side=20).shape == (427, 640, 3)
    with decoding(odd, side=20, max_pixels=LIMIT, exact=False) as (pixels, size, extent, *_):
        assert (pixels.shape, size, extent) == ((54, 80, 3), (640, 427), (80, 427 / 8))
    # Turned upright, the partly filled row would become a column or come first, so the image is
    # decoded at full size.
    turned = saved(photograph, "JPEG", exif=oriented(6))
    with decoding(turned, side=20, max_pixels=LIMIT, exact=False) as (pixels, size, extent, *_):
        assert (pixels.shape, size, extent) == ((640, 427, 3), (427, 640), (427, 640))


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("shape", [(427, 640), (426, 639), (400, 600), (333, 401)])
def test_a_fraction_changes_next_to_nothing(name: str, shape: tuple[int, int]) -> None:
    from sklearn.datasets import load_sample_image

    pixels = np.asarray(load_sample_image(name))[: shape[0], : shape[1]]
    data = saved(pixels, "JPEG", quality=92)
    for side in (20, 50, 100, 140):
        with decoding(data, side=side, max_pixels=LIMIT, exact=False) as (here, _, extent, *_):
            ours = fitted(here, side, "stretch", extent).astype(float)
        full = fitted(
            simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), side, "stretch"
        ).astype(float)
        error = ((ours - full) ** 2).mean()
        assert error == 0 or 10 * np.log10(255**2 / error) >= 42, (side, error)


def test_grey_and_palette_and_one_bit_become_rgb(photograph: np.ndarray) -> None:
    grey = photograph[:50, :50, 0]
    np.testing.assert_array_equal(
        decoded(saved(grey, "PNG")), np.repeat(grey[:, :, None], 3, axis=2)
    )
    palette = Image.fromarray(photograph[:50, :50]).quantize(16)
    np.testing.assert_array_equal(
        decoded(saved(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )
    one_bit = Image.fromarray(grey > np.median(grey))
    np.testing.assert_array_equal(np.unique(decoded(saved(one_bit, "PNG"))), [0, 255])
    jpeg = saved(grey, "JPEG", quality=95)
    assert np.abs(decoded(jpeg)[:, :, 1].astype(int) - grey).mean() < 3


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    wide = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    assert decoded(saved(wide, "PNG"))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_is_laid_over_white() -> None:
    pixels = np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 128]]], dtype=np.uint8)
    assert decoded(saved(pixels, "PNG"))[0].tolist() == [
        [255, 255, 255],
        [200, 0, 0],
        [127, 127, 127],
    ]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert decoded(saved(palette, "PNG", transparency=1))[0].tolist() == [
        [10, 20, 30],
        [255, 255, 255],
    ]


def test_cmyk_jpegs_have_their_colours(photograph: np.ndarray) -> None:
    # A smooth patch survives JPEG compression. If Adobe's inverted inks were not inverted back, it
    # would come out as a negative.
    patch = np.full((32, 32, 3), (200, 120, 40), np.uint8)
    data = saved(Image.fromarray(patch).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decoded(data).astype(int) - patch).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_an_image_comes_out_upright(photograph: np.ndarray, orientation: int, kind: str) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(photograph[:64, :96], kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decoded(data), np.asarray(expected))


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (50, 200)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.unique(decoded(data)).tolist() == [50]


def test_a_colour_profile_is_no_hindrance(photograph: np.ndarray) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = photograph[:20, :20]
    np.testing.assert_array_equal(decoded(saved(pixels, "PNG", icc_profile=profile)), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1)])
def test_extreme_shapes(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 77, np.uint8)
    assert decoded(saved(pixels, "PNG"), side=8).shape == (*shape, 3)
    assert decoded(saved(pixels, "JPEG"), side=8).shape == (*shape, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"<!doctype html><p>404", "not an image in a known format: it is an HTML page"),
        (b"\x00" * 100, "not an image in a known format: it is unknown; it starts with"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        decoded(data)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_a_file_that_is_cut_off_anywhere_is_bad_and_never_a_crash(
    photograph: np.ndarray, kind: str
) -> None:
    whole = saved(photograph[:64, :64], kind)
    for part in (1, 10, len(whole) // 4, len(whole) // 2, len(whole) * 3 // 4):
        with pytest.raises(BadImage):
            decoded(whole[:part])


def test_a_bomb_is_refused_by_its_header() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big")
            + name
            + content
            + zlib.crc32(name + content).to_bytes(4, "big")
        )

    size = (30_000).to_bytes(4, "big") * 2
    header = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x02\x00\x00\x00")
    # The file has no pixel data: only the header is read.
    with pytest.raises(
        BadImage, match="30000 × 30000 pixels are more than records.max_pixels = 1000000"
    ):
        decoded(header + chunk(b"IDAT", zlib.compress(b"")))
    jpeg = saved(np.zeros((1001, 1000, 3), np.uint8), "JPEG")
    with pytest.raises(BadImage, match="1000 × 1001 pixels are more"):
        decoded(jpeg)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path, photograph: np.ndarray) -> None:
    (tmp_path / "x.jpg").write_bytes(saved(photograph[:9, :9], "PNG"))
    np.testing.assert_array_equal(decoded((tmp_path / "x.jpg").read_bytes()), photograph[:9, :9])


def test_the_scaled_way_is_as_good_as_the_full_one(photograph: np.ndarray) -> None:
    from components.records.images.resize import fitted

    for rows, side in ((400, 100), (400, 90), (400, 50), (400, 45), (400, 20), (427, 20)):
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(photograph[:rows]), quality=95)
        full = fitted(
            simplejpeg.decode_jpeg(data, fastdct=False, fastupsample=False), side, "stretch"
        ).astype(float)
        scaled = fitted(decoded(data, side=side), side, "stretch").astype(float)
        error = ((full - scaled) ** 2).mean()
        assert error == 0 or 10 * np.log10(255**2 / error) >= 42


def test_ycck_is_decoded_as_the_cmyk_it_stands_for(photograph: np.ndarray) -> None:
    # Adobe's segment specifies how the four components are coded: 0 is unchanged, 2 codes the first
    # three as YCbCr.
    cmyk = Image.fromarray(photograph[:64, :64]).convert("CMYK")
    inks = np.asarray(cmyk)
    ycc = np.asarray(Image.fromarray(np.ascontiguousarray(inks[:, :, :3])).convert("YCbCr"))
    # Adobe stores inks inverted, as Pillow does when it saves; the YCbCr transform applies to 255
    # minus the stored inks.
    coded = Image.fromarray(np.dstack([255 - ycc, inks[:, :, 3]]), "CMYK")
    plain, other = (
        saved(cmyk, "JPEG", quality=100, subsampling=0),
        saved(coded, "JPEG", quality=100, subsampling=0),
    )
    place = other.index(b"Adobe") + 11
    assert other[place] == 0
    ycck = other[:place] + b"\x02" + other[place + 1 :]
    assert Image.open(io.BytesIO(ycck)).mode == "CMYK"
    difference = np.abs(decoded(ycck).astype(int) - decoded(plain))
    assert difference.mean() < 2
    # Read as plain CMYK, the colours would be entirely different.
    assert np.abs(decoded(other).astype(int) - decoded(plain)).mean() > 20
