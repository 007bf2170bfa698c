"""The picture of the architecture is the code's."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def architecture() -> ModuleType:
    """The program that draws it, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_codes_picture(architecture: ModuleType) -> None:
    (drawn,) = architecture.PICTURE.findall(architecture.PAGE.read_text(encoding="utf-8"))
    assert drawn == architecture.picture(), "run `python docs/architecture.py`"


def test_an_import_that_another_way_replaces_is_left_out(architecture: ModuleType) -> None:
    graph = {name: frozenset(below) for name, below in {"a": "bc", "b": "c", "c": "", "d": "b"}.items()}
    assert architecture.arrows(graph) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"b"}}
