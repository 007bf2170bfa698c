"""Images with objects and parts that every format is tested on: see `scenes.py`."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def scenes() -> Any:
    spec = importlib.util.spec_from_file_location("scenes", Path(__file__).with_name("scenes.py"))
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
