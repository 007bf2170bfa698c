"""What the first look at an image file promises: its format, its size, and whether decoding it is cheap.

Nothing is decoded here and nothing is trusted: a file is cheap only where its structure rules out that it
costs more than its pixels do. Everything else (a progressive JPEG of a thousand scans, a TIFF of tiles of one
pixel, a packed EXIF block) may be harmless too, but that is found out in a process of its own (`apart.py`).
"""

import re
import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIC", ""]

CHEAP_PIXELS = 25_000_000
"""What a camera of today makes; larger images take more than 200 MB while they are decoded."""
MOST_SCANS = 100
"""Encoders write about 10; libjpeg goes over the whole image once for each."""
_CHEAP_SCANS = 32
_CHEAP_SEGMENTS = 20_000
_CHEAP_EXIF = 64_000_000
"""Bytes that reading the tags of an EXIF block may copy."""
_CHEAP_TAGS = 200
_CHEAP_TIFF = frozenset({1, 5, 8, 32773, 32946})
"""Compressions whose time is bounded by the pixels: none, LZW, deflate, PackBits."""


_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_CHEAP_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive: those of all cameras. Others are lossless or arithmetically coded."""
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""In a scan the byte 255 is followed by 0 or a restart's number."""


_AVIF = re.compile(rb"....ftyp(?:avi[fs]|(?:mif1|msf1).{0,24}avif)", re.DOTALL)
_HEIC = re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL)
_OTHERS = {
    rb"....ftyp(?:qt|mp4|isom|M4V|3gp)": "a video",
    rb"\xff\x0a|\0\0\0\x0cJXL ": "JPEG XL",
    rb"\0\0\0\x0cjP  ": "JPEG 2000",
    rb"8BPS": "a Photoshop file",
    rb"%PDF": "a PDF",
    rb"\s*<(?:!doctype html|html|head)": "a web page: what was downloaded in place of the image",
    rb"\s*<(?:\?xml|svg|!--)": "SVG or other XML",
    rb"version https://git-lfs": "a pointer of Git LFS (`git lfs pull` gets the image)",
    rb"\x1f\x8b|PK\x03\x04|7z\xbc\xaf|Rar!": "an archive",
}


def other_format(data: bytes) -> str:
    """What the content of a file that isn't read looks like."""
    start = data[:64]
    if not start.strip(b"\0"):
        return "zeros where a header should be" if start else "an empty file"
    kinds = (kind for pattern, kind in _OTHERS.items() if re.match(pattern, start, re.DOTALL | re.IGNORECASE))
    return next(kinds, "another format or a damaged header")


class Header(NamedTuple):
    """What a file says of itself; 0 pixels where that can't be told."""

    kind: Kind
    width: int = 0
    height: int = 0
    cheap: bool = False
    scans: int = 0
    """Of a JPEG's first image."""
    memory: int = 0
    """Bytes that libjpeg keeps of a JPEG of several scans: all of its coefficients."""


def read_header(data: bytes) -> Header:
    """A first look at a file's content; a damaged one is never cheap."""
    kind = kind_of(data)
    try:
        match kind:
            case "JPEG":
                return _jpeg(data)
            case "PNG":
                return _png(data)
            case "WEBP":
                return _webp(data)
            case "BMP":
                return _bmp(data)
            case "TIFF":
                return _tiff(data)
            case "GIF":
                width, height = struct.unpack_from("<HH", data, 6)
                return Header("GIF", width, height, 0 < width * height <= CHEAP_PIXELS)
            case "AVIF" | "HEIC":
                return Header(kind)
    except (struct.error, IndexError):
        return Header(kind)
    return Header("", cheap=True)


def kind_of(data: bytes) -> Kind:
    """The format, by the first bytes; nothing for one that isn't read."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if _AVIF.match(data):
        return "AVIF"
    if _HEIC.match(data):
        return "HEIC"
    return "TIFF" if data[:2] in (b"II", b"MM") else ""


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the contents of a PNG's chunks, as far as they are whole."""
    place = 8
    while place + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if place + 12 + length > len(data):
            return
        yield name, place + 8, place + 8 + length
        place += 12 + length


