"""One way to compile the generator's kernels: typed, cached on disk, IEEE division."""

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba, as it was written: checkers that wrap a module's functions are taken off.

    The cache knows only the function's own file: kernels that call each other live in one module,
    where a change of a callee can't go unnoticed.
    """
    return cast(Callable[P, R], njit(cache=True, error_model="numpy")(inspect.unwrap(function)))
