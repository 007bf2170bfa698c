from typing import Any

import numba
import pytest

from partdistillation.kernels.compiled import compiled


def test_compiles_without_a_place_for_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def without_cache(*, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_cache)

    @compiled
    def double(value: int) -> int:
        return 2 * value

    assert double(21) == 42