def _jpeg(data: bytes) -> Header:
    """The first image of a JPEG, up to its end: phones append others, and films."""
    frame, width, height, scans, exif, depth = 0, 0, 0, 0, b"", 0.0
    for marker, start, end in _jpeg_segments(data):
        if marker == _SCAN:
            scans += 1
            if scans > MOST_SCANS:
                break
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            exif += data[start + 6 * bool(exif) : end]
        elif marker in _FRAMES and not frame:
            frame = marker
            height, width = struct.unpack_from(">HH", data, start + 1)
            depth = _samples_a_pixel(data[start + 5 : end])
    cheap = frame in _CHEAP_FRAMES and scans <= _CHEAP_SCANS and _few_tags(exif)
    memory = round(2 * depth * width * height) if scans > 1 else 0
    return Header("JPEG", width, height, cheap and 0 < width * height <= CHEAP_PIXELS, scans, memory)


def _samples_a_pixel(components: bytes) -> float:
    """Of a frame's components: 3 without subsampling, 1.5 with a colour for every four pixels."""
    shares = [components[place] for place in range(2, 1 + 3 * components[0], 3)]
    areas = [(share >> 4) * (share & 15) for share in shares]
    return sum(areas) / max(*areas, 1) if areas else 0.0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of a JPEG's segments; a scan's end is that of its header.

    Raises IndexError where there are more than usual, or the data end before the image does.
    """
    place = 2
    for _ in range(_CHEAP_SEGMENTS):
        marker = data[place + 1] if data[place] == 0xFF else 0xFF
        if marker == 0xD9:
            return
        if marker in (0xFF, 0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # filling, or without contents
            place += 1 if marker == 0xFF else 2
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        yield marker, place + 4, end
        place = end
        if marker == _SCAN:
            following = _MARKER.search(data, end)
            if following is None:
                return
            place = following.start()
    raise IndexError


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    exif = b""
    for place, (name, start, end) in enumerate(png_chunks(data)):
        if place == _CHEAP_SEGMENTS:
            return Header("PNG", width, height)
        if name == b"eXIf":
            exif = data[start:end]
    return Header("PNG", width, height, width * height <= CHEAP_PIXELS and _few_tags(exif))


def _webp(data: bytes) -> Header:
    width, height = _webp_size(data)
    place, exif = 12, b""
    for _ in range(_CHEAP_SEGMENTS):
        if place + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, place)
        if name == b"EXIF":
            exif = data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
    else:
        return Header("WEBP", width, height)
    return Header("WEBP", width, height, width * height <= CHEAP_PIXELS and _few_tags(exif))


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _bmp(data: bytes) -> Header:
    """Run-length encoding (1 and 2) is decoded run by run."""
    (size,) = struct.unpack_from("<I", data, 14)
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        compression = 0
    else:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    pixels = abs(width * height)
    return Header("BMP", abs(width), abs(height), pixels <= CHEAP_PIXELS and compression not in (1, 2))


def _tiff(data: bytes) -> Header:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return Header("TIFF")
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    if count > _CHEAP_TAGS:
        return Header("TIFF")
    values: dict[int, int] = {}
    copied = 0
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHII", data, entry)
        values[tag] = struct.unpack_from(f"{order}H", data, entry + 8)[0] if kind == 3 else value
        copied += 8 * number
    width, height = values.get(256, 0), values.get(257, 0)
    pieces, area = _tiff_pieces(values, width, height)
    plain = values.get(259, 1) in _CHEAP_TIFF and pieces <= 0x10000 and area <= CHEAP_PIXELS
    cheap = plain and copied <= _CHEAP_EXIF and 0 < width * height <= CHEAP_PIXELS
    return Header("TIFF", width, height, cheap)


def _tiff_pieces(values: dict[int, int], width: int, height: int) -> tuple[int, int]:
    """How many tiles or strips, and the pixels of one."""
    if 322 in values or 323 in values:
        across, down = max(values.get(322, 1), 1), max(values.get(323, 1), 1)
    else:
        across, down = max(width, 1), min(max(values.get(278, height), 1), max(height, 1))
    return -(-width // across) * -(-height // down), across * down


def _few_tags(exif: bytes) -> bool:
    """Whether an EXIF block can't grow while it is read: every tag may name the whole block."""
    block = exif.removeprefix(b"Exif\0\0")
    if len(block) < 10:
        return True
    order = "<" if block.startswith(b"II") else ">"
    (place,) = struct.unpack_from(f"{order}I", block, 4)
    if place + 2 > len(block):
        return True
    count: int = struct.unpack_from(f"{order}H", block, place)[0]
    return min(count, len(block) // 12) * len(block) <= _CHEAP_EXIF
