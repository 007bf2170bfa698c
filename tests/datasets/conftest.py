"""Fakes of published data sets: the modules of `fakes/`, each with a function that writes a small copy."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

FAKES = Path(__file__).parent / "fakes"


@pytest.fixture(scope="session")
def fake() -> Callable[[str], ModuleType]:
    """The module of a name: `fake("paco").write(folder)`. Tests are no package, so it isn't imported."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"fake_{name}", FAKES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
