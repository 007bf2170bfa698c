"""From an image file's content to its pixels, here and now: images.py says what is made of what.

Pixels are converted strip by strip, so that beside Pillow's image (4 bytes a pixel) only the result takes
memory.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import numpy as np
from jaxtyping import Int32, Num, UInt8
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, features

from partdistillation.data.damage import damage_of
from partdistillation.data.headers import MOST_SCANS, Header, other_format, read_header
from partdistillation.errors import InputError, to_install
from partdistillation.functional.palettes import whites

_AVIF = ("AVIF",) if "avif" in features.modules and features.check("avif") else ()
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", *_AVIF)
MAX_PIXELS = 64_000_000
MAX_REDUCED_PIXELS = 4 * MAX_PIXELS
"""JPEGs up to this are decoded at half their size."""
MAX_JPEG_MEMORY = 700 << 20

Wanted = Literal["rgb", "labels", "size"]

_STRIP_PIXELS = 1 << 20

# Pillow refuses more than 1 MB of text in a chunk. It also bounds all of them together, which is what costs.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)


def decode(data: bytes, path: Path, wanted: Wanted, *, strict: bool) -> Num[np.ndarray, "..."]:
    """The pixels, the labels, or (width, height) of an image file's content.

    Args:
        data: the content.
        path: for messages, which start with it and a colon.
        wanted: upright 8-bit RGB, unscaled labels, or the size of either.
        strict: refuse what decodes with warnings.

    Raises:
        InputError: it isn't an image of a known kind, or damaged.
    """
    header = read_header(data)
    with _opened(data, header, path) as image:
        if wanted == "size":
            return np.array(_upright_size(image))
        if strict and (damage := damage_of(data)):
            raise InputError(
                f"{path}: expected a whole, readable image, found damaged data ({damage}); replace the file"
            )
        image.load()
        return (
            _labels(image, path) if wanted == "labels" else _upright(_rgb(image, path), _orientation(image))
        )


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels that would be read from the file of an image that Pillow has opened.

    Raises:
        InputError: as `decode`, and for an image that is closed.
    """
    name = Path("a Pillow image")
    try:
        _check_size(*image.size, name)
        image.load()
        return _upright(_rgb(image, name), _orientation(image))
    except InputError:
        raise
    except Exception as error:  # as below
        raise InputError(f"{name}: expected one that is open and whole, found {error}") from error


@contextmanager
def _opened(data: bytes, header: Header, path: Path) -> Iterator[Image.Image]:
    """The file with its header read and checked; whatever decoding raises inside becomes an InputError."""
    try:
        with _image(data, header, path) as image:
            _check_size(*image.size, path)
            yield image
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS} pixels; {error}; shrink the image"
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: expected a JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF image, found {other_format(data)}; "
            "convert or remove it"
        ) from error
    # Decoders document no closed set of exceptions for damaged data (OSError, SyntaxError, ValueError,
    # struct.error, EOFError, ... have all been seen), and one bad file must not end a run.
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole, readable image, found damaged data ({error}); replace the file"
        ) from error


def _image(data: bytes, header: Header, path: Path) -> Image.Image:
    _check_scans(header, path)
    if header.kind == "JPEG" and MAX_PIXELS < header.width * header.height <= MAX_REDUCED_PIXELS:
        # Not through Image.open, which refuses the size that is never decoded.
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        image.draft(image.mode, (header.width // 2, header.height // 2))
        return image
    if header.kind == "HEIC":
        _register_heic(path)
        return Image.open(io.BytesIO(data), formats=["HEIF"])
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _register_heic(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise InputError(
            f"{path}: expected a JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF image, found HEIC, as phones make "
            f"it; `{to_install('heic')}` lets it be read, or convert it to JPEG"
        ) from error
    pillow_heif.register_heif_opener()


def _check_scans(header: Header, path: Path) -> None:
    if header.scans > MOST_SCANS:
        raise InputError(
            f"{path}: expected a JPEG of at most {MOST_SCANS} scans, found more; save it again in a viewer"
        )
    if header.memory > MAX_JPEG_MEMORY:
        raise InputError(
            f"{path}: expected a JPEG that takes at most {MAX_JPEG_MEMORY >> 20} MB, found {header.width} x "
            f"{header.height} pixels in {header.scans} scans, {header.memory >> 20} MB; save it as "
            "baseline JPEG"
        )


def _check_size(width: int, height: int, path: Path) -> None:
    if width < 1 or height < 1:
        raise InputError(f"{path}: expected at least one pixel, found {width} x {height}; replace the file")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS} pixels, found {width} x {height} = {width * height}; "
            "shrink the image"
        )


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    # A damaged EXIF block says nothing about the pixels; like viewers, take the image as it is stored.
    except Exception:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    # Pillow's TIFF reader already reports the upright size.
    turned = image.format != "TIFF" and _orientation(image) >= 5
    return (height, width) if turned else (width, height)


def _upright(pixels: Num[np.ndarray, "..."], orientation: int) -> Num[np.ndarray, "..."]:
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _in_strips(
    image: Image.Image,
    dtype: type[np.generic],
    channels: tuple[int, ...],
    convert: Callable[[Image.Image], np.ndarray],
) -> Num[np.ndarray, "..."]:
    """An array of an image's size, filled by what `convert` makes of a few rows at a time."""
    width, height = image.size
    filled = np.empty((height, width, *channels), dtype)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        filled[top:bottom] = convert(image.crop((0, top, width, bottom)))
    return filled


def _labels(image: Image.Image, path: Path) -> Int32[np.ndarray, "height width"]:
    if image.mode not in ("1", "L", "P", "I;16", "I;16B", "I"):
        raise InputError(
            f"{path}: expected a label map with one channel of integers, found mode {image.mode}; "
            "save it with one channel, as whole numbers"
        )
    labels = _upright(_in_strips(image, np.int32, (), np.asarray), _orientation(image))
    if (inside := whites(image)) is not None:
        labels = inside[labels].astype(np.int32)
    if labels.min() < 0:
        raise InputError(f"{path}: expected labels >= 0, found {labels.min()}; 0 is the background")
    return labels


def _rgb(image: Image.Image, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    match image.mode:
        case "I;16" | "I;16B" | "I":
            _check_16_bit(image, path)
            convert = _grey_from_16_bit
        case "RGB" | "L" | "1" | "CMYK" | "YCbCr" | "RGBX" if not image.has_transparency_data:
            convert = _opaque
        case "RGB" | "L" | "1" | "P" | "PA" | "LA" | "RGBA" | "La" | "RGBa":
            convert = _on_white
        case mode:
            raise InputError(
                f"{path}: expected integer grey or colour channels, found pixel format {mode}, which has no "
                "agreed white level; convert it to 8-bit RGB"
            )
    return _in_strips(image, np.uint8, (3,), convert)


def _check_16_bit(image: Image.Image, path: Path) -> None:
    low, high = cast(tuple[int, int], image.getextrema()) if image.mode == "I" else (0, 0)
    if low < 0 or high > 0xFFFF:
        raise InputError(
            f"{path}: expected 16-bit values in 0..65535, found {low}..{high}; "
            "convert it to 8-bit or 16-bit greyscale"
        )


def _grey_from_16_bit(image: Image.Image) -> UInt8[np.ndarray, "height width 1"]:
    values = np.asarray(image).astype(np.int32)
    grey = (values >> 8).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return grey[:, :, None]


def _opaque(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    return np.asarray(image.convert("RGB"))


def _on_white(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    # Premultiplied and palette modes have no direct way to every other mode, but all have one to RGBA.
    rgba = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
