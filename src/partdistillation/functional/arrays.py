"""Numbers as other libraries hold them, as numpy's arrays and Python's floats."""

import math
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partdistillation.errors import InputError
from partdistillation.functional.palettes import whites

if TYPE_CHECKING:
    from torch import Tensor

_GREY = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
"""Of Pillow: the modes with one channel."""


@runtime_checkable
class SupportsArray(Protocol):
    """An array of any library: NumPy's, PyTorch's tensors."""

    def __array__(self) -> np.ndarray: ...


def is_tensor(values: object) -> "TypeGuard[Tensor]":
    """Whether this is PyTorch's, which needn't be installed, and isn't imported here, for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_array(values: object, what: str) -> NDArray[Any]:
    """Numbers as an array, wherever they are: tensors of any device, nested lists, Pillow images.

    Raises:
        InputError: nothing of the kind; `what` says in the message what is expected.
    """
    if isinstance(values, Image.Image) and values.mode not in _GREY:
        raise InputError(
            f"Expected {what} of one channel, found a Pillow image of mode {values.mode}; make it grey"
        )
    try:
        if is_tensor(values):
            tensor = values.detach().cpu()
            values = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
        inside = whites(values) if isinstance(values, Image.Image) else None
        array = np.asarray(values)
        array = array if inside is None else inside[array]
    except Exception as error:  # closed or truncated images, ragged lists: each library has its own
        raise InputError(f"Expected {what}, found {named(values)} that can't be read: {error}") from error
    if array.dtype.kind not in "buif":
        raise InputError(f"Expected {what} as numbers, found {named(values)}.")
    return array


def as_number(value: object, what: str) -> float:
    """A number of any type as a plain float.

    Raises:
        InputError: it isn't one, or isn't finite.
    """
    number = math.nan
    if not isinstance(value, str | bytes | bool | np.bool_):
        try:
            number = float(value.detach() if is_tensor(value) else value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            number = math.nan
    if not math.isfinite(number):
        raise InputError(f"Expected {what} as a finite number, found {named(value)} ({value!s:.40}).")
    return number


def named(values: object) -> str:
    """What a value is, for messages."""
    return "nothing" if values is None else f"a {type(values).__name__}"
