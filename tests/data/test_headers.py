"""What a first look tells: sizes as Pillow reads them, and what is cheap."""

import io
import struct
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from partdistillation.data.headers import Header, Kind, other_format, read_header

ORDINARY = [
    *((kind, {}) for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"subsampling": 0, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}),
    ("PNG", {"interlace": 1}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"II*\0\x08\0\0\0\0\0\0\0\0\0"}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
]


@pytest.fixture(scope="module")
def photo(image_files: ModuleType) -> Image.Image:
    photo: Image.Image = image_files.photograph(50, 70)
    return photo


@pytest.mark.parametrize(("kind", "options"), ORDINARY)
def test_ordinary_files_are_cheap_and_have_their_size(
    image_files: ModuleType, photo: Image.Image, kind: str, options: dict[str, object]
) -> None:
    header = read_header(image_files.saved(photo, kind, **options))
    assert header[:4] == (kind, 70, 50, True)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P", "1"])
def test_other_modes_are_cheap(image_files: ModuleType, photo: Image.Image, mode: str) -> None:
    image = photo.convert(mode)
    for kind in {"L": ("JPEG", "PNG", "TIFF"), "CMYK": ("JPEG", "TIFF")}.get(mode, ("PNG", "TIFF")):
        assert read_header(image_files.saved(image, kind)).cheap


def test_scans_are_counted(image_files: ModuleType, photo: Image.Image) -> None:
    baseline, progressive = (
        image_files.saved(photo, "JPEG"),
        image_files.saved(photo, "JPEG", progressive=True),
    )
    assert read_header(baseline).scans == 1
    assert read_header(progressive).scans == 10
    assert read_header(image_files.with_more_scans(progressive, 20)).cheap
    header = read_header(image_files.with_more_scans(progressive, 30))
    assert (header.scans, header.cheap) == (40, False)
    # Neither a second image behind the first nor a thumbnail counts.
    assert read_header(baseline + progressive * 9).scans == 1


def test_memory_of_several_scans_goes_by_the_subsampling(image_files: ModuleType, photo: Image.Image) -> None:
    pixels = photo.width * photo.height
    assert read_header(image_files.saved(photo, "JPEG")).memory == 0
    assert read_header(image_files.saved(photo, "JPEG", progressive=True, subsampling=0)).memory == 6 * pixels
    assert read_header(image_files.saved(photo, "JPEG", progressive=True, subsampling=2)).memory == 3 * pixels


def exif_block(entries: int, size: int) -> bytes:
    """Every tag names nearly the whole block."""
    tags = b"".join(struct.pack("<HHII", 300 + tag, 7, size - 100, 50) for tag in range(entries))
    return (struct.pack("<4sIH", b"II*\0", 8, entries) + tags).ljust(size, b"\0")


def test_what_may_cost_more_than_its_pixels_is_not_cheap(image_files: ModuleType, photo: Image.Image) -> None:
    png, chunk, tiff = image_files.png, image_files.chunk, image_files.tiff
    jpeg, bitmap = image_files.saved(photo, "JPEG"), image_files.saved(photo, "BMP")
    files = {
        "large JPEG": jpeg.replace(struct.pack(">HH", 50, 70), struct.pack(">HH", 5000, 7000)),
        "large PNG": png(5000, 7000, 8, 2, b""),
        "large BMP": bitmap.replace(struct.pack("<ii", 70, 50), struct.pack("<ii", 7000, 5000)),
        "large TIFF": tiff(7000, 5000, {}, b""),
        "tags": png(2, 1, 8, 0, bytes(3), chunk(b"eXIf", exif_block(60_000, 1_000_000))),
        "chunks": png(2, 1, 8, 0, bytes(3), chunk(b"abCd", b"") * 30_000),
        "comments": jpeg[:2] + b"\xff\xfe\0\2" * 30_000 + jpeg[2:],
        "fill bytes": jpeg[:2] + b"\xff" * 30_000 + jpeg[2:],
        "tiles": image_files.tiff_of_tiny_tiles(300),
        "large tile": tiff(16, 16, {322: (4, [60_000]), 323: (4, [60_000])}, b""),
        "JPEG in TIFF": image_files.saved(photo, "TIFF", compression="jpeg"),
        "run lengths": bitmap[:30] + struct.pack("<I", 1) + bitmap[34:],
        "cut": jpeg[:100],
    }
    assert [name for name, data in files.items() if read_header(data).cheap] == []


def test_other_formats_are_left_to_the_decoder(image_files: ModuleType, photo: Image.Image) -> None:
    for data in (b"", b"hello", image_files.saved(photo, "PPM")):
        assert read_header(data) == Header("", cheap=True)


def test_a_gif_is_cheap_by_its_size_and_an_avif_never(image_files: ModuleType, photo: Image.Image) -> None:
    gif = image_files.saved(photo, "GIF")
    assert read_header(gif) == Header("GIF", *photo.size, cheap=True)
    assert not read_header(gif[:6] + struct.pack("<HH", 60_000, 60_000) + gif[10:]).cheap
    assert read_header(b"\0\0\0\x20ftypavif" + bytes(20)) == Header("AVIF")


def test_nothing_escapes_from_random_bytes() -> None:
    rng = np.random.default_rng(0)
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8X", b"BM", b"II*\0", b"MM\0*"):
        for length in (0, 1, 5, 12, 30, 200):
            for _ in range(40):
                read_header(start + rng.bytes(length))


def test_sizes_agree_with_pillow_on_rotated_and_odd_files(
    image_files: ModuleType, photo: Image.Image
) -> None:
    for data in (
        image_files.saved(photo, "BMP"),
        image_files.saved(photo.convert("LA"), "PNG"),
        image_files.saved(photo, "WEBP", quality=5),
    ):
        header = read_header(data)
        assert (header.width, header.height) == Image.open(io.BytesIO(data)).size


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "another format"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "another format"),
        (b"\0\0\0\x14ftypqt  ", "a video"),
        (b"\xff\x0a12", "JPEG XL"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\x03\x04", "an archive"),
        (bytes(5000), "zeros where a header should be"),
        (b"", "an empty file"),
        (b"text", "another format or a damaged header"),
    ],
)
def test_files_that_are_no_images(data: bytes, kind: str) -> None:
    assert other_format(data).startswith(kind)


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1heic", "HEIC"),
        (b"mif1\0\0\0\0mif1avif", "AVIF"),
        (b"avif\0\0\0\0mif1miaf", "AVIF"),
    ],
)
def test_heic_and_avif_are_told_apart_and_never_cheap(brands: bytes, kind: Kind) -> None:
    assert read_header(b"\0\0\0\x18ftyp" + brands) == Header(kind)
