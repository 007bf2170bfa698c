"""One way to compile kernels with numba: typed, and cached on disk where there is a place for it.

The cache knows only the function's own file: kernels that call each other live in one module, where a change
of a callee can't go unnoticed.
"""

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """`function`, compiled at its first call as it was written: checkers that wrap it are taken off.

    A division by zero gives what IEEE says. Other threads may run meanwhile.
    """
    return _compile(function, error_model="numpy", nogil=True)


def compiled_loosely(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """As `compiled`, but the compiler may take a sum's terms in another order, as vectors need it.

    The order is chosen once, when compiling: results repeat bit for bit on a machine.
    """
    return _compile(function, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", nogil=True)


def _compile(function: Callable[_P, _R], **options: Any) -> Callable[_P, _R]:
    function = inspect.unwrap(function)
    try:
        kernel: object = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's directory nor the user's cache is writable
        kernel = numba.njit(**options)(function)
    return cast("Callable[_P, _R]", kernel)
