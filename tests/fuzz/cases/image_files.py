"""Image files put together by hand, for what no encoder writes."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

END_OF_IMAGE = b"\xff\xd9"
START_OF_SCAN = b"\xff\xda"


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photograph(height: int = 120, width: int = 160, seed: int = 0) -> Image.Image:
    """Something with smooth and rough places, as in a photograph."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], axis=2)
    rough = rng.normal(0, 30, (height, width, 1)) * (x > width // 2)[:, :, None]
    return Image.fromarray((smooth + rough).clip(0, 255).astype(np.uint8))


def cut_with_end(jpeg: bytes, share: float) -> bytes:
    """A JPEG cut off, with the marker of its end: libjpeg takes it for whole."""
    return jpeg[: int(len(jpeg) * share)] + END_OF_IMAGE


def with_more_scans(jpeg: bytes, count: int) -> bytes:
    """A JPEG whose last scan comes so many times more."""
    scan, end = jpeg.rindex(START_OF_SCAN), jpeg.rindex(END_OF_IMAGE)
    return jpeg[:end] + jpeg[scan:end] * count + jpeg[end:]


def tiff(width: int, height: int, tags: Mapping[int, tuple[int, Sequence[int]]], data: bytes) -> bytes:
    """One directory of 8-bit grey; a tag is its type (3: 16, 4: 32 bits) and values; `data` comes last."""
    fields = {256: (4, [width]), 257: (4, [height]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), **tags}
    place, entries, beside = 8 + 2 + 12 * len(fields) + 4, b"", b""
    for tag, (kind, values) in sorted(fields.items()):
        raw = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(raw) > 4:
            raw, beside = struct.pack("<I", place + len(beside)), beside + raw
        entries += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + beside + data


def tiff_of_tiny_tiles(side: int) -> bytes:
    count = side * side
    tiles = {322: (3, [1]), 323: (3, [1]), 324: (4, [8] * count), 325: (4, [1] * count)}
    return tiff(side, side, tiles, b"x")
