"""A few float32 side by side that a compiled kernel loads, weighs and stores at once.

numba makes vectors of loops over points, not of the few additions in a loop's body that the splats and blurs
of a lattice or the samples of a map consist of: those ran one float at a time, at half the speed. So kernels
handle `Lanes`, which LLVM knows as a vector on every processor.

The numbers are rounded one by one as they are without vectors: results are the same to the bit.
numba's cache of a kernel doesn't notice a change of this file: touch the kernel's.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(32)


class Lanes(types.Type):
    """Float32 in a register; only inside compiled kernels."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Lanes({width})")
        self.vector = ir.VectorType(_FLOAT, width)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, kind.vector)  # type: ignore[no-untyped-call]


class Operations(NamedTuple):
    """What kernels do with lanes of a width.

    Arrays are C-contiguous and taken as rows of as many floats; nothing checks that a row exists.
    """

    zeros: Callable[[], Lanes]
    """As many zeros."""
    load: Callable[[NDArray[np.float32], int], Lanes]
    """The floats of a row: `load(array, row)`."""
    store: Callable[[NDArray[np.float32], int, Lanes], None]
    """Overwrite the floats of a row: `store(array, row, lanes)`."""
    plus: Callable[[Lanes, Lanes], Lanes]
    """`first + second`."""
    plus_scaled: Callable[[Lanes, np.float32, Lanes], Lanes]
    """`lanes + factor * more`."""
    plus_product: Callable[[Lanes, Lanes, Lanes], Lanes]
    """`lanes + first * second`."""
    total: Callable[[Lanes], np.float32]
    """The sum of all lanes, pair by pair."""


def operations(width: int, *, fused: bool = False) -> Operations:
    """The operations on `width` lanes. With `fused`, a product and its sum may be rounded once."""
    lanes = Lanes(width)
    flags = ("contract",) if fused else ()

    def zeros(_typing: Any) -> Any:
        return lanes(), lambda *_: ir.Constant(lanes.vector, [0.0] * width)

    def load(_typing: Any, array: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(_address(lanes, context, builder, signature, arguments), align=4)

        return lanes(array, row), generate

    def store(_typing: Any, array: Any, row: Any, values: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.store(arguments[2], _address(lanes, context, builder, signature, arguments), align=4)
            return context.get_dummy_value()

        return types.none(array, row, values), generate

    def plus(_typing: Any, first: Any, second: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.fadd(*arguments)

        return lanes(first, second), generate

    def plus_scaled(_typing: Any, start: Any, factor: Any, more: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            undefined, every = ir.Constant(lanes.vector, ir.Undefined), ir.VectorType(_INDEX, width)
            first = builder.insert_element(undefined, arguments[1], ir.Constant(_INDEX, 0))
            factors = builder.shuffle_vector(first, undefined, ir.Constant(every, [0] * width))
            return builder.fadd(arguments[0], builder.fmul(factors, arguments[2], flags=flags), flags=flags)

        if factor != types.float32:
            return None  # numba says then that no such call exists
        return lanes(start, factor, more), generate

    def plus_product(_typing: Any, start: Any, first: Any, second: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.fadd(arguments[0], builder.fmul(*arguments[1:], flags=flags), flags=flags)

        return lanes(start, first, second), generate

    def total(_typing: Any, vector: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return _sum(builder, arguments[0], width)

        return types.float32(vector), generate

    kinds = (zeros, load, store, plus, plus_scaled, plus_product, total)
    # numba reads only the plain function's arguments
    return Operations(*(intrinsic(inspect.unwrap(kind)) for kind in kinds))


def _address(lanes: Lanes, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Of the floats at a row of a C-contiguous array: an operation's first two arguments."""
    array, row = arguments[:2]
    array_type, row_type = signature.args[:2]
    index = context.cast(builder, row, row_type, types.uintp)
    first = builder.mul(index, ir.Constant(index.type, lanes.vector.count))
    view: Any = make_array(array_type)  # type: ignore[no-untyped-call]
    data = view(context, builder, array).data
    return builder.bitcast(builder.gep(data, [first]), lanes.vector.as_pointer())


def _sum(builder: Any, vector: Any, width: int) -> Any:
    """Halves are added to each other until one number is left; `width` is a power of two."""
    while width > 1:
        width //= 2
        halves = (
            ir.Constant(ir.VectorType(_INDEX, width), list(range(start, start + width)))
            for start in (0, width)
        )
        undefined = ir.Constant(vector.type, ir.Undefined)
        vector = builder.fadd(*(builder.shuffle_vector(vector, undefined, half) for half in halves))
    return builder.extract_element(vector, ir.Constant(_INDEX, 0))
