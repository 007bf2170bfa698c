"""Reading images: one definition of what a file's pixels are, for every stage.

JPEG, PNG, WebP, BMP, TIFF, GIF and (where Pillow has it) AVIF, recognised by content. The header is checked
before anything is decoded (at most `MAX_PIXELS`), the first frame is taken, the EXIF orientation is applied,
and every pixel format that has an agreed white level becomes 8-bit RGB:

- 16-bit channels keep their high byte (Pillow's own conversion of 16-bit grey saturates at 255);
- 32-bit integers are read as 16-bit where all values are in 0..65535, otherwise rejected;
- floating point has no agreed range: rejected;
- transparency is composited on white, as viewers show it; palette, grey, 1-bit, YCbCr and CMYK are
  converted as Pillow does, colour profiles ignored.

A truncated or damaged file is rejected: half a photograph filled with grey is no photograph.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import ExifTags, Image, UnidentifiedImageError, features

from partdistillation.data.paths import absence
from partdistillation.errors import InputError

_AVIF = ("AVIF",) if "avif" in features.modules and features.check("avif") else ()
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", *_AVIF)
MAX_PIXELS = 64_000_000

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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


def load_image_of(path: Path, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """As `load_image`, of an image whose objects are known.

    Raises InputError as `load_image`, and where the image has another size than when they were found.
    """
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
    with _opened(path) as image:
        image.load()
        return _rgb(_upright(image), path)


def pixels_of(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels that `load_image` would read from the file of an image that Pillow has opened.

    Raises InputError as `load_image`, and for an image that is closed.
    """
    name = Path("a Pillow image")
    try:
        _check_size(*image.size, name)
        image.load()
        return _rgb(_upright(image), name)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name}: expected one that is open and whole, found {_said(error)}") from error


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of what `load_image` would return, from the header where that is possible.

    Only a PNG whose EXIF block doesn't precede its pixels has to be decoded. Raises InputError as
    `load_image`, except for damage that only shows when decoding.
    """
    with _opened(path) as image:
        width, height = image.size
        # Pillow's TIFF reader already reports the upright size.
        turned = image.format != "TIFF" and _orientation(image) >= 5
        return (height, width) if turned else (width, height)


def load_label_map(path: Path) -> Int32[np.ndarray, "height width"]:
    """Read an image file of labels: grey values (8, 16 or 32 bits, or 1) or palette indices, unscaled.

    Raises InputError as `load_image`, and for colour or alpha channels, floating-point or negative values.
    """
    with _opened(path) as image:
        image.load()
        if image.mode not in ("1", "L", "P", "I;16", "I;16B", "I"):
            raise InputError(
                f"{path}: expected a label map with one channel of integers, found mode {image.mode}; "
                "save it with one channel, as whole numbers"
            )
        labels = np.asarray(_upright(image)).astype(np.int32)
    if labels.min() < 0:
        raise InputError(f"{path}: expected labels >= 0, found {labels.min()}; 0 is the background")
    return labels


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file with its header read and checked; whatever decoding raises inside becomes an InputError."""
    if missing := absence(path):
        raise InputError(f"{path}: expected an image file, found {missing}")
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_size(*image.size, path)
            yield image
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS} pixels; {error}; shrink the image"
        ) from error
    except UnidentifiedImageError as error:
        content = "an empty file" if path.stat().st_size == 0 else "another format or a damaged header"
        raise InputError(
            f"{path}: expected a JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF image, found {content}; "
            "convert or remove it"
        ) from error
    # Decoders document no closed set of exceptions for damaged data (OSError, SyntaxError, ValueError,
    # struct.error, EOFError, ... have all been seen), and one bad file must not end a run.
    except Exception as error:
        raise InputError(
            f"{path}: expected a whole, readable image, found {_said(error)}; replace the file"
        ) from error


def _said(error: Exception) -> str:
    """What happened, without the path that the system's own errors repeat."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged data ({error})"


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


def _upright(image: Image.Image) -> Image.Image:
    orientation = _orientation(image)
    return image.transpose(_TRANSPOSE[orientation]) if orientation > 1 else image


def _rgb(image: Image.Image, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    match image.mode:
        case "I;16" | "I;16B" | "I":
            return _grey_from_16_bit(image, path)
        case "RGB" | "L" | "1" | "CMYK" | "YCbCr" | "RGBX" if not image.has_transparency_data:
            return np.array(image.convert("RGB"))
        case "RGB" | "L" | "1" | "P" | "PA" | "LA" | "RGBA" | "La" | "RGBa":
            return _on_white(image)
        case mode:
            raise InputError(
                f"{path}: expected integer grey or colour channels, found pixel format {mode}, which has no "
                "agreed white level; convert it to 8-bit RGB"
            )


def _grey_from_16_bit(image: Image.Image, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise InputError(
            f"{path}: expected 16-bit values in 0..65535, found {values.min()}..{values.max()}; "
            "convert it to 8-bit or 16-bit greyscale"
        )
    grey = (values >> 8).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _on_white(image: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    # Premultiplied and palette modes have no direct way to every other mode, but all have one to RGBA.
    rgba = image.convert({"La": "LA", "RGBa": "RGBA"}.get(image.mode, image.mode)).convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
