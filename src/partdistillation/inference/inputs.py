"""What `PartSegmenter` is given: photographs and objects, in whatever form people have them."""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, SupportsFloat, TypeGuard

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from partdistillation.data.decoding import pixels_of
from partdistillation.data.images import load_image
from partdistillation.errors import InputError
from partdistillation.functional.arrays import SupportsArray, as_array, as_number, is_tensor, named
from partdistillation.functional.mask_gate import MaskLike, as_mask, as_polygons
from partdistillation.inference.result import FoundObject
from partdistillation.objects import Instance
from partdistillation.settings import at_home

Photo = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | np.ndarray
    | SupportsArray
)
"""A file, opened or not, a file's contents, a Pillow image, or uint8: grey, RGB or RGBA, channels last."""

_ADVICE = "give a list of ObjectMask(mask, category) or of pairs (mask, category)"


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """An object whose parts are wanted.

    Its mask becomes bool, height x width, whatever it was (see `MaskLike`); only polygons stay polygons until
    the image, with its size, is known. The score, of any number type, becomes a plain float.

    Raises:
        InputError: the mask isn't one (values between 0 and 1, where `mask > 0.5` would say what is inside,
            coordinates in 0..1, other shapes, None, images that are closed or truncated), the category isn't
            text or the score isn't a number.
    """

    mask: MaskLike
    category: str
    score: SupportsFloat = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.category, str):
            raise InputError(f"Expected an object's category as text, found {self.category!r:.60}.")
        mask = self.mask if as_polygons(self.mask) is not None else as_mask(self.mask)
        # np.str_ and np.float32 would end up in files as they are
        cleaned = {"mask": mask, "category": str(self.category), "score": as_number(self.score, "a score")}
        for name, value in cleaned.items():
            object.__setattr__(self, name, value)


ObjectLike = ObjectMask | FoundObject | tuple[MaskLike, str] | tuple[MaskLike, str, SupportsFloat]


def instances_of(objects: object, height: int, width: int) -> list[Instance]:
    """The objects of an image of this size, from any iterable of them.

    Raises:
        InputError: something else; the message says which of the objects.
    """
    if isinstance(objects, str | bytes | ObjectMask | FoundObject) or not isinstance(objects, Iterable):
        raise InputError(f"Expected the objects of an image, found {type(objects).__name__}; {_ADVICE}.")
    instances = []
    for number, wanted in enumerate(objects):
        try:
            instances.append(_instance(wanted, (height, width)))
        except InputError as error:
            raise InputError(f"object {number}: {error}") from error
    return instances


def _instance(wanted: Any, size: tuple[int, int]) -> Instance:
    if isinstance(wanted, tuple | list) and len(wanted) in (2, 3) and isinstance(wanted[1], str):
        wanted = ObjectMask(*wanted)
    if not isinstance(wanted, ObjectMask | FoundObject):
        raise InputError(f"Expected an object with its mask, found {type(wanted).__name__}; {_ADVICE}.")
    mask = as_mask(wanted.mask, size)
    if not mask.any():
        raise InputError(
            f"Expected a mask of at least one pixel, found 0 pixels in a mask of {wanted.category!r}; leave "
            "the object out."
        )
    return Instance(mask, wanted.category, as_number(wanted.score, "a score"))


def are_several(image: object) -> TypeGuard[Sequence[Photo]]:
    """Whether these are photographs, and not one."""
    single = str | bytes | bytearray | memoryview | Image.Image | np.ndarray
    one_image = isinstance(image, single) or is_tensor(image) or hasattr(image, "read")
    return isinstance(image, Iterable) and not one_image


def photograph(image: object) -> tuple[UInt8[np.ndarray, "height width 3"], str]:
    """The pixels, as they would be read from the image's file, and the file's name if there is one.

    Raises:
        InputError: it can't be read, or is something else.
    """
    match image:
        case str() | os.PathLike():
            path = at_home(Path(image))
            path = path.expanduser() if path.parts[:1] == ("~",) else path
            return load_image(path), path.name
        case bytes() | bytearray() | memoryview():
            return _decoded(bytes(image)), ""
        case Image.Image():
            return pixels_of(image), ""
        case np.ndarray():
            return _rgb(as_array(image, "an image")), ""
    if is_tensor(image):
        return _rgb(as_array(image, "an image")), ""
    if (read := getattr(image, "read", None)) is not None:
        return _decoded(_contents(read)), ""
    raise InputError(
        "Expected an image: a path, a file's bytes, a Pillow image or a uint8 array (height, width, 3), "
        f"found {type(image).__name__}."
    )


def _contents(read: Callable[[], object]) -> bytes:
    try:
        contents = read()
    except (OSError, ValueError) as error:  # ValueError where it is closed, or isn't text
        raise InputError(f"Expected a file opened for reading as bytes, found {error}.") from error
    if not isinstance(contents, bytes):
        raise InputError(f"Expected a file opened for reading as bytes, found {named(contents)} in it.")
    return contents


def _decoded(contents: bytes) -> UInt8[np.ndarray, "height width 3"]:
    """By way of a file, so that they are read and checked just as a file is."""
    with tempfile.TemporaryDirectory(prefix="partdistill-") as folder:
        path = Path(folder) / "photograph"
        path.write_bytes(contents)
        try:
            return load_image(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), "an image's bytes")) from error


def _rgb(values: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or channels not in (1, 3, 4) or not values.size:
        advice = "; put the channels last" if values.ndim == 3 and values.shape[0] in (1, 3, 4) else ""
        raise InputError(
            "Expected an image as uint8 (height, width), (height, width, 3) or (height, width, 4), found "
            f"{values.dtype} {values.shape}{advice}."
        )
    if channels == 4:
        return pixels_of(Image.fromarray(np.ascontiguousarray(values)))
    if channels == 1:
        return np.repeat(values.reshape(*values.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(values)


def per_photograph(objects: object, count: int) -> Sequence[Any]:
    """The objects of each of several photographs.

    Raises:
        InputError: as many aren't given as there are photographs.
    """
    if objects is None:
        return [None] * count
    if not isinstance(objects, list | tuple) or len(objects) != count:
        actual = len(objects) if isinstance(objects, list | tuple) else type(objects).__name__
        raise InputError(
            f"Expected a list with the objects of each of {count} photographs (or None, to find them), found "
            f"{actual}; {_ADVICE} for each."
        )
    return objects
