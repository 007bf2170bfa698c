"""Images: changed files of all formats (a number is their seed), and some made to cost much (by name)."""

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import image_files as files
import numpy as np
from mutations import changed_bytes
from PIL import Image

from partdistillation.data.decoding import FORMATS
from partdistillation.data.images import image_size, load_image, load_label_map
from partdistillation.errors import InputError

EXPECTED = (InputError,)


def write(folder: Path, case: str) -> None:
    (folder / "image").write_bytes(changed(int(case)) if case.isdigit() else HOSTILE[case]())


def read(folder: Path) -> None:
    """Read the image in every way; what is read must be an image, and as large as is said."""
    path = folder / "image"
    with suppress(InputError):
        load_label_map(path)
    try:
        pixels = load_image(path)
    except InputError:
        with suppress(InputError):
            image_size(path)
        raise
    assert pixels.dtype == np.uint8
    assert image_size(path) == pixels.shape[1::-1]


def changed(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    sources = ordinary()
    return changed_bytes(sources[rng.integers(len(sources))], rng)


@cache
def ordinary() -> tuple[bytes, ...]:
    """A small file of every format and kind of pixels."""
    photo = files.photograph(40, 50)
    grey, masked, few = photo.convert("L"), photo.convert("RGBA"), photo.convert("P")
    masked.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    return (
        files.saved(photo, "JPEG", exif=exif),
        files.saved(photo, "JPEG", progressive=True),
        files.saved(photo, "JPEG", restart_marker_blocks=3, subsampling=0),
        files.saved(photo.convert("CMYK"), "JPEG"),
        files.saved(grey, "JPEG"),
        files.saved(photo, "MPO", save_all=True, append_images=[photo]),
        *(files.saved(image, "PNG", exif=exif) for image in (photo, grey, masked, few, deep)),
        files.saved(photo, "PNG", save_all=True, append_images=[photo]),
        files.png(3, 2, 8, 0, bytes(8), files.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1000)))),
        files.saved(masked, "WEBP", exif=exif),
        files.saved(masked, "WEBP", lossless=True),
        files.saved(photo, "WEBP", save_all=True, append_images=[photo]),
        *(files.saved(image, "BMP") for image in (photo, grey, few)),
        *(
            files.saved(masked, "TIFF", compression=kind)
            for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate")
        ),
        files.saved(few, "GIF", save_all=True, append_images=[few.rotate(90)]),
        *(files.saved(masked, kind) for kind in FORMATS if kind == "AVIF"),
        files.saved(photo, "TIFF", compression="jpeg"),
        files.saved(deep, "TIFF"),
        files.tiff(16, 16, {322: (3, [16]), 323: (3, [16]), 324: (4, [8]), 325: (4, [256])}, bytes(256)),
    )


def scan_bomb(count: int) -> bytes:
    flat = Image.new("RGB", (8000, 8000), (90, 120, 30))
    return files.with_more_scans(files.saved(flat, "JPEG", progressive=True, quality=50), count)


def run_length_bomb() -> bytes:
    side = 4000
    data = (b"\1\5" * side + b"\0\0") * side
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(data), 0, 0, 1078) + header + bytes(1024) + data


def tag_bomb() -> bytes:
    tags = b"".join(struct.pack("<HHII", 300 + tag, 7, 3_900_000, 50) for tag in range(60_000))
    block = (struct.pack("<4sIH", b"II*\0", 8, 60_000) + tags).ljust(4_000_000, b"\0")
    return files.png(2, 1, 8, 0, bytes(3), files.chunk(b"eXIf", block))


def text_bomb() -> bytes:
    body = b"k\0\0" + zlib.compress(bytes(500_000_000))
    return files.png(2, 1, 8, 0, bytes(3), files.chunk(b"zTXt", body))


def after_start(extra: bytes) -> bytes:
    data = files.saved(files.photograph(), "JPEG")
    return data[:2] + extra + data[2:]


def clear(kind: str, **options: object) -> bytes:
    photo = files.photograph(250, 8000).convert("RGBA")
    photo.putalpha(photo.convert("L"))
    return files.saved(Image.fromarray(np.tile(np.asarray(photo), (32, 1, 1))), kind, **options)


def phone(height: int, width: int, **options: object) -> bytes:
    return files.saved(Image.new("RGB", (width, height), (90, 120, 30)), "JPEG", **options)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "40 scans": lambda: scan_bomb(30),
    "10,000 scans": lambda: scan_bomb(10_000),
    "tiles of a pixel": lambda: files.tiff_of_tiny_tiles(1500),
    "a tile of 60,000 x 60,000": lambda: files.tiff(16, 16, {322: (4, [60_000]), 323: (4, [60_000])}, b""),
    "strips of a pixel": lambda: files.tiff(1, 16_000_000, {278: (3, [1])}, b""),
    "runs of a pixel": run_length_bomb,
    "60,000 tags of 4 MB": tag_bomb,
    "500 MB of text": text_bomb,
    "300,000 chunks": lambda: files.png(2, 1, 8, 0, bytes(3), files.chunk(b"abCd", b"") * 300_000),
    "300,000 comments": lambda: after_start(b"\xff\xfe\0\2" * 300_000),
    "a megabyte of filling": lambda: after_start(b"\xff" * 1_000_000),
    "a PNG that says 2^31": lambda: files.png(2**31 - 1, 2**31 - 1, 8, 2, b""),
    "64 megapixels, clear PNG": lambda: clear("PNG", compress_level=1),
    "64 megapixels, clear TIFF": lambda: clear("TIFF", compression="tiff_lzw"),
    "64 megapixels, clear WebP": lambda: clear("WEBP", quality=50, method=0),
    "108 megapixels": lambda: phone(9000, 12_000),
    "200 megapixels": lambda: phone(12_240, 16_320),
    "200 megapixels, progressive": lambda: phone(12_240, 16_320, progressive=True),
}
