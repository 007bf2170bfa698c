"""Damage that decoders pass over: libjpeg only warns of it, and Pillow checks no PNG's pixels.

Half of a JPEG with an end marker decodes to half a photograph above grey, without an error. Its entropy-coded
data are read here once more, at an eighth of its size and in grey, by a libjpeg that says what it has met.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import simplejpeg
from PIL import Image, TiffImagePlugin

from partdistillation.data.headers import kind_of, png_chunks

_JPEG_IN_TIFF = 7


def damage_of(data: bytes) -> str:
    """What is wrong with an image file that decodes all the same; nothing where all is well."""
    match kind_of(data):
        case "JPEG":
            return _jpeg_damage(data)
        case "PNG":
            return _png_damage(data)
        case "TIFF":
            return next((damage for piece in _jpeg_pieces(data) if (damage := _jpeg_damage(piece))), "")
    return ""


def _jpeg_damage(data: bytes) -> str:
    """The first warning of libjpeg; what this one can't decode (CMYK with subsampling) is left to Pillow."""
    try:
        _, _, colors, _ = simplejpeg.decode_jpeg_header(data, strict=False)
        kind = "CMYK" if colors == "CMYK" else "GRAY"
        _read_jpeg(data, kind, strict=True)
    except ValueError as warning:
        try:
            _read_jpeg(data, kind, strict=False)
        except ValueError:
            return ""
        return str(warning)
    return ""


def _read_jpeg(data: bytes, kind: str, *, strict: bool) -> None:
    simplejpeg.decode_jpeg(
        data, kind, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8, strict=strict
    )


def _png_damage(data: bytes) -> str:
    for name, start, end in png_chunks(data):
        if name == b"IDAT":
            (expected,) = struct.unpack_from(">I", data, end)
            if zlib.crc32(data[start - 4 : end]) != expected:
                return f"wrong checksum of the pixels at byte {start}"
    return ""


def _jpeg_pieces(data: bytes) -> Iterator[bytes]:
    """The strips or tiles of a TIFF that are JPEGs, each with the tables that it lacks."""
    with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
        if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.tag_v2.get(259) != _JPEG_IN_TIFF:
            return
        tables = image.tag_v2.get(347, b"")
        places = image.tag_v2.get(324) or image.tag_v2.get(273) or ()
        lengths = image.tag_v2.get(325) or image.tag_v2.get(279) or ()
    for place, length in zip(places, lengths, strict=False):
        piece = data[place : place + length]
        yield (tables[:-2] + piece[2:]) if tables else piece
