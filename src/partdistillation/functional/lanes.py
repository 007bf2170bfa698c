"""Four float32 that a compiled kernel loads, weighs and stores at once.

numba makes vectors of loops over points, not of the four additions in a loop's body that the splats and
blurs of a lattice consist of: those ran one float at a time, at half the speed. So kernels handle `Lanes`,
which LLVM knows as a vector on every processor.

The numbers are rounded one by one as they are without vectors: results are the same to the bit.
numba's cache of a kernel doesn't notice a change of this file: touch the kernel's.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

WIDTH = 4

_VECTOR = ir.VectorType(ir.FloatType(), WIDTH)
_EVERY_LANE = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
_UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)


class Lanes(types.Type):
    """Four float32 in a register; only inside compiled kernels."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


_LANES = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]


def _intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(inspect.unwrap(function))  # numba reads only the plain function's arguments


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Of the four floats at a row of a C-contiguous array: a kernel's first two arguments."""
    array, row = arguments[:2]
    array_type, row_type = signature.args[:2]
    index = context.cast(builder, row, row_type, types.uintp)
    first = builder.mul(index, ir.Constant(index.type, WIDTH))
    view: Any = make_array(array_type)  # type: ignore[no-untyped-call]
    data = view(context, builder, array).data
    return builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer())


def _zeros(_typing: Any) -> Any:
    def generate(*_: Any) -> Any:
        return ir.Constant(_VECTOR, [0.0] * WIDTH)

    return _LANES(), generate


def _load(_typing: Any, array: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, signature, arguments), align=4)

    return _LANES(array, row), generate


def _store(_typing: Any, array: Any, row: Any, lanes: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _address(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return types.none(array, row, lanes), generate


def _plus(_typing: Any, first: Any, second: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return _LANES(first, second), generate


def _plus_scaled(_typing: Any, lanes: Any, factor: Any, more: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(_UNDEFINED, arguments[1], ir.Constant(ir.IntType(32), 0))
        every = builder.shuffle_vector(one, _UNDEFINED, _EVERY_LANE)
        return builder.fadd(arguments[0], builder.fmul(every, arguments[2]))

    if factor != types.float32:
        return None  # numba says then that no such call exists
    return _LANES(lanes, factor, more), generate


# Arrays are C-contiguous and taken as rows of four floats; nothing checks that a row exists.
zeros = cast("Callable[[], Lanes]", _intrinsic(_zeros))
"""Four zeros."""
load = cast("Callable[[NDArray[np.float32], int], Lanes]", _intrinsic(_load))
"""The four floats of a row: `load(array, row)`."""
store = cast("Callable[[NDArray[np.float32], int, Lanes], None]", _intrinsic(_store))
"""Overwrite the four floats of a row: `store(array, row, lanes)`."""
plus = cast("Callable[[Lanes, Lanes], Lanes]", _intrinsic(_plus))
"""`first + second`."""
plus_scaled = cast("Callable[[Lanes, np.float32, Lanes], Lanes]", _intrinsic(_plus_scaled))
"""`lanes + factor * more`."""
