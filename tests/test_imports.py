"""Imports point one way, and what the command line loads at start holds no heavy package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "partdistillation"

# A wing or module of the package's top may import from itself and from those above it.
ORDER = (
    "errors",
    "settings",
    "pictures",
    "config",
    "recipes",
    "kernels",
    "functional",
    "runs",
    "data",
    "export",
    "models",
    "training",
    "classes",
    "datasets",
    "part_shapes",
    "objects",
    "convert",
    "stages",
    "baselines",
    "inference",
    "evaluation",
    "review",
    "report",
    "pipeline",
    "experiments",
    "commands",
    "__main__",
)
LIGHT = ("__init__", "commands.main", "config", "errors", "recipes", "settings")
HEAVY = {
    "jinja2",
    "matplotlib",
    "numba",
    "numpy",
    "PIL",
    "pyarrow",
    "pycocotools",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
}


def modules() -> list[Path]:
    return sorted((SOURCE / PACKAGE).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE / PACKAGE).with_suffix("").parts)


def layer_of(module: str) -> int:
    """The index in LAYERS of a dotted name inside the package."""
    part = module.split(".")[0]
    found = [index for index, layer in enumerate(LAYERS) if part in layer]
    assert found, f"{PACKAGE}.{part} has no layer: give it one in {Path(__file__).name}"
    return found[0]


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names in all import statements; `from a import b` gives `a.b`, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name = name_of(path)
    if name == "__init__":  # the public API, resolved on first use
        return
    for imported in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        inside = imported.removeprefix(f"{PACKAGE}.")
        if inside == imported or inside == "__version__":
            continue
        assert layer_of(inside) <= layer_of(name), f"{PACKAGE}.{name} must not import {imported}"


def test_functional_imports_nothing_but_errors_profiling_and_itself() -> None:
    for path in (SOURCE / PACKAGE / "functional").glob("*.py"):
        for imported in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
            if imported.startswith(f"{PACKAGE}."):
                allowed = {"errors", "functional", "profiling"}
                assert imported.split(".")[1] in allowed, f"{path.name}: {imported}"


def test_the_rule_would_notice() -> None:
    tree = ast.parse("def f():\n    from partdistillation import cli\n")
    assert list(imported_names(tree)) == ["partdistillation.commands.main"]
    assert layer_of("cli") > layer_of("functional.masks")


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_load_nothing_heavy(name: str) -> None:
    module = PACKAGE if name == "__init__" else f"{PACKAGE}.{name}"
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())
