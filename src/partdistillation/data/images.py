"""Reading images: one definition of what a file's pixels are, for every stage.

JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF (where Pillow has it) and HEIC (with pillow-heif), recognised by
content, in files or in tar archives (`runs/archives.py`). The header is checked before anything is decoded
(at most `MAX_PIXELS`; a JPEG of up to four times as many is read at half its size), the first frame is taken,
the EXIF orientation is applied, and every pixel format that has an agreed white level becomes 8-bit RGB:

- 16-bit channels keep their high byte (Pillow's own conversion of 16-bit grey saturates at 255);
- 32-bit integers are read as 16-bit where all values are in 0..65535, otherwise rejected;
- floating point has no agreed range: rejected;
- transparency is composited on white, as viewers show it; palette, grey, 1-bit, YCbCr and CMYK are
  converted as Pillow does, colour profiles ignored.

A truncated or damaged file is rejected: half a photograph filled with grey is no photograph (`damage.py`).
What isn't sure to be cheap is decoded in a process of its own (`headers.py`, `apart.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Num, UInt8

from partdistillation.data.apart import decode_apart
from partdistillation.data.decoding import MAX_PIXELS, MAX_REDUCED_PIXELS, Wanted, decode
from partdistillation.data.headers import MOST_SCANS, read_header
from partdistillation.data.paths import absence
from partdistillation.errors import InputError
from partdistillation.runs.archives import place_of

__all__ = [
    "MAX_PIXELS",
    "ImageInput",
    "damage_allowed",
    "image_size",
    "load_image",
    "load_image_of",
    "load_label_map",
]

MAX_BYTES = 1 << 30
"""Of a file."""


_tolerant: ContextVar[bool] = ContextVar("tolerant", default=False)


@dataclass(frozen=True)
class ImageInput:
    """One image to process. Every `ImageInput` ends as one row of every stage."""

    image_id: str
    """Unique in the data set."""
    file_name: str
    """Relative to the images directory, with forward slashes."""
    path: Path
    category: str | None = None
    """The class of the image's objects, where a folder tells it."""
    problem: str = ""
    """Why the image can't be used, where that is known without opening it."""


@contextmanager
def damage_allowed() -> Iterator[None]:
    """Within, photographs and label maps that decode with warnings are read all the same."""
    token = _tolerant.set(True)
    try:
        yield
    finally:
        _tolerant.reset(token)


def load_image_of(path: Path, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """As `load_image`, of an image whose objects are known: whether it is damaged was judged then.

    Raises InputError as `load_image`, and where the image has another size than when they were found.
    """
    with damage_allowed():
        pixels = load_image(path)
    if pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: expected {width} x {height} pixels as when its objects were found, found "
            f"{pixels.shape[1]} x {pixels.shape[0]}; the file has changed"
        )
    return pixels


def load_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Read the first frame of an image file as upright 8-bit RGB.

    Raises InputError where that can't be done; the message starts with `path` and a colon.
    """
    return _read(path, "rgb")


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` would return, from the header where that is possible.

    Only a PNG whose EXIF block doesn't precede its pixels has to be decoded. Raises InputError as
    `load_image`, except for damage that only shows when decoding.
    """
    width, height = _read(path, "size").tolist()
    return width, height


def load_label_map(path: Path) -> Int32[np.ndarray, "height width"]:
    """Read an image file of labels: grey values (8, 16 or 32 bits, or 1) or palette indices, unscaled.

    Raises InputError as `load_image`, and for colour or alpha channels, floating-point or negative values.
    """
    return _read(path, "labels")


def _read(path: Path, wanted: Wanted) -> Num[np.ndarray, "..."]:
    data = _content(path)
    header, strict = read_header(data), not _tolerant.get()
    if header.cheap or header.scans > MOST_SCANS:
        return decode(data, path, wanted, strict=strict)
    del data  # the process that decodes reads its own
    pixels = header.width * header.height or MAX_PIXELS
    return decode_apart(path, wanted, strict=strict, pixels=min(pixels, MAX_REDUCED_PIXELS))


def _content(path: Path) -> bytes:
    if missing := absence(path):
        raise InputError(f"{path}: expected an image file, found {missing}")
    try:
        place = place_of(path)
        size = place.size if place else path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{path}: expected a file of at most {MAX_BYTES >> 20} MB, found {size >> 20} MB; shrink it"
            )
        return place.read() if place else path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: expected a readable image file, found {error.strerror}; check it"
        ) from error
