import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Calls]:
    """Puts a module with one recording function in place of the package's."""

    def install(module: str, function: str) -> Calls:
        calls: Calls = []
        stand_in = ModuleType(f"partdistillation.{module}")
        setattr(stand_in, function, lambda *args, **kwargs: calls.append((args, kwargs)))
        parent, _, name = stand_in.__name__.rpartition(".")
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
        __import__(parent)
        monkeypatch.setattr(sys.modules[parent], name, stand_in, raising=False)
        return calls

    return install
