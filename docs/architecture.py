"""Draws the picture in docs/architecture.md from the package's own imports: `python docs/architecture.py`.

A box is a wing or a module of the package's top, with the beginning of its docstring. An arrow, an import, is
left out where the way leads over another box anyway.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "partdistillation"
PAGE = ROOT / "docs" / "architecture.md"

DOORS = ("__init__", "__main__")
"""They import what they open."""
PICTURE = re.compile(r"```mermaid\n.*?```", re.DOTALL)

Graph = Mapping[str, frozenset[str]]
"""What each box points at."""


def files() -> dict[str, list[Path]]:
    """The source files of every wing and top module."""
    boxes: dict[str, list[Path]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        boxes.setdefault(path.relative_to(SOURCE).with_suffix("").parts[0], []).append(path)
    return {box: paths for box, paths in boxes.items() if box not in DOORS}


def imported(path: Path) -> Iterator[str]:
    """The boxes that a file imports from, late imports included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == SOURCE.name:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{SOURCE.name}."):
            yield str(node.module).split(".")[1]


def imports() -> Graph:
    """All imports between boxes."""
    boxes = files()
    return {
        box: frozenset(name for path in paths for name in imported(path) if name in boxes) - {box}
        for box, paths in boxes.items()
    }


def reachable(graph: Graph, box: str) -> set[str]:
    """All that a box imports, over others too."""
    return set(graph[box]).union(*(reachable(graph, below) for below in graph[box]))


def arrows(graph: Graph) -> Graph:
    """The imports that no way over another box replaces."""
    return {
        box: below - set[str]().union(*(reachable(graph, between) for between in below))
        for box, below in graph.items()
    }


def summary(box: str) -> str:
    """The beginning of a box's docstring."""
    package, module = SOURCE / box / "__init__.py", SOURCE / f"{box}.py"
    path = package if package.exists() else module
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.split(r"[:;,]|\.\s|\.$", text.split("\n")[0])[0]


def picture() -> str:
    """The drawing, as Mermaid."""
    below = arrows(imports())
    lines = ["```mermaid", "flowchart TD"]
    for box in sorted(below):
        name = f"{box}/" if (SOURCE / box).is_dir() else f"{box}.py"
        lines.append(f'    {box}["<b>{name}</b><br>{summary(box)}"]')
    lines += [f"    {box} --> {name}" for box in sorted(below) for name in sorted(below[box])]
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    PAGE.write_text(PICTURE.sub(lambda _: picture(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Drew the picture in {PAGE.relative_to(ROOT)}")
