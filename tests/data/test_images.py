"""What a file's pixels are: every format, pixel mode and kind of damage, with images made here."""

import io
import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from partdistillation.data import images
from partdistillation.data.decoding import FORMATS, decode
from partdistillation.data.images import (
    damage_allowed,
    image_size,
    load_image,
    load_image_of,
    load_label_map,
)
from partdistillation.errors import InputError

LOSSLESS: dict[str, dict[str, Any]] = {"PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(path: Path, array: NDArray[Any], kind: str = "PNG", **options: Any) -> Path:
    Image.fromarray(array).save(path, kind, **options)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_are_exact_whatever_the_extension(
    tmp_path: Path, pixels: NDArray[np.uint8], kind: str
) -> None:
    path = save(tmp_path / "image.jpg", pixels, kind, **LOSSLESS[kind])
    loaded = load_image(path)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, pixels)
    assert image_size(path) == (7, 5)


def test_result_is_writable(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    assert load_image(save(tmp_path / "a.png", pixels)).flags.writeable


def test_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    loaded = load_image(save(tmp_path / "a.png", flat, "JPEG", quality=95))
    assert np.abs(loaded.astype(int) - flat).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:16, :16] = 255  # a white corner at the top left of the stored pixels
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a", stored, kind, exif=exif)
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    shape = (32, 48, 3) if orientation < 5 else (48, 32, 3)
    loaded = load_image(path)
    assert loaded.shape == shape
    assert image_size(path) == (shape[1], shape[0])
    bright = {(y, x) for y in (0, -1) for x in (0, -1) if loaded[y, x].min() > 200}
    assert bright == {corner[orientation]}


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_undefined_orientation_is_upright(
    tmp_path: Path, pixels: NDArray[np.uint8], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(load_image(save(tmp_path / "a.png", pixels, exif=exif)), pixels)


def test_damaged_exif_does_not_matter(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = save(tmp_path / "a.png", pixels, exif=b"Exif\0\0 this is no TIFF header")
    np.testing.assert_array_equal(load_image(path), pixels)
    assert image_size(path) == (7, 5)


def test_exif_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body = png(3, 2, 8, 0, bytes(2 * 4))
    block = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path = tmp_path / "a.png"
    path.write_bytes(body[:-12] + block + body[-12:])
    assert load_image(path).shape == (3, 2, 3)
    assert image_size(path) == (2, 3)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG"])
def test_first_frame(tmp_path: Path, pixels: NDArray[np.uint8], kind: str) -> None:
    second = Image.fromarray(255 - pixels)
    options = {**LOSSLESS[kind], "save_all": True, "append_images": [second]}
    np.testing.assert_array_equal(load_image(save(tmp_path / "a", pixels, kind, **options)), pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_the_high_byte(tmp_path: Path, kind: str) -> None:
    values = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    loaded = load_image(save(tmp_path / "a", values, kind))
    np.testing.assert_array_equal(loaded, np.repeat((values >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_png_keeps_the_high_byte(tmp_path: Path, colour: int, channels: int) -> None:
    values = np.array([[0x1234, 0xFF01, 0x80FF, 0xFFFF]], ">u2")[:, :channels]
    (tmp_path / "a").write_bytes(png(1, 1, 16, colour, b"\0" + values.tobytes()))
    assert load_image(tmp_path / "a")[0, 0].tolist() == [0x12, 0xFF, 0x80]


def test_16_bit_grey_colour_key_is_white(tmp_path: Path) -> None:
    values = np.array([[0x1234, 0x4321]], ">u2")
    key = chunk(b"tRNS", values[0, :1].tobytes())
    (tmp_path / "a").write_bytes(png(2, 1, 16, 0, b"\0" + values.tobytes(), key))
    assert load_image(tmp_path / "a")[0, :, 0].tolist() == [255, 0x43]


def test_32_bit_integers_are_16_bit_or_rejected(tmp_path: Path) -> None:
    good = save(tmp_path / "a", np.array([[0x1234, 0xFFFF]], np.int32), "TIFF")
    assert load_image(good)[0, :, 1].tolist() == [0x12, 0xFF]
    for bad in (-1, 0x10000):
        with pytest.raises(InputError, match=r"65535, found"):
            load_image(save(tmp_path / "b", np.array([[0, bad]], np.int32), "TIFF"))


def test_floating_point_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pixel format F"):
        load_image(save(tmp_path / "a", np.zeros((2, 2), np.float32), "TIFF"))


def test_unsupported_colour_space_is_rejected(tmp_path: Path) -> None:
    Image.new("LAB", (2, 2)).save(tmp_path / "a", "TIFF")
    with pytest.raises(InputError, match="pixel format LAB"):
        load_image(tmp_path / "a")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 1))
    channels = len(mode) - 1
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*[100] * channels, alpha))
    image.save(tmp_path / "a", "PNG")
    # 255 - (255 - 100) * 128 / 255 = 177.2
    assert load_image(tmp_path / "a").tolist() == [[[255] * 3, [177] * 3, [100] * 3]]


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a", "PNG")
    assert load_image(tmp_path / "a").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    image.save(tmp_path / "b", "PNG", transparency=bytes([255, 0]))
    assert load_image(tmp_path / "b").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_grey_one_bit_and_colour_key(tmp_path: Path) -> None:
    assert load_image(save(tmp_path / "a", np.array([[7, 9]], np.uint8))).tolist() == [[[7] * 3, [9] * 3]]
    assert load_image(save(tmp_path / "b", np.array([[True, False]]))).tolist() == [[[255] * 3, [0] * 3]]
    keyed = save(tmp_path / "c", np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8), transparency=(1, 2, 3))
    assert load_image(keyed).tolist() == [[[255] * 3, [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(tmp_path: Path, kind: str) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a", kind)
    assert np.abs(load_image(tmp_path / "a")[4, 4].astype(int) - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", *LOSSLESS])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_rejected(tmp_path: Path, kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(tmp_path / "whole", noise, kind).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match="found"):
        load_image(path)


def test_flipped_bits_never_escape_as_another_exception(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "a"
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        data = save(path, pixels, kind).read_bytes()
        for _ in range(60):
            broken = bytearray(data)
            for position in rng.integers(0, len(data), 3):
                broken[position] ^= 1 << rng.integers(8)
            path.write_bytes(broken)
            with suppress(InputError):
                load_image(path)
            with suppress(InputError):
                image_size(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file"), (b"hello, world", "another format"), (b"\xff\xd8\xff", "found")],
)
@pytest.mark.parametrize("read", [load_image, image_size, load_label_map])
def test_not_an_image(tmp_path: Path, content: bytes, found: str, read: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=found):
        read(tmp_path / "a.jpg")


def test_unsupported_format_is_rejected(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="another format"):
        load_image(save(tmp_path / "a.png", pixels, "PPM"))


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_image(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="a directory"):
        image_size(tmp_path)


@pytest.mark.parametrize("side", [8_001, 9_999, 60_000])
@pytest.mark.parametrize("read", [load_image, image_size])
def test_size_is_checked_before_decoding(tmp_path: Path, side: int, read: Any) -> None:
    # The header promises the pixels, the body holds none: decoding would complain of the body instead.
    (tmp_path / "bomb.png").write_bytes(png(side, side, 8, 2, b""))
    with pytest.raises(InputError, match="at most 64000000 pixels"):
        read(tmp_path / "bomb.png")


def test_label_map_is_unscaled(tmp_path: Path) -> None:
    for values in (
        np.array([[0, 3], [255, 1]], np.uint8),
        np.array([[0, 300]], np.uint16),
        np.array([[True, False]]),
    ):
        np.testing.assert_array_equal(load_label_map(save(tmp_path / "a", values)), values.astype(int))
    palette = Image.new("P", (2, 1))
    palette.putpalette([9] * 6)
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p", "PNG")
    assert load_label_map(tmp_path / "p").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("colors", "labels"),
    [
        ("white black", [1, 0, 1]),
        ("white black black", [1, 0, 1]),
        ("black white", [0, 1, 0]),
        ("white black red", [0, 1, 0]),
        ("white red", [0, 1, 0]),
    ],
)
def test_white_is_inside_a_black_and_white_mask(tmp_path: Path, colors: str, labels: list[int]) -> None:
    """Whichever of the two a palette has first; in all other palettes an index is a label."""
    values = {"white": [255] * 3, "black": [0] * 3, "red": [255, 0, 0]}
    mask = Image.new("P", (3, 1))
    mask.putpalette([value for color in colors.split() for value in values[color]])
    mask.putpixel((1, 0), 1)
    mask.save(tmp_path / "p", "PNG")
    assert load_label_map(tmp_path / "p").tolist() == [labels]


def test_label_map_with_colours_is_rejected(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="mode RGB"):
        load_label_map(save(tmp_path / "a", pixels))
    with pytest.raises(InputError, match=">= 0"):
        load_label_map(save(tmp_path / "b", np.array([[-1]], np.int32), "TIFF"))


def test_multi_picture_jpeg(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 8), (255, 0, 0)), Image.new("RGB", (8, 8))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert load_image(tmp_path / "a.jpg").shape == (8, 16, 3)


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    assert np.unique(load_image(tmp_path / "a.gif").reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]
    assert image_size(tmp_path / "a.gif") == (4, 3)


@pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow reads no AVIF")
def test_avif(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 30, 40)).save(tmp_path / "a.jpg", format="AVIF", quality=100)
    pixels = load_image(tmp_path / "a.jpg")
    assert pixels.shape == (30, 40, 3)
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to((200, 30, 40), pixels.shape), atol=4)


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    left_half_red = Image.new("RGB", (64, 48), (20, 30, 200))
    left_half_red.paste((200, 30, 40), (0, 0, 32, 48))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # which is written as HEIC's own: shown turned, the left is above
    left_half_red.save(tmp_path / "a.heic", format="HEIF", quality=95, exif=exif.tobytes())
    pixels = load_image(tmp_path / "a.heic")
    assert pixels.shape == (64, 48, 3)
    assert image_size(tmp_path / "a.heic") == (48, 64)
    np.testing.assert_allclose(pixels[8, 24].astype(int), (200, 30, 40), atol=8)
    np.testing.assert_allclose(pixels[56, 24].astype(int), (20, 30, 200), atol=8)
    data = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"cut\.heic: expected"):
        load_image(tmp_path / "cut.heic")


def test_heic_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"a\.heic: .* found HEIC.*pip install '\.\[heic\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Path("a.heic"), "rgb", strict=True)


def test_what_only_decodes_with_warnings_is_rejected_where_objects_are_found(
    tmp_path: Path, image_files: ModuleType
) -> None:
    path = tmp_path / "cut.jpg"
    photo = image_files.saved(image_files.photograph(), "JPEG")
    path.write_bytes(image_files.cut_with_end(photo, 0.5))
    for read in (load_image, load_label_map):
        with pytest.raises(InputError, match=r"cut\.jpg: .*premature end of data segment"):
            read(path)
    with damage_allowed():
        assert load_image(path).shape == (120, 160, 3)
    assert load_image_of(path, 120, 160).shape == (120, 160, 3)
    with pytest.raises(InputError, match="expected 161 x 120 pixels"):
        load_image_of(path, 120, 161)


def test_what_may_be_costly_is_decoded_apart_and_the_same(
    tmp_path: Path, image_files: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.tif", np.asarray(image_files.photograph()), "TIFF", compression="jpeg")
    apart = load_image(path)
    monkeypatch.setattr(images, "decode_apart", None)
    with Image.open(path) as image:
        np.testing.assert_array_equal(apart, np.asarray(image))
    with pytest.raises(TypeError):
        load_image(path)
