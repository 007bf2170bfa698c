"""Pixels come out the same strip by strip, and large JPEGs at half their size."""

import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageOps

from partdistillation.data import decoding
from partdistillation.data.decoding import decode
from partdistillation.errors import InputError

FILE = Path("photo")


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"])
def test_strips_give_the_pixels_of_the_whole(
    image_files: ModuleType, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    photo = image_files.photograph()
    if mode in ("RGBA", "LA"):
        photo.putalpha(photo.convert("L").rotate(90, expand=False))
    image = (
        Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 201) if mode == "I;16" else photo
    )
    data = image_files.saved(image.convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    whole = decode(data, FILE, "rgb", strict=True)
    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 1000)
    np.testing.assert_array_equal(decode(data, FILE, "rgb", strict=True), whole)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_pillows(image_files: ModuleType, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = image_files.saved(image_files.photograph(30, 40), "PNG", exif=exif)
    with Image.open(image_files.io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(data, FILE, "rgb", strict=True), expected)
    assert decode(data, FILE, "size", strict=True).tolist() == [*expected.shape[1::-1]]


def test_large_jpegs_are_read_at_half_their_size(
    image_files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 1000)
    monkeypatch.setattr(decoding, "MAX_REDUCED_PIXELS", 4000)
    exif = Image.Exif()
    exif[0x0112] = 6
    for (height, width), turned in itertools.product([(61, 64), (40, 99), (62, 17)], [False, True]):
        photo = Image.new("RGB", (width, height), (200, 100, 50))
        data = image_files.saved(photo, "JPEG", quality=95, exif=exif if turned else Image.Exif())
        half = (height + 1) // 2, (width + 1) // 2
        pixels = decode(data, FILE, "rgb", strict=True)
        assert pixels.shape[:2] == (half[::-1] if turned else half)
        assert np.abs(pixels.astype(int) - [200, 100, 50]).max() <= 2
        assert decode(data, FILE, "size", strict=True).tolist() == [*pixels.shape[1::-1]]
    with pytest.raises(InputError, match="at most 1000 pixels, found 80 x 60"):
        decode(image_files.saved(Image.new("RGB", (80, 60)), "JPEG"), FILE, "size", strict=True)
    with pytest.raises(InputError, match="at most 1000 pixels"):
        decode(image_files.saved(Image.new("RGB", (60, 60)), "PNG"), FILE, "rgb", strict=True)


def test_jpegs_of_many_scans_or_too_much_memory_are_refused(
    image_files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = image_files.saved(image_files.photograph(), "JPEG", progressive=True)
    for wanted in ("rgb", "size", "labels"):
        with pytest.raises(InputError, match="at most 100 scans"):
            decode(image_files.with_more_scans(data, 100), FILE, wanted, strict=False)
    monkeypatch.setattr(decoding, "MAX_JPEG_MEMORY", 1 << 12)
    with pytest.raises(InputError, match="160 x 120 pixels in 10 scans"):
        decode(data, FILE, "rgb", strict=True)


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt"])
def test_a_png_with_much_text_is_fine(image_files: ModuleType, name: bytes) -> None:
    text = b"a" * 3_000_000
    body = b"k\0" + text if name == b"tEXt" else b"k\0\0" + image_files.zlib.compress(text)
    data = image_files.png(2, 1, 8, 0, b"\0\x07\x09", image_files.chunk(name, body))
    assert decode(data, FILE, "rgb", strict=True)[0, :, 0].tolist() == [7, 9]
