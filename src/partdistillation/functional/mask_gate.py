"""Masks as other people's tools give them: one gate, for what can mean one thing only.

OpenCV and Pillow write masks as 0 and 255, SAM 2 as floats, torchvision as tensors, annotation tools as run
lengths and polygons. All of them become bool, height x width. What could mean several things, such as values
between 0 and 1, is refused: a guess would be a wrong mask that nobody notices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.functional.arrays import SupportsArray, as_array, is_tensor, named
from partdistillation.functional.masks import EncodedMask, EncodedMasks, decode, from_coco

MaskLike = np.ndarray | SupportsArray | Image.Image | EncodedMask | Mapping[str, Any] | Sequence[Any]
"""A mask in any of these forms:

- False and True, 0 and 1, or 0 and 255, of any type: an array, a tensor, nested lists, a Pillow image of one
  channel; (1, height, width) and (height, width, 1) too;
- `{"size": [height, width], "counts": ...}`: COCO's run-length encoding, compressed or not;
- `[[x0, y0, x1, y1, ...], ...]`: COCO's polygons, in pixels; one flat list, and points (x, y), too.
"""

_MOST_PIXELS = 1 << 28
"""More than any photograph that is read: a few bytes of run lengths may claim any size."""
_LISTED = 4


def as_mask(values: MaskLike, size: tuple[int, int] | None = None) -> Bool[np.ndarray, "height width"]:
    """The mask that is meant.

    Args:
        values: see `MaskLike`; polygons (in pixels) need a `size`.
        size: height and width that it must have, where they are known.

    Raises:
        InputError: other values, another size, or nothing that is a mask.
    """
    outlines = as_polygons(values, size)
    if outlines is not None:
        if size is None:
            raise InputError("Expected the size of the image that polygons are drawn on, found none.")
        return from_coco(outlines, *size)
    if isinstance(values, EncodedMask | Mapping):
        return _run_lengths(values, size)
    mask = _binary(_flat(as_array(values, "a mask")))
    if not mask.flags.writeable or min(mask.strides) < 0:  # which torch can't share
        mask = mask.copy()
    if size is not None and mask.shape != size:
        raise _other_size(mask.shape, size)
    return mask


def as_polygons(values: object, size: tuple[int, int] | None = None) -> list[list[float]] | None:
    """COCO's polygons, each [x0, y0, x1, y1, ...]; None where something else is meant.

    They may be one list of numbers, or lists (or arrays) of numbers or of points. Rows of zeros and ones, or
    as many as the image has, are a mask instead.

    Raises:
        InputError: all coordinates are in 0..1: shares of the image, not pixels.
    """
    if not isinstance(values, list | tuple) or isinstance(values, EncodedMask) or not values:
        return None
    if not isinstance(values[0], list | tuple | np.ndarray) and not is_tensor(values[0]):
        values = [values]
    outlines = [_outline(outline) for outline in values]
    polygons = [outline for outline in outlines if outline is not None]
    if len(polygons) < len(outlines) or _are_rows(values, size):
        return None
    if all(0 <= coordinate <= 1 for polygon in polygons for coordinate in polygon):
        raise InputError(
            "Expected polygons in pixels or a mask's rows of zeros and ones, found numbers in 0..1; multiply "
            "a polygon's by the image's width and height, and say of a mask what is inside (above .5)."
        )
    return polygons


def as_masks(values: object) -> Bool[np.ndarray, "mask height width"] | EncodedMasks:
    """Masks of one size, as `as_mask` takes each; encoded ones stay so.

    Raises:
        InputError: as `as_mask`, or masks of different sizes.
    """
    if isinstance(values, EncodedMasks):
        return values
    if isinstance(values, np.ndarray) or is_tensor(values):
        stack = as_array(values, "masks")
        if stack.ndim == 3 or stack.size == 0:
            return _binary(stack) if stack.ndim == 3 else np.zeros((0, 0, 0), np.bool_)
        raise InputError(f"Expected masks (number, height, width), found an array {stack.shape}.")
    try:
        masks = [as_mask(mask) for mask in values]  # type: ignore[attr-defined]
    except TypeError as error:
        raise InputError(f"Expected masks of an image, found {type(values).__name__}.") from error
    if len({mask.shape for mask in masks}) > 1:
        raise InputError(
            f"Expected masks of one size, found {sorted({mask.shape for mask in masks})}; resize them."
        )
    return np.stack(masks) if masks else np.zeros((0, 0, 0), np.bool_)


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """Height x width; a third axis of length 1, before or after them, is left out."""
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        return array[0] if array.shape[0] == 1 else array[:, :, 0]
    if array.ndim != 2:
        raise InputError(
            f"Expected a mask (height, width), found an array of shape {array.shape}; give one an object."
        )
    return array


def _binary(array: NDArray[Any]) -> NDArray[np.bool_]:
    """False and True for 0 and 1 or for 0 and 255, of any type."""
    if array.dtype == np.bool_:
        # Pillow's bilevel images, and views of other masks, have 255 for True in memory
        return array if array.view(np.uint8).max(initial=0) <= 1 else array.view(np.uint8) != 0
    inside: NDArray[np.bool_] = array == (255 if array.max(initial=0) == 255 else 1)
    other = ~inside & (array != 0)
    if other.any():
        examples = ", ".join(f"{value:g}" for value in np.unique(array[other])[:_LISTED].tolist())
        raise InputError(
            "Expected a mask of False and True, of 0 and 1 or of 0 and 255, found other values such as "
            f"{examples}; say what is inside, as in `mask > 0.5`."
        )
    return inside


def _run_lengths(
    values: EncodedMask | Mapping[str, Any], size: tuple[int, int] | None
) -> Bool[np.ndarray, "height width"]:
    encoding = values._asdict() if isinstance(values, EncodedMask) else values
    claimed = encoding.get("size", (encoding.get("height"), encoding.get("width")))
    try:
        height, width = (int(side) for side in claimed)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            'Expected a run-length encoding as {"size": [height, width], "counts": ...}, found '
            f"{named(values)} with the keys {sorted(map(str, encoding))[:_LISTED]}."
        ) from error
    if size is not None and (height, width) != size:
        raise _other_size((height, width), size)
    if height * width > _MOST_PIXELS:
        raise InputError(f"Expected a mask of at most {_MOST_PIXELS} pixels, found {height} x {width}.")
    if isinstance(values, EncodedMask):
        return decode(values.counts, height, width)
    counts = encoding.get("counts")
    counts = counts.tolist() if isinstance(counts, np.ndarray) or is_tensor(counts) else counts
    counts = bytes(counts) if isinstance(counts, bytearray) else counts
    return from_coco({"size": [height, width], "counts": counts}, height, width)


def _outline(values: object) -> list[float] | None:
    """The coordinates of a polygon, in a row or as points; None where it can't be one."""
    try:
        array = as_array(values, "a polygon")
    except InputError:
        return None
    points = array.ndim == 2 and array.shape[1] == 2
    if array.dtype == np.bool_ or not (array.ndim == 1 or points):
        return None
    coordinates: list[float] = array.reshape(-1).astype(np.float64).tolist()
    return coordinates


def _are_rows(values: Sequence[Any], size: tuple[int, int] | None) -> bool:
    """Whether these are a mask's rows: as many as the image has, or several of two values alone."""
    lengths = {len(row) for row in values}
    if len(lengths) > 1:
        return False
    array = as_array(values, "a mask")
    if array.shape == size:
        return True
    try:
        return array.ndim == 2 and len(array) > 1 and _binary(array).ndim == 2
    except InputError:
        return False


def _other_size(shape: tuple[int, ...], size: tuple[int, int]) -> InputError:
    return InputError(
        f"Expected a mask of the image's size {size} (height, width), found {shape}; resize it to the image."
    )
