"""Imports point one way, and what the command line loads at start holds no heavy package."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = "partdistillation"

# A wing or module of the package's top may import from itself and from those above it.
ORDER = (
    "errors",
    "settings",
    "config",
    "recipes",
    "kernels",
    "functional",
    "runs",
    "pictures",
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
    "status",
    "publishing",
    "pipeline",
    "experiments",
    "studio",
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


def place_of(module: str) -> int:
    """The place in ORDER of a dotted name inside the package."""
    wing = module.split(".")[0]
    assert wing in ORDER, f"{PACKAGE}.{wing} has no place in the order: give it one in {Path(__file__).name}"
    return ORDER.index(wing)


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names in all import statements; `from a import b` gives `a.b`, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(path: Path) -> set[str]:
    """The modules of the package that a file imports, late imports included."""
    known = {name_of(module).removesuffix(".__init__") for module in modules()}
    imported = set()
    for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        inside = name.removeprefix(f"{PACKAGE}.")
        if inside != name:  # `from a import b`: the module b of a, or what a holds
            imported.add(inside if inside in known else inside.rpartition(".")[0])
    return imported - {""}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    name = name_of(path)
    if name == "__init__":  # the public API, resolved on first use
        return
    for imported in imported_modules(path):
        assert place_of(imported) <= place_of(name), f"{PACKAGE}.{name} must not import {PACKAGE}.{imported}"


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {name_of(path).removesuffix(".__init__"): imported_modules(path) for path in modules()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_top_of_the_package_is_a_hall() -> None:
    top = [path.name for path in (SOURCE / PACKAGE).glob("*.py")]
    assert len(top) <= 8, top
    wings = [path.name for path in (SOURCE / PACKAGE).iterdir() if (path / "__init__.py").exists()]
    assert {*wings, *(Path(name).stem for name in top)} == {*ORDER, "__init__"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_what_one_system_alone_has_is_imported_late(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tops = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    packages = {name.split(".")[0] for name in imported_names(tops)}
    assert packages.isdisjoint({"fcntl", "grp", "msvcrt", "pwd", "resource", "termios", "winreg"})


def test_functional_and_kernels_import_nothing_but_errors_and_themselves() -> None:
    for wing, allowed in (
        ("functional", {"errors", "functional", "kernels"}),
        ("kernels", {"errors", "kernels"}),
    ):
        for path in (SOURCE / PACKAGE / wing).glob("*.py"):
            wings = {imported.split(".")[0] for imported in imported_modules(path)}
            assert wings <= allowed, f"{path.name}: {wings - allowed}"


def test_the_rule_would_notice() -> None:
    tree = ast.parse("def f():\n    from partdistillation.commands import main\n")
    assert list(imported_names(tree)) == ["partdistillation.commands.main"]
    assert place_of("commands") > place_of("functional.masks")


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_load_nothing_heavy(name: str) -> None:
    module = PACKAGE if name == "__init__" else f"{PACKAGE}.{name}"
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not HEAVY & set(loaded.split())
